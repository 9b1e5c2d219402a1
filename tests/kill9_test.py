"""kill -9 in the middle of a storm of bad frees: none that had returned is lost, and no reader shows nonsense."""

import json
import os
import random
import signal
import struct
import subprocess
import time

import harness

STORM = harness.BUILD / "tests" / "programs" / "bad_free_storm"
THREADS = 4
EXPECTED_KINDS = {"double_free", "interior_pointer", "foreign_pointer"}


class Kill9(harness.HakmemTest):
    def storm(self, seconds):
        """Runs the storm for a while, kills it, and says how many bad frees had returned in each thread."""
        directory = self.new_directory()
        runtime_dir, counters = directory / "runtime", directory / "counters"
        environment = harness.clean_environment(directory) | self.preload_environment(runtime_dir)
        with harness.running([STORM, counters, THREADS], env=environment, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) as process:
            harness.wait_until(lambda: counters.exists() and sum(self.returned(counters)) > 100 or process.poll() is not None,
                               "bad frees return")
            time.sleep(seconds)
            self.assertIsNone(process.poll(), "the storm ended by itself")
            process.send_signal(signal.SIGKILL)
            self.assertEqual(process.wait(timeout=60), -signal.SIGKILL)
        return runtime_dir, directory / "incidents.db", self.returned(counters)

    @staticmethod
    def returned(path):
        content = path.read_bytes()
        return struct.unpack(f"{len(content) // 8}Q", content)

    def check_sane(self, incidents):
        for incident in incidents:
            self.assertIn(incident["kind"], EXPECTED_KINDS, incident)
            self.assertGreater(incident["count"], 0)
            self.assertEqual(incident["process"], "bad_free_storm")
            self.assertGreater(int(incident["address"], 16), 0)
            self.assertLessEqual(incident["first_seen"], incident["last_seen"])
            stack = incident["stacks"]["free"]
            self.assertTrue(stack, incident)
            frame = harness.own_frame(stack)
            self.assertIsNotNone(frame, stack)
            self.assertEqual(os.path.basename(frame["file"]), "bad_free_storm.cpp", stack)
            if incident["kind"] == "foreign_pointer":
                self.assertIn(incident["region"], {"stack", "static", "mapping"})

    def test_nothing_that_returned_is_lost(self):
        chooser = random.Random(9)
        for _ in range(5):
            with self.subTest():
                runtime_dir, store, returned = self.storm(chooser.uniform(0.05, 0.5))
                result = harness.Result(subprocess.CompletedProcess([], 0, "", ""), runtime_dir, store)
                with self.exporter(result) as exporter:
                    metrics = harness.wait_until(
                        lambda: (lambda seen: seen if seen.total("hakmem_incidents_total") else None)(exporter.metrics()),
                        "incidents are counted")
                    incidents = exporter.incidents()
                # One bad free a thread may have been recorded without having returned.
                counted = metrics.total("hakmem_incidents_total")
                self.assertGreaterEqual(counted, sum(returned))
                self.assertLessEqual(counted, sum(returned) + THREADS)
                self.assertEqual(metrics.total("hakmem_incidents_dropped_total"), 0)
                shown = sum(incident["count"] for incident in incidents)
                self.assertGreaterEqual(shown, sum(returned))
                self.assertLessEqual(shown, sum(returned) + THREADS)
                self.check_sane(incidents)
                self.assertEqual({incident["kind"] for incident in incidents}, EXPECTED_KINDS)
                # The store, read later, says the same.
                stored = self.incidents(store)
                self.assertEqual(sum(incident["count"] for incident in stored), shown)

    def test_inspect_reads_what_is_left(self):
        runtime_dir, _, returned = self.storm(0.1)
        files = list(runtime_dir.glob("*.hakmem"))
        self.assertEqual(len(files), 1)
        inspected = self.hakmem("inspect", "--json", files[0])
        self.assertEqual(inspected.status, 0, inspected)
        json.loads(inspected.out)
        self.assertEqual(self.hakmem("inspect", files[0]).status, 0)
        self.assertGreater(sum(returned), 0)


if __name__ == "__main__":
    harness.main()
