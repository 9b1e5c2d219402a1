"""Under load: no block is ever hurt, at any level, while levels change and audits run; and both take effect at once.

HAKMEM_STRESS_SECONDS sets how long each load runs (default 3; 60 for a thorough run, which also makes all 1,000 switches
of the level and audits at every instruction: HAKMEM_STRESS_SECONDS=60 tests/live_test.py Control Windows).
"""

import concurrent.futures
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import harness  # noqa: E402

SECONDS = float(os.environ.get("HAKMEM_STRESS_SECONDS", "3"))
STRESS = harness.BUILD / "tests" / "programs" / "pattern_stress"
LOOP = harness.BUILD / "tests" / "programs" / "one_size_loop"


def hakmem(*arguments):
    return subprocess.run([harness.COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120)


class Watched:
    """A program under the diagnostic library, in the background."""

    def __init__(self, command, level, library="diag", **options):
        self.folder = tempfile.TemporaryDirectory(prefix="hakmem-live.")
        self.dir = pathlib.Path(self.folder.name)
        text = harness.option_string({"level": level, "runtime_dir": self.dir, **options})
        environment = harness.clean_environment(self.dir, LD_PRELOAD=harness.LIBRARIES[library], HAKMEM_OPTIONS=text)
        self.process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "running\n", self.process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.folder.cleanup()

    @property
    def pid(self):
        return self.process.pid

    def command(self, name, *arguments):
        return hakmem(name, self.pid, *arguments, "--runtime-dir", self.dir)

    def finish(self):
        out, err = self.process.communicate(timeout=SECONDS + 120)
        return self.process.returncode, out, err

    def incidents(self):
        counts = [hakmem("inspect", path, "--json") for path in self.dir.glob("*.hakmem")]
        return [line for run in counts for line in run.stdout.splitlines() if '"kind"' in line]


class Stress(unittest.TestCase):
    """Every block keeps its pattern, and nothing is reported."""

    def check(self, level, library="diag", **options):
        with Watched([STRESS, SECONDS, 8], level, library, **options) as watched:
            status, out, err = watched.finish()
            self.assertEqual((status, err), (0, ""), out)
            self.assertRegex(out, "^[0-9]+ operations, 0 broken blocks$")
            self.assertEqual(watched.incidents(), [])

    def test_production(self):
        self.check("count", "production")

    def test_count(self):
        self.check("count")

    def test_verify(self):
        self.check("verify")

    def test_trace(self):
        self.check("trace", sample_bytes=5000)

    def test_guard(self):
        self.check("guard", guard_sample=100)

    def test_memcheck(self):
        """Neither library reads what nobody wrote."""
        for library, level in (("production", "count"), ("diag", "verify"), ("diag", "guard")):
            with self.subTest(library, level=level), tempfile.TemporaryDirectory(prefix="hakmem-live.") as folder:
                # Valgrind would put its own malloc in place of every malloc unless told not to; and it is to run
                # without ours itself.
                environment = harness.clean_environment(pathlib.Path(folder))
                command = ["valgrind", "--soname-synonyms=somalloc=nouserintercepts", "--error-exitcode=9", "--quiet",
                           "--trace-children=yes", "env", f"LD_PRELOAD={harness.LIBRARIES[library]}",
                           f"HAKMEM_OPTIONS=level={level}:runtime_dir={folder}", STRESS, 1, 2, 100000]
                run = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True,
                                     timeout=300)
                self.assertEqual((run.returncode, run.stderr), (0, ""))
                self.assertRegex(run.stdout, "^running\n[0-9]+ operations, 0 broken blocks$")


class Control(unittest.TestCase):
    def test_1000_random_level_switches(self):
        # Long enough for all of them, as each waits until it is in force.
        with Watched([STRESS, 1000, 8], "count", guard_sample=50, sample_bytes=20000) as watched:
            chooser = random.Random(4)
            switches = 1000 if SECONDS >= 60 else 150
            late = 0
            for number in range(switches):
                run = watched.command("set", f"level={chooser.choice(harness.LEVELS)}",
                                      f"sample_bytes={chooser.choice([1, 5000, 524288])}")
                self.assertEqual(run.returncode, 0, f"switch {number}: {run.stderr}")
                if run.stderr:  # on a machine that gave none of the threads a turn in time
                    self.assertIn("takes the change up when it next does", run.stderr, f"switch {number}")
                    late += 1
            self.assertLess(late, switches / 20)
            audit = watched.command("audit")
            self.assertEqual(audit.returncode, 0, audit)
            self.assertIsNone(watched.process.poll(), "the program has died")
            self.assertEqual(watched.incidents(), [])

    def test_a_thread_that_stays_on_the_fast_path(self):
        with Watched([LOOP], "count") as watched:
            time.sleep(0.3)
            start = time.monotonic()
            run = watched.command("set", "level=trace")
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            # The command's own time and a loaded machine's whims included.
            self.assertLess(time.monotonic() - start, 1)

    def test_audits_while_threads_run(self):
        for level in harness.LEVELS:
            with Watched([STRESS, 1000, 8], level, guard_sample=100) as watched:
                end = time.monotonic() + SECONDS / 2
                audits = 0
                while audits < 5 or time.monotonic() < end:  # a loaded machine takes longer for them
                    run = watched.command("audit", "--json")
                    self.assertEqual(run.returncode, 0, (level, run))
                    audits += 1
                self.assertIsNone(watched.process.poll(), "the program has died")
                self.assertEqual(watched.incidents(), [], level)


