"""Bad input: a clear line, the right exit status, and never a crash of the host program."""

import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile

import harness

DOUBLE_FREE = [harness.BUILD / "tests" / "bugs" / "double_free", "immediate", "24"]
OUTPUT = "immediate: every block intact\n"


class Command(harness.HakmemTest):
    """Wrong use of the command: status 2 and a message; 125 where hakmem itself failed to run a program."""

    def assert_wrong_use(self, *arguments):
        result = self.hakmem(*arguments)
        self.assertEqual(result.status, 2, result)
        self.assertTrue(result.err.strip(), result)

    def test_wrong_use(self):
        self.assert_wrong_use("--no-such-option")
        self.assert_wrong_use("no-such-command")
        for command in ("run", "exporter", "incidents", "ps", "inspect", "options"):
            self.assert_wrong_use(command, "--no-such-option")
        self.assert_wrong_use("inspect")
        self.assert_wrong_use("run", "--level", "no-such-level", "--", "/bin/true")
        self.assert_wrong_use("run", "--listen", "not an address", "--", "/bin/true")

    def test_wrong_use_names_what_is_wrong(self):
        """The word that was not expected, by hakmem's name, and the --help that tells more."""
        for arguments, said in ((["no-such-command"], "unknown command no-such-command; valid: run "),
                                (["incidents", "lst"], "unknown command lst; valid: list show"),
                                (["set", "--no-such-option"], "unknown option --no-such-option"),
                                (["incidents", "--no-such-option"], "unknown option --no-such-option"),
                                (["run", "ls", "-l"], "unexpected argument ls; COMMAND and its arguments stand behind --"),
                                (["ps", "extra"], "unexpected argument extra"),
                                (["audit"], "PID is required"),
                                (["set", "-1", "level=guard"], "-1"),
                                (["set", "1", "levle=guard"], "unknown option 'levle'; valid: level, on_error, "),
                                (["set", "1", "stack_depth=3"], "cannot be changed while a process runs: stack_depth")):
            result = self.hakmem(*arguments)
            self.assertEqual((result.status, result.out), (2, ""), result)
            self.assertTrue(result.err.startswith("hakmem: "), result)
            self.assertIn(said, result.err)
        self.assertIn("\nRun hakmem incidents list --help ", self.hakmem("incidents", "list", "--limit", "0").err)

    def test_production_sees_no_incidents(self):
        result = self.hakmem("run", "--production", "--fail-on-incident", "--", "/bin/true")
        self.assertEqual(result.status, 2, result)
        self.assertIn("--fail-on-incident", result.err)

    def test_full_stdout(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([harness.COMMAND, "options", "--json"], stdout=full, stderr=subprocess.PIPE,
                                    text=True, timeout=60, check=False)
        self.assertEqual((result.returncode, result.stderr),
                         (125, "hakmem: the output could not be written to stdout\n"))

    def test_run_without_a_command(self):
        self.assert_wrong_use("run")
        self.assert_wrong_use("run", "--")

    def test_help_and_version(self):
        for command in ([], ["run"], ["exporter"], ["incidents"], ["ps"], ["inspect"], ["options"]):
            result = self.hakmem(*command, "--help")
            self.assertEqual((result.status, result.err), (0, ""), command)
            self.assertTrue(result.out.strip(), command)
        self.assertRegex(self.hakmem("--version").out, r"\d+\.\d+\.\d+")

    def test_options_lists_every_option(self):
        text = self.hakmem("options").out
        listed = self.hakmem("options", "--json")
        self.assertEqual(listed.status, 0, listed)
        json.loads(listed.out)
        for key in ("level", "on_error", "sample_bytes", "stack_depth", "audit_interval", "quarantine_bytes",
                    "guard_sample", "dump_bytes", "hunt", "report", "runtime_dir"):
            self.assertIn(key, text)
            self.assertIn(key, listed.out)

    def test_command_not_found(self):
        result = self.hakmem_run(["/no/such/program"])
        self.assertEqual(result.status, 125, result)
        self.assertIn("/no/such/program", result.err)

    def test_command_not_executable(self):
        result = self.hakmem_run(["/etc/passwd"])
        self.assertEqual(result.status, 125, result)
        self.assertIn("/etc/passwd", result.err)

    def test_status_is_the_commands(self):
        self.assertEqual(self.hakmem_run(["/bin/sh", "-c", "exit 7"]).status, 7)
        self.assertEqual(self.hakmem_run(["/bin/sh", "-c", "kill -TERM $$"]).status, 128 + 15)
        self.assertEqual(self.hakmem_run(["/bin/sh", "-c", "kill -KILL $$"]).status, 128 + 9)
        clean = self.hakmem_run(["/bin/true"])
        self.assertEqual(clean.status, 0)
        self.assertNotIn("incident", clean.err)

    def test_fail_on_incident(self):
        self.assertEqual(self.hakmem_run(DOUBLE_FREE, "--fail-on-incident").status, 86)
        self.assertEqual(self.hakmem_run(["/bin/true"], "--fail-on-incident").status, 0)
        shell = ["/bin/sh", "-c", f"{' '.join(map(str, DOUBLE_FREE))}; exit 5"]
        self.assertEqual(self.hakmem_run(shell, "--fail-on-incident").status, 5)

    def test_busy_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            run = self.hakmem_run(["/bin/echo", "ran"], "--listen", address)
            self.assertEqual(run.status, 125, run)
            self.assertIn(address, run.err)
            self.assertNotIn("ran", run.out)
            exporter = self.hakmem("exporter", "--listen", address, "--runtime-dir", self.directory, "--store",
                                   self.directory / "db")
            self.assertNotEqual(exporter.status, 0)
            self.assertIn(address, exporter.err)

    def test_no_store(self):
        listed = self.hakmem("incidents", "list", "--json", "--store", self.directory / "none.db")
        self.assertIn(listed.status, (0, 125, 1), listed)
        if listed.status == 0:
            self.assertEqual(json.loads(listed.out), [])
        garbage = self.directory / "garbage.db"
        garbage.write_bytes(random.Random(3).randbytes(10000))
        listed = self.hakmem("incidents", "list", "--store", garbage)
        self.assertNotEqual(listed.status, 0, listed)
        self.assertIn("garbage.db", listed.err)
        missing = self.hakmem("incidents", "show", "no-such-id", "--store", self.directory / "none.db")
        self.assertNotEqual(missing.status, 0, missing)
        self.assertTrue(missing.err.strip(), missing)


class Library(harness.HakmemTest):
    """Bad options and an unwritable runtime dir: the program runs on, and one line says what is wrong."""

    def assert_runs_on(self, result, *said):
        self.assertEqual((result.status, result.out), (0, OUTPUT), result)
        lines = result.err.splitlines()
        self.assertEqual(len(lines), 1, result)
        for part in said:
            self.assertIn(part, lines[0])

    def run_with_options(self, text):
        directory = self.new_directory()
        environment = harness.clean_environment(directory, LD_PRELOAD=harness.LIBRARIES["diag"],
                                                HAKMEM_RUNTIME_DIR=directory, HAKMEM_OPTIONS=text)
        return harness.Result(subprocess.run(DOUBLE_FREE, env=environment, text=True, capture_output=True,
                                             stdin=subprocess.DEVNULL, timeout=harness.TIMEOUT), directory)

    def test_unknown_key(self):
        self.assert_runs_on(self.run_with_options("no_such_key=1"), "no_such_key", "level", "on_error", "runtime_dir")

    def test_bad_values(self):
        for text in ("level=no_such_level", "on_error=perhaps", "stack_depth=many", "stack_depth=1000", "stack_depth=-1",
                     "dump_bytes=99999999999999999999", "level="):
            with self.subTest(text):
                key, value = text.split("=")
                self.assert_runs_on(self.run_with_options(text), key, value)

    def test_level_names_its_valid_ones(self):
        self.assert_runs_on(self.run_with_options("level=no_such_level"), "count", "verify", "trace", "guard")

    def test_the_rest_still_counts(self):
        result = self.run_with_options("no_such_key=1:report=stderr")
        self.assertEqual((result.status, result.out), (0, OUTPUT), result)
        self.assertIn("double_free", result.err)

    def test_odd_texts(self):
        for text in ("", ":", "::::", "=", "level", ":level=verify:", "x" * 5000, "level=" + "y" * 5000, "\x01\xff=\x02",
                     "help=1"):
            with self.subTest(text[:20]):
                result = self.run_with_options(text)
                self.assertEqual((result.status, result.out), (0, OUTPUT), result)

    def test_unwritable_runtime_dir(self):
        file = self.directory / "a file"
        file.write_text("")
        for directory in ("/proc/hakmem", str(file), "/no/such/folder/at/all", "/sys"):
            with self.subTest(directory):
                self.assert_runs_on(self.run_with_options(f"runtime_dir={directory}"), directory)

    def test_default_runtime_dir_of_another_user(self):
        """/tmp/hakmem-UID that somebody else has made is refused."""
        uid = 54321
        theirs = pathlib.Path(f"/tmp/hakmem-{uid}")
        if os.getuid() != 0 or theirs.exists() or os.path.exists("/run/hakmem"):
            self.skipTest("only root can become another user")
        theirs.mkdir(mode=0o777)
        self.addCleanup(shutil.rmtree, theirs)
        theirs.chmod(0o777)
        # Copies that the other user can reach, wherever this tree stands.
        reachable = pathlib.Path(tempfile.mkdtemp(prefix="hakmem-test-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, reachable)
        reachable.chmod(0o755)
        program = shutil.copy(DOUBLE_FREE[0], reachable)
        library = shutil.copy(harness.LIBRARIES["diag"], reachable)
        process = subprocess.run([program, *DOUBLE_FREE[1:]], env={"LD_PRELOAD": library}, user=uid, text=True,
                                 capture_output=True, timeout=harness.TIMEOUT, stdin=subprocess.DEVNULL)
        self.assert_runs_on(harness.Result(process), str(theirs))
        self.assertEqual(list(theirs.iterdir()), [])

    def test_full_disk(self):
        """No room for the segment: RLIMIT_FSIZE refuses to let it grow."""
        directory = self.new_directory()
        environment = harness.clean_environment(directory, LD_PRELOAD=harness.LIBRARIES["diag"],
                                                HAKMEM_OPTIONS=f"runtime_dir={directory}")
        process = subprocess.run(["/usr/bin/prlimit", "--fsize=4096", *map(str, DOUBLE_FREE)], env=environment, text=True,
                                 capture_output=True, timeout=harness.TIMEOUT)
        self.assertEqual((process.returncode, process.stdout), (0, OUTPUT), process.stderr)


class Segments(harness.HakmemTest):
    """Truncated and random segment files: read, refused or shown in part, never a crash or a hang."""

    def setUp(self):
        super().setUp()
        result = self.preload(DOUBLE_FREE)
        files = list(result.runtime_dir.glob("*.hakmem"))
        self.assertEqual(len(files), 1, result)
        self.content = files[0].read_bytes()
        self.name = files[0].name

    def damaged(self):
        chooser = random.Random(4)
        yield "empty", b""
        yield "short", self.content[:100]
        yield "header only", self.content[:4096]
        yield "half", self.content[:len(self.content) // 2]
        yield "all but one byte", self.content[:-1]
        yield "zeros", bytes(len(self.content))
        yield "ones", b"\xff" * 100_000
        yield "random", chooser.randbytes(300_000)
        yield "magic and random", self.content[:8] + chooser.randbytes(300_000)
        yield "other version", self.content[:8] + b"\x63\0\0\0" + self.content[12:]
        for i in range(40):
            content = bytearray(self.content)
            for _ in range(chooser.choice((1, 20, 400))):
                at = chooser.randrange(chooser.choice((256, 4096, len(content))))
                content[at] = chooser.randrange(256)
            yield f"damaged {i}", bytes(content)

    def test_inspect(self):
        for what, content in self.damaged():
            with self.subTest(what):
                path = self.directory / "damaged.hakmem"
                path.write_bytes(content)
                for arguments in ([], ["--json"]):
                    result = self.hakmem("inspect", *arguments, path, timeout=60)
                    self.assertIn(result.status, (0, 1, 125), result)
                    if result.status != 0:
                        self.assertTrue(result.err.strip(), result)
                    elif arguments:
                        json.loads(result.out)

    def test_inspect_what_is_no_file(self):
        for path in ("/no/such/file", "/", "/dev/null"):
            result = self.hakmem("inspect", path)
            self.assertNotIn(result.status, (0, -11, -6), result)
            self.assertIn(path, result.err)

    def test_exporter_lives_on(self):
        runtime_dir = self.new_directory()
        runtime_dir.chmod(0o700)
        pid = 3_000_000
        for what, content in self.damaged():
            pid += 1
            (runtime_dir / f"{pid}-{pid}.hakmem").write_bytes(content)
        good = self.preload(DOUBLE_FREE)
        for file in good.runtime_dir.glob("*.hakmem"):
            shutil.copy(file, runtime_dir / file.name)
        result = harness.Result(subprocess.CompletedProcess([], 0, "", ""), runtime_dir, self.directory / "db")
        with self.exporter(result) as exporter:
            self.assertEqual(exporter.get("/-/healthy") and 1, 1)
            metrics = exporter.metrics()
            self.assertGreater(metrics.total("hakmem_exporter_segment_errors_total"), 0)
            self.assertGreaterEqual(metrics.total("hakmem_incidents_total", kind="double_free"), 1)
            json.loads(exporter.get("/api/v1/processes"))
            exporter.incidents()
            self.assertIsNone(exporter.process.poll(), exporter.log())
            self.assertEqual(exporter.stop(), 0)

    def test_segment_shrinks_under_the_exporter(self):
        """A file cut short while it is mapped would kill a reader that trusts it by SIGBUS."""
        runtime_dir = self.new_directory()
        runtime_dir.chmod(0o700)
        path = runtime_dir / self.name
        path.write_bytes(self.content)
        result = harness.Result(subprocess.CompletedProcess([], 0, "", ""), runtime_dir, self.directory / "db")
        with self.exporter(result) as exporter:
            for size in (len(self.content) // 2, 5000, 100, 0):
                exporter.metrics()
                if path.exists():
                    os.truncate(path, size)
                exporter.metrics()
            self.assertIsNone(exporter.process.poll(), exporter.log())


if __name__ == "__main__":
    harness.main()
