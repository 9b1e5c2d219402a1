"""The documents: pages made from the code's tables are current, and no link leads nowhere."""

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


if __name__ == "__main__":
    harness.main()