class Windows(unittest.TestCase):
    """An audit behind every single instruction of what makes, frees and moves a block: none is ever taken for corrupt.

    A thread that is preempted stands at any of them for as long as it likes, so an alarm at one would come true some day.
    """

    PROGRAM = harness.BUILD / "tests" / "programs" / "single_step"
    OPERATIONS = ("small", "middle", "run", "mapping", "aligned", "page_aligned", "aligned_run", "far_aligned", "grown",
                  "grown_run", "shrunk_run", "moved_pages", "zeroed", "new", "held")
    THOROUGH = SECONDS >= 60

    def check(self, operations, level, every=1, what=None, **options):
        def one(operation):
            with tempfile.TemporaryDirectory(prefix="hakmem-step.") as folder:
                text = harness.option_string({"level": level, "runtime_dir": folder, **options})
                last = [what.format(hakmem=harness.COMMAND, folder=folder)] if what else []
                run = subprocess.run([self.PROGRAM, harness.LIBRARIES["diag"], operation, str(every), *last],
                                     env=harness.clean_environment(pathlib.Path(folder), HAKMEM_OPTIONS=text),
                                     capture_output=True, text=True, timeout=harness.TIMEOUT)
            self.assertEqual(run.returncode, 0, f"{operation}: {run.stdout}{run.stderr}")
            self.assertRegex(run.stdout, "^[0-9]+ steps, [1-9][0-9]* audits, no false alarm$")

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, operations))

    def test_guard(self):
        self.check(self.OPERATIONS, "guard", guard_sample=0)

    def test_guard_pages(self):
        self.check(self.OPERATIONS if self.THOROUGH else ("aligned", "run", "grown"), "guard", guard_sample=1)

    def test_without_quarantine(self):
        self.check(self.OPERATIONS if self.THOROUGH else ("aligned", "grown_run"), "guard", guard_sample=0,
                   quarantine_bytes=0)

    def test_samples(self):
        self.check(self.OPERATIONS, "trace", 1 if self.THOROUGH else 5, sample_bytes=1)

    def test_counters(self):
        self.check(self.OPERATIONS, "count", 1 if self.THOROUGH else 5)

    def test_level_switches(self):
        for before, after in (("count", "guard"), ("guard", "count"), ("trace", "verify")):
            self.check(("held",), before, 1 if self.THOROUGH else 7, "'{hakmem}' set $PID level=" + after +
                       " --runtime-dir '{folder}' 2>/dev/null", guard_sample=0, sample_bytes=1)

    def test_a_child_forked_there(self):
        """The stopped thread never goes on in it, and the child allocates, frees and audits all the same."""
        for level in ("count", "guard"):
            self.check(self.OPERATIONS, level, 10 if self.THOROUGH else 200, "fork", guard_sample=0)

    @unittest.skipUnless(THOROUGH, "HAKMEM_STRESS_SECONDS=60")
    def test_spans_that_come_and_go(self):
        for level in harness.LEVELS:
            self.check(("many",), level, 3, guard_sample=0)


class RaisedLevel(harness.HakmemTest):
    """A bug that was recorded before is recorded once more with what a higher level knows: else why raise it?"""

    def recorded(self, runtime):
        store = self.directory / "incidents.db"
        with harness.Exporter(runtime, store, self.new_directory()) as exporter:
            return [incident for incident in exporter.incidents() if incident["kind"] == "header_overwritten"]

    def test_the_suspect_gets_its_stack(self):
        runtime = self.directory / "runtime"
        environment = harness.clean_environment(self.directory, **self.preload_environment(runtime))
        service = [harness.BUILD / "examples" / "order_service", "1000000", "1"]
        with harness.running(service, env=environment, stdout=subprocess.DEVNULL) as process:
            before = harness.wait_until(lambda: self.recorded(runtime), "the bug is seen")
            self.assertEqual([incident["stacks"].get("suspect_alloc") for incident in before], [None])
            run = self.hakmem("set", process.pid, "level=trace", "sample_bytes=1", "--runtime-dir", runtime)
            self.assertEqual(run.status, 0, run)
            # Blocks that are overwritten while they are free are found as well from here on: another fingerprint.
            after = harness.wait_until(
                lambda: [incident for incident in self.recorded(runtime) if "suspect_alloc" in incident["stacks"] and
                         incident["fingerprint"] == before[0]["fingerprint"]],
                "the suspect's allocation is known")
        self.assertIn("copy_name", [frame.get("function") for frame in after[0]["stacks"]["suspect_alloc"]])


