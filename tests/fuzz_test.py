"""Random input. The short form has seeds of its own; HAKMEM_FUZZ_SECONDS=N goes on with new ones for N seconds."""

import os
import random
import sys
import time

import harness

FOLDER = harness.BUILD / "tests" / "fuzz"
SECONDS = float(os.environ.get("HAKMEM_FUZZ_SECONDS", "0"))


def seeds(short):
    yield from range(1, short + 1)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield random.getrandbits(32)


class OverwrittenHeaders(harness.HakmemTest):
    """Header bytes overwritten at random: other blocks live on, and each damage is reported once."""

    def test_reported(self):
        total = 0
        for seed in seeds(5):
            for level in harness.LEVELS:
                with self.subTest(seed=seed, level=level):
                    result = self.preload([FOLDER / "overwrite_headers", seed, 20], level=level)
                    self.assertEqual((result.status, result.err), (0, ""))
                    damaged, seen = map(int, result.out.split())
                    total += damaged
                    self.assertEqual(seen, damaged)
        print(f"  {total} headers overwritten", file=sys.stderr)

    def test_production(self):
        for seed in seeds(20):
            result = self.preload([FOLDER / "overwrite_headers", seed, 20], library="production")
            self.assertEqual(result.status, 0, result)
            self.assertRegex(result.err, r"\A(hakmem: bad free of [^\n]+\n)?\Z")


class LibFuzzer(harness.HakmemTest):
    """Coverage-guided: the segment reader and the options, each for a few seconds or HAKMEM_FUZZ_SECONDS."""

    # A right file first, which mutations then damage.
    SEEDS = {"fuzz_reader": b"M", "fuzz_options": b"level=guard:sample_bytes=1:runtime_dir=/tmp"}

    def test_targets(self):
        for name, first in self.SEEDS.items():
            if not (FOLDER / name).exists():
                self.skipTest("not installed: clang-14, libclang-rt-14-dev")
            corpus = self.new_directory()
            (corpus / "first").write_bytes(first)
            result = self.preload([FOLDER / name, f"-max_total_time={max(5, SECONDS):.0f}", "-max_len=600",
                                   f"-artifact_prefix={self.directory}/", corpus], library=None, timeout=SECONDS + 120)
            self.assertEqual(result.status, 0, result.err[-3000:])
            self.assertRegex(result.err, r"Done \d+ runs")
            print(f"  {name}: {result.err.splitlines()[-1]}", file=sys.stderr)


if __name__ == "__main__":
    harness.main()
