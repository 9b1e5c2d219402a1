"""ThreadSanitizer finds no data race in the allocator and its diagnosis, compiled as ordinary code: page map, heaps with
frees of other threads, thread caches, spans that change hands, quarantine, stack table, shards, audits, changing levels.

HAKMEM_FUZZ_SECONDS=N goes on for N seconds with each policy."""

import os
import re
import sys
import unittest

import harness

PROGRAM = harness.BUILD / "tests" / "races" / "api_races"
SUPPRESSIONS = harness.SOURCE / "tests" / "races" / "suppressions.txt"
SECONDS = max(2.0, float(os.environ.get("HAKMEM_FUZZ_SECONDS", "0")))


class Races(harness.HakmemTest):
    def run_program(self, policy):
        folder = self.new_directory()
        return self.preload([PROGRAM, policy, SECONDS, folder], library=None, timeout=SECONDS + harness.TIMEOUT,
                            environment={"TSAN_OPTIONS": f"history_size=7:halt_on_error=0:suppressions={SUPPRESSIONS}"})

    def test_policies(self):
        for policy in ["production", *harness.LEVELS, "levels", "notes"]:
            with self.subTest(policy):
                result = self.run_program(policy)
                self.assertEqual((result.status, result.err), (0, ""), result.out)
                print(f"  {policy}: {re.search(r'([0-9]+) calls', result.out)[0]}", file=sys.stderr)

    def test_notices_a_race(self):
        result = self.run_program("racy")
        self.assertEqual(result.status, 66, result)
        self.assertIn("data race", result.err)


if __name__ == "__main__":
    harness.main()