class Audit(unittest.TestCase):
    """A block that is overwritten and never freed: found by an audit, and not without one."""

    CASE = [harness.BUILD / "tests" / "programs" / "overwritten_and_asleep"]

    def test_on_request(self):
        with Watched(self.CASE, "count") as watched:
            self.assertEqual(watched.incidents(), [])
            run = watched.command("audit")
            self.assertEqual(run.returncode, 86, run)
            self.assertIn("1 corrupt", run.stdout)
            self.assertEqual(len(watched.incidents()), 1)
            self.assertIn("header_overwritten", watched.incidents()[0])
            incident, = json.loads(hakmem("inspect", *watched.dir.glob("*.hakmem"), "--json").stdout)["incidents"]
            at = int(incident["address"], 16) - 1 - int(incident["dump"]["address"], 16)
            # Its bytes are those from before the repair.
            self.assertEqual(bytes.fromhex(incident["dump"]["bytes"])[at], int(incident["header"]["found"], 16), incident)
            # Repaired: it is not found again.
            self.assertEqual(watched.command("audit").returncode, 0)

    def test_two_at_once(self):
        """One audit answers both requests."""
        with Watched(self.CASE, "count") as watched, concurrent.futures.ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(watched.command, "audit") for _ in range(4)]
            self.assertEqual({run.result().returncode for run in runs} - {0, 86}, set())

    def test_time_to_detection(self):
        """With audit_interval=1 it is found in a second or so. Without, it is not in twice the time, nor ever."""
        start = time.monotonic()
        with Watched([*self.CASE, "allocate"], "count", audit_interval=1) as watched, \
                Watched([*self.CASE, "allocate"], "count") as without:
            while not watched.incidents() and time.monotonic() < start + 60:
                time.sleep(0.1)
            self.assertEqual(len(watched.incidents()), 1)
            taken = time.monotonic() - start
            print(f"found after {taken:.1f} s with audit_interval=1")
            time.sleep(taken)
            self.assertEqual(without.incidents(), [])
            print(f"not found after {time.monotonic() - start:.1f} s without")

    def test_at_exit(self):
        for level in harness.LEVELS:
            with Watched([*self.CASE, "exit"], level) as watched:
                status, _, err = watched.finish()
                self.assertEqual((status, err), (0, ""))
                self.assertEqual(len(watched.incidents()), 1, level)

    def test_wrong_use(self):
        self.assertEqual(hakmem("audit").returncode, 2)
        run = hakmem("audit", 999999999, "--runtime-dir", "/tmp")
        self.assertEqual(run.returncode, 125)
        self.assertIn("999999999", run.stderr)


class Fork(harness.HakmemTest):
    """A block that the parent allocated and its child frees twice: both stacks are there, and the right ones."""

    def test_stacks_of_the_parent(self):
        program = harness.BUILD / "tests" / "programs" / "fork_and_free_twice"
        for level, options in (("trace", {"sample_bytes": 1}), ("guard", {"guard_sample": 0})):
            result = self.hakmem_run([program], level=level, options=options)
            self.assertEqual(result.status, 0, result)
            incidents = self.incidents(result.store)
            self.assertEqual([incident["kind"] for incident in incidents], ["double_free"])
            stacks = incidents[0]["stacks"]
            functions = [frame.get("function", "") for frame in stacks["alloc"]]
            self.assertTrue(any("allocate_in_parent" in name for name in functions), functions)
            self.assertEqual(harness.own_frame(stacks["previous_free"])["function"], "main")

    def test_children_that_are_not_watched(self):
        """Neither what the command forks nor what it starts from a file; and it is told to nobody that they are not."""
        forks = [harness.BUILD / "tests" / "programs" / "fork_and_free_twice"]
        starts = ["/bin/sh", "-c", f"{harness.BUILD}/tests/bugs/wild stack_array 100 & wait"]
        for command in (forks, starts):
            for children, incidents in (("all", 1), ("none", 0)):
                result = self.hakmem_run(command, "--children", children)
                self.assertEqual(len(self.incidents(result.store)), incidents, result)
                said = [line for line in result.err.splitlines() if "hakmem: " in line and "serving" not in line]
                self.assertEqual(len(said), incidents, result)


if __name__ == "__main__":
    harness.main()
