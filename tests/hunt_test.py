"""The hunt names the writer: in a server with a rare overflow, from the first incident on, within 50 overflows.

HAKMEM_HUNT_RUNS sets how many runs each case has (default 2; 10 for the acceptance), and prints what each took.
"""

import datetime
import os
import pathlib
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import harness  # noqa: E402

RUNS = int(os.environ.get("HAKMEM_HUNT_RUNS", "2"))
PROGRAMS = harness.BUILD / "tests" / "programs"
SERVER = PROGRAMS / "overflow_server"
SOURCE = harness.SOURCE / "tests" / "programs" / "overflow_server.cpp"
OVERFLOWS = 200
WITHIN = 50


def marked_line(mark):
    for number, line in enumerate(SOURCE.read_text().splitlines(), 1):
        if f"@{mark}" in line:
            return number
    raise AssertionError(f"no line of {SOURCE} is marked @{mark}")


def nanoseconds(time_text):
    """Of an RFC 3339 time in microseconds."""
    moment = datetime.datetime.fromisoformat(time_text.replace("Z", "+00:00"))
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(
        microseconds=1) * 1000


class Hunt(harness.HakmemTest):
    def serve(self, mode="brief", one_in=1000, level="count", hunt="auto", before=(), overflows=OVERFLOWS, **options):
        """Runs the server to its end; its incidents by kind, and when each overflow happened."""
        directory = self.new_directory()
        runtime_dir = directory / "runtime"
        environment = harness.clean_environment(
            directory, **self.preload_environment(runtime_dir, level=level, options={"hunt": hunt, **options}))
        command = [*before, SERVER, 4, overflows, mode, one_in]
        run = subprocess.run([str(part) for part in command], env=environment, text=True, capture_output=True,
                             stdin=subprocess.DEVNULL, timeout=harness.TIMEOUT)
        self.assertEqual(run.returncode, 0, run)
        times = sorted(int(word) for word in re.findall(r"^overflow (\d+)$", run.stdout, re.MULTILINE))
        store = directory / "incidents.db"
        with harness.Exporter(runtime_dir, store, directory) as exporter:
            incidents = harness.wait_until(exporter.incidents, "incidents") if mode != "none" else []
        kinds = {}
        for incident in incidents:
            kinds.setdefault(incident["kind"], []).append(incident)
        return kinds, times

    def overflows_needed(self, kinds, times, mark="write terminator"):
        """From the first incident to the writer's; fails where it was not caught, or another one was."""
        self.assertIn("header_write_caught", kinds, {kind: len(found) for kind, found in kinds.items()})
        for incident in kinds["header_write_caught"]:
            frame = harness.own_frame(incident["stacks"]["writer"])
            self.assertIn("copy_name", frame["function"])
            self.assertEqual((os.path.basename(frame["file"]), frame["line"]),
                             ("overflow_server.cpp", marked_line(mark)))
            allocated = harness.own_frame(incident["stacks"]["suspect_alloc"])
            self.assertIn("allocate_name", allocated["function"])
        # Nothing else was found in the program: the rest are traces of the same bug.
        self.assertLessEqual(set(kinds), {"header_write_caught", "header_overwritten", "redzone_overwritten"})
        first = min(nanoseconds(incident["first_seen"]) for found in kinds.values() for incident in found)
        caught = min(nanoseconds(incident["first_seen"]) for incident in kinds["header_write_caught"])
        # The server notes the time behind the overflow.
        return sum(first < moment <= caught for moment in times) + 1

    def check(self, mode, **more):
        needed = []
        for _ in range(RUNS):
            needed.append(self.overflows_needed(*self.serve(mode, **more)))
        print(f"{mode} {more}: overflows from the first incident to the writer: {needed}")
        self.assertLessEqual(max(needed), WITHIN)


class Watchpoints(Hunt):
    @classmethod
    def setUpClass(cls):
        paranoid = int(pathlib.Path("/proc/sys/kernel/perf_event_paranoid").read_text())
        if paranoid > 2 and os.geteuid() != 0:
            raise unittest.SkipTest(f"perf_event_paranoid is {paranoid}")

    def test_brief_blocks(self):
        self.check("brief")

    def test_kept_blocks(self):
        self.check("kept")

    def test_blocks_that_another_thread_writes(self):
        self.check("handed", one_in=100)

    def test_at_trace(self):
        self.check("brief", level="trace")

    def test_at_guard(self):
        self.check("kept", level="guard")


class GuardPages(Hunt):
    """Where the kernel refuses watchpoints, politely or deadly."""

    def test_refused(self):
        # A terminator alone stays within the 16 bytes that alignment takes: only its block's site can be told.
        kinds, _ = self.serve("brief", before=[PROGRAMS / "without_watchpoints", "refuse"])
        self.assertNotIn("header_write_caught", kinds)
        found = [incident for incident in kinds["redzone_overwritten"]]
        for incident in found:
            self.assertIn("allocate_name", harness.own_frame(incident["stacks"]["alloc"])["function"])

    def test_longer_overflows(self):
        for answer in ("refuse", "kill"):
            with self.subTest(answer):
                needed = []
                for _ in range(RUNS):
                    outcome = self.serve("long", before=[PROGRAMS / "without_watchpoints", answer])
                    needed.append(self.overflows_needed(*outcome, "write letters"))
                print(f"guard pages, {answer}: overflows from the first incident to the writer: {needed}")
                self.assertLessEqual(max(needed), WITHIN)


class Command(Hunt):
    """hakmem hunt arms what hunt=off has left alone."""

    def test_by_fingerprint(self):
        directory = self.new_directory()
        runtime_dir = directory / "runtime"
        environment = harness.clean_environment(directory, **self.preload_environment(runtime_dir))
        with harness.running([SERVER, 4, 1_000_000, "brief", 1000], env=environment, stdout=subprocess.DEVNULL) as server:
            with harness.Exporter(runtime_dir, directory / "incidents.db", directory) as exporter:
                first = harness.wait_until(exporter.incidents, "the first incident")[0]
                self.assertEqual(first["kind"], "header_overwritten")
                common = ["--runtime-dir", runtime_dir, "--store", directory / "none.db"]
                for fingerprint, part in (("0123456789abcdef", "no incident"), ("", "no incident")):
                    run = self.hakmem("hunt", server.pid, fingerprint, *common)
                    self.assertEqual(run.status, 125, run)
                    self.assertIn(part, run.err)
                time.sleep(0.5)
                self.assertNotIn("header_write_caught", {one["kind"] for one in exporter.incidents()})
                run = self.hakmem("hunt", server.pid, first["fingerprint"], *common)
                self.assertEqual((run.status, run.err), (0, ""), run)
                self.assertIn("armed, by watchpoints", run.out)
                caught = harness.wait_until(lambda: exporter.incidents("&kind=header_write_caught"), "the writer")
                self.assertIn("copy_name", harness.own_frame(caught[0]["stacks"]["writer"])["function"])
                self.assertIsNone(server.poll(), "the server has died")
                # Of another process that had the same bug, only the store knows.
                run = self.hakmem("hunt", server.pid, caught[0]["fingerprint"], *common)
                self.assertEqual((run.status, run.err), (0, ""), run)

    def test_wrong_use(self):
        self.assertEqual(self.hakmem("hunt").status, 2)
        self.assertEqual(self.hakmem("hunt", 1).status, 2)
        run = self.hakmem("hunt", 999999999, "00", "--runtime-dir", "/tmp")
        self.assertEqual(run.status, 125)
        self.assertIn("999999999", run.err)


if __name__ == "__main__":
    harness.main()
