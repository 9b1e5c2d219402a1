"""The documents: pages made from the code's tables are current, and no link leads nowhere."""

import json
import re
import subprocess
import unittest

import harness

LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)|!\[[^]]*\]\(([^)\s]+)\)")


def documents():
    return [path for path in harness.SOURCE.rglob("*.md")
            if not any(part.startswith("build") or part == "node_modules" for part in path.relative_to(harness.SOURCE).parts)]


def anchors(path):
    """What a heading is called in a link, as GitHub makes it."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"(?m)^#+ (.+)$", text)}


class Generated(unittest.TestCase):
    def test_reference_is_current(self):
        done = subprocess.run([harness.SOURCE / "docs" / "update_reference", "--check"], text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Links(unittest.TestCase):
    def test_every_link_leads_somewhere(self):
        wrong = []
        for document in documents():
            text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
            for match in LINK.finditer(text):
                target = match[1] or match[2]
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                path = (document.parent / name).resolve() if name else document
                if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
                    wrong.append(f"{document.relative_to(harness.SOURCE)}: {target}")
        self.assertEqual(wrong, [])


class Readme(harness.HakmemTest):
    """The commands of the section "by hand", with the example for ./my_server."""

    def test_commands(self):
        text = (harness.SOURCE / "README.md").read_text()
        block = next(block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "export PATH" in block)
        commands = [line.split(" #")[0].strip() for line in block.splitlines() if not line.startswith("export")]
        self.assertGreater(len(commands), 8)
        runtime = self.new_directory()
        runtime.chmod(0o700)
        environment = harness.clean_environment(self.directory, HAKMEM_RUNTIME_DIR=runtime)
        environment["PATH"] = f"{harness.COMMAND.parent}:{environment['PATH']}"
        service = harness.BUILD / "examples" / "order_service"
        server = self.directory / "my_server"
        server.write_text(f"#!/bin/sh\nexec {service} 300 0\n")
        server.chmod(0o755)
        (self.directory / "Makefile").write_text("test:\n\t./my_server\n")
        (self.directory / "build").symlink_to(harness.BUILD)
        expected = {"--fail-on-incident": 86, "audit": (0, 86)}
        with harness.running([service, "1000000", "5"], stdout=subprocess.DEVNULL,
                             env=environment | {"LD_PRELOAD": str(harness.LIBRARIES["diag"])}) as process:
            harness.wait_until(lambda: list(runtime.glob(f"{process.pid}-*.hakmem")), "the program is watched")
            for command in commands:
                actual = command.replace("PID", str(process.pid))
                if "ID" in actual:
                    listed = json.loads(subprocess.run(["hakmem", "incidents", "list", "--json"], env=environment,
                                                       executable=harness.COMMAND, capture_output=True, check=True).stdout)
                    actual = actual.replace("ID", listed[0]["id"])
                if actual.startswith("hakmem run "):
                    actual = actual.replace("hakmem run ", "hakmem run --listen 127.0.0.1:0 ")
                done = subprocess.run(["bash", "-c", actual], cwd=self.directory, env=environment, text=True,
                                      capture_output=True, timeout=harness.TIMEOUT)
                wanted = next((status for word, status in expected.items() if word in command), 0)
                self.assertIn(done.returncode, wanted if isinstance(wanted, tuple) else (wanted,),
                              f"{command}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    harness.main()
