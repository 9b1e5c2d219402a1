"""Random input. The short form has seeds of its own; HAKMEM_FUZZ_SECONDS=N goes on with new ones for N seconds."""

import os
import pathlib
import random
import sys
import time

import harness
from harness import SOURCE

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
    """Coverage-guided, each for a few seconds or HAKMEM_FUZZ_SECONDS: segment reader, options, what the web server is
    told, and sequences of calls of the allocator in several threads. HAKMEM_FUZZ_CORPUS=FOLDER keeps what was found."""

    # What is right, which mutations then damage.
    SEEDS = {
        "fuzz_reader": [b"M", b"R"],
        "fuzz_options": [b"level=guard:sample_bytes=1:runtime_dir=/tmp"],
        "fuzz_web": [b"qprocess=x&kind=double_free&limit=10&since=2026-01-01T00:00:00Z", b"cbasic_auth_users: {a: $2b$04$x}\n"],
        "fuzz_api": [random.Random(1).randbytes(1000)],
    }
    LONGEST = {"fuzz_api": 4000}

    def test_targets(self):
        real = self.preload([harness.BUILD / "tests" / "bugs" / "double_free", "immediate", "24"], level="guard")
        segment, = real.runtime_dir.glob("*.hakmem")
        wanted = os.environ.get("HAKMEM_FUZZ_TARGETS", " ".join(self.SEEDS)).split()
        for name in wanted:
            seeds = self.SEEDS[name]
            if not (FOLDER / name).exists():
                self.skipTest("not installed: clang-14, libclang-rt-14-dev")
            corpus = self.new_directory()
            known = SOURCE / "tests" / "fuzz" / "corpus" / name  # what once was found
            for i, seed in enumerate([*seeds, *(file.read_bytes() for file in sorted(known.glob("*")))]):
                (corpus / str(i)).write_bytes(seed)
            kept = os.environ.get("HAKMEM_FUZZ_CORPUS")
            folders = [corpus]
            if kept:
                folders.insert(0, pathlib.Path(kept) / name)
                folders[0].mkdir(parents=True, exist_ok=True)
            result = self.preload([FOLDER / name, f"-max_total_time={max(5, SECONDS):.0f}", f"-max_len={self.LONGEST.get(name, 600)}",
                                   f"-artifact_prefix={kept or self.directory}/", *folders], library=None, timeout=SECONDS + 120,
                                  environment={"HAKMEM_FUZZ_SEGMENT": segment})
            self.assertEqual(result.status, 0, result.err[-3000:])
            self.assertRegex(result.err, r"Done \d+ runs")
            print(f"  {name}: {result.err.splitlines()[-1]}", file=sys.stderr)


class Sanitized(harness.HakmemTest):
    """What the command reads of others' making, under AddressSanitizer and UndefinedBehaviorSanitizer: the unit tests of
    reader, store and report, and stores with bytes changed at random."""

    def test_units(self):
        program = FOLDER / "sanitized_units"
        if not program.exists():
            self.skipTest("not installed: clang-14, libclang-rt-14-dev")
        result = self.preload([program], library=None)
        self.assertEqual(result.status, 0, (result.out + result.err)[-3000:])
        self.assertRegex(result.out, r"\[  PASSED  \] \d+ tests")


if __name__ == "__main__":
    harness.main()
