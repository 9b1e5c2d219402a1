"""What `meson install` installs works where it lies: the command finds its libraries, pages and completions are right."""

import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import time
import unittest

import harness
from harness import need

REFERENCE = harness.BUILD / "exporters" / "reference"
MESON = shutil.which("meson")


def reference():
    return json.loads(subprocess.run([REFERENCE], capture_output=True, text=True, check=True).stdout)


def leaves(command, prefix=()):
    """Every subcommand without subcommands of its own, as the words of its call and its description."""
    path = (*prefix, command["name"])
    if not command["commands"]:
        yield path, command
    for inner in command["commands"]:
        yield from leaves(inner, path)


@unittest.skipUnless(MESON, "not installed: meson")
class InstallTest(harness.HakmemTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(os.path.realpath("/tmp")) / f"hakmem-installed-{os.getpid()}"
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        done = subprocess.run([MESON, "install", "--no-rebuild", "--quiet", "-C", harness.BUILD], text=True,
                              env=os.environ | {"DESTDIR": str(folder)}, capture_output=True)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        cls.command = next(folder.glob("**/bin/hakmem"))
        cls.prefix = cls.command.parent.parent
        cls.tree = folder


class Install(InstallTest):
    def test_run_finds_the_installed_libraries(self):
        for library, options in (("libhakmem-diag.so", ["--no-exporter"]), ("libhakmem.so", ["--production"])):
            done = subprocess.run([self.command, "run", *options, "--", "/bin/cat", "/proc/self/maps"], text=True,
                                  capture_output=True, env=harness.clean_environment(self.directory), timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            mapped = {line.split()[-1] for line in done.stdout.splitlines() if "libhakmem" in line}
            self.assertEqual({os.path.basename(path) for path in mapped}, {library})
            self.assertTrue(all(path.startswith(str(self.prefix)) for path in mapped), mapped)

    @need("readelf")
    def test_no_run_path(self):
        for path in [self.command, *self.prefix.glob("lib/**/libhakmem*.so")]:
            dynamic = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True).stdout
            self.assertNotRegex(dynamic, r"\((RPATH|RUNPATH)\)", path)

    def test_nothing_unexpected_is_installed(self):
        files = {path.name for path in self.tree.rglob("*") if path.is_file()}
        self.assertLessEqual({"hakmem", "_hakmem", "libhakmem.so", "libhakmem-diag.so", "hakmem.1", "hakmem-options.7",
                              "hakmem-metrics.7", "hakmem-exporter.service"}, files)
        self.assertEqual([name for name in files if "gtest" in name or name.endswith("_test") or name == "reference"], [])


@need("man")
class ManPages(InstallTest):
    def page(self, name):
        path = next(self.prefix.glob(f"share/man/man*/{name}"))
        done = subprocess.run(["man", "-l", "--warnings", path], text=True, capture_output=True,
                              env=harness.clean_environment(self.directory, MANWIDTH=1000, MAN_KEEP_FORMATTING=""))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return re.sub(r"\s+", " ", done.stdout)

    def test_every_option_of_every_command_is_told(self):
        text = self.page("hakmem.1")
        for path, command in leaves(reference()["command"]):
            self.assertIn(" ".join(path), text)
            usage = subprocess.run([harness.COMMAND, *path[1:], "--help"], text=True, capture_output=True, check=True,
                                   env=harness.clean_environment(self.directory)).stdout
            for name in re.findall(r"(?m)^  (?:-\w,)?(--[\w-]+)", usage):
                self.assertIn(name, text, f"{' '.join(path)} {name}")

    def test_options_and_metrics(self):
        everything = reference()
        options, metrics = self.page("hakmem-options.7"), self.page("hakmem-metrics.7")
        for option in everything["options"]:
            self.assertIn(f"{option['key']} {option['meaning'].split()[0]}", options)
        for metric in everything["metrics"]:
            self.assertIn(metric["name"], metrics)


class BashCompletion(InstallTest):
    def complete(self, *words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hakmem; '
                  '((${#COMPREPLY[@]} == 0)) || printf "%s\\n" "${COMPREPLY[@]}"')
        file = self.prefix / "share" / "bash-completion" / "completions" / "hakmem"
        environment = harness.clean_environment(self.directory)
        environment["PATH"] = f"{self.command.parent}:{environment['PATH']}"
        environment["HAKMEM_RUNTIME_DIR"] = str(self.directory / "runtime")
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", file, *words], text=True, capture_output=True,
                              env=environment, cwd=self.directory, timeout=60)
        self.assertEqual(done.stderr, "", words)
        return set(done.stdout.split())

    def test_commands_and_options(self):
        commands = {inner["name"] for inner in reference()["command"]["commands"]}
        self.assertEqual(self.complete("hakmem", ""), commands)
        self.assertEqual(self.complete("hakmem", "incidents", "s"), {"show"})
        for path, command in leaves(reference()["command"]):
            names = {option["name"] for option in command["options"] if not option["positional"]}
            self.assertEqual(self.complete(*path, "--"), names, path)

    def test_values(self):
        self.assertEqual(self.complete("hakmem", "run", "--level", ""), set(harness.LEVELS))
        self.assertEqual(self.complete("hakmem", "incidents", "list", "--kind", "double"), {"double_free"})
        self.assertIn("quarantine_bytes=", self.complete("hakmem", "run", "--option", "q"))
        (self.directory / "some.file").touch()
        self.assertEqual(self.complete("hakmem", "inspect", "some"), {"some.file"})

    def test_running_processes(self):
        runtime = self.directory / "runtime"
        with harness.running(["/bin/sleep", "60"], env=harness.clean_environment(self.directory)
                             | self.preload_environment(runtime)) as process:
            harness.wait_until(lambda: list(runtime.glob("*.hakmem")), "the segment is there")
            self.assertEqual(self.complete("hakmem", "audit", ""), {str(process.pid)})

    def test_the_command_behind_run(self):
        self.assertIn("true", self.complete("hakmem", "run", "--level", "guard", "--", "tru"))


@need("zsh")
class ZshCompletion(InstallTest):
    def typed(self, keys, wanted):
        """Types into an interactive zsh until all of `wanted` have been shown."""
        folder = self.prefix / "share" / "zsh" / "site-functions"
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.directory)
            os.execvpe("zsh", ["zsh", "-f", "-i"], harness.clean_environment(self.directory, TERM="dumb"))
        shown = ""

        def read(until, seconds=30):
            nonlocal shown
            deadline = time.monotonic() + seconds
            while not all(word in shown for word in until) and time.monotonic() < deadline:
                if select.select([terminal], [], [], 0.2)[0]:
                    shown += os.read(terminal, 65536).decode(errors="replace")
            self.assertTrue(all(word in shown for word in until), f"wanted {until} in {shown!r}")

        try:
            os.write(terminal, f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=999; "
                               f"PATH={self.command.parent}:$PATH; print rea''dy\n".encode())
            read(["ready"])
            shown = ""
            os.write(terminal, keys.encode())
            read(wanted)
        finally:
            os.close(terminal)
            os.kill(pid, harness.signal.SIGKILL)
            os.waitpid(pid, 0)

    def test_commands(self):
        self.typed("hakmem \t", ["exporter", "incidents", "audit"])

    def test_options_of_a_command(self):
        self.typed("hakmem run --\t", ["--fail-on-incident", "--level", "--children"])

    def test_values(self):
        self.typed("hakmem run --level \t", ["verify", "trace", "guard"])

    def test_inner_commands(self):
        self.typed("hakmem incidents \t", ["list", "show"])


if __name__ == "__main__":
    harness.main()
