"""bench/compare runs every program under every allocator and prints whole tables. Nothing here is timed."""

import json
import math
import re
import subprocess
import sys
import tempfile
import pathlib
import unittest
from importlib.machinery import SourceFileLoader

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import harness  # noqa: E402

COMPARE = harness.SOURCE / "bench" / "compare"


def compare(*arguments):
    return subprocess.run([COMPARE, "--build", harness.BUILD, *arguments], capture_output=True, text=True, timeout=600)


class Compare(unittest.TestCase):
    def test_every_program_under_every_allocator(self):
        names = compare("--list").stdout.splitlines()
        self.assertGreater(len(names), 15)
        with tempfile.TemporaryDirectory() as folder:
            medians = pathlib.Path(folder) / "medians.json"
            run = compare("--tiny", "--runs", "1", "--levels", "count,guard", "--json", medians)
            self.assertEqual(run.returncode, 0, run.stderr)
            results = json.loads(medians.read_text())
        self.assertEqual(list(results), names)
        allocators = {"glibc", "jemalloc", "tcmalloc", "mimalloc", "hakmem", "count", "guard"}
        for name, row in results.items():
            self.assertEqual(set(row), allocators, name)
            for median in row.values():
                self.assertGreater(median["rate"], 0)
                self.assertGreater(median["rss"], 0)
        # Three tables, a line a program and one of means in each; the means are of the figures printed.
        for name in names:
            self.assertEqual(len(re.findall(rf"(?m)^\| {re.escape(name)} +\|", run.stdout)), 3, name)
        means = re.search(r"(?m)^\| \*\*geometric mean\*\* .*$", run.stdout)[0].split("|")
        time = math.prod(row["hakmem"]["rate"] / row["guard"]["rate"] for row in results.values()) ** (1 / len(results))
        self.assertAlmostEqual(float(means[4]), time, delta=0.006)

    def test_asan_beside_guard(self):
        with tempfile.TemporaryDirectory() as folder:
            medians = pathlib.Path(folder) / "medians.json"
            run = compare("--tiny", "--runs", "1", "--no-peers", "--levels", "guard", "--asan", "--only", "larson 1 *",
                          "--json", medians)
            self.assertEqual(run.returncode, 0, run.stderr)
            row = json.loads(medians.read_text())["larson 1 thread"]
        self.assertEqual(set(row), {"hakmem", "guard", "ASan"})
        cells = re.search(r"(?m)^\| larson 1 thread +\|.*$", run.stdout)[0].split("|")
        self.assertAlmostEqual(float(cells[4]), row["hakmem"]["rate"] / row["ASan"]["rate"], delta=0.006)
        self.assertAlmostEqual(float(cells[6]), row["ASan"]["rate"] / row["guard"]["rate"], delta=0.006)

    def test_a_failure_leaves_the_rest_of_the_table(self):
        """One run of one program under one level, as when it came to no end: a run of minutes ended without a table."""
        module = SourceFileLoader("compare", str(COMPARE)).load_module()
        ran = []

        def run_once(program, library, *_):
            ran.append((program.name, library.name))
            if (program.name, library.name) == ("bursts", "guard"):
                raise module.Failure("no end")
            return (200.0 if library.name == "hakmem" else 100.0), 1000.0

        module.run_once = run_once
        libraries = [module.Allocator("hakmem"), module.Allocator("guard", may_fail=True)]
        programs = [module.behaviour("bursts"), module.behaviour("exchange")]
        results, failures = module.measure(programs, libraries, 3, harness.BUILD, True)
        self.assertEqual(failures, ["no end"])
        self.assertEqual(ran.count(("bursts", "guard")), 1)
        self.assertEqual(ran.count(("bursts", "hakmem")), 3)
        text = module.report(results, [], ["guard"], 3, failures)
        self.assertRegex(text, r"(?m)^\| bursts +\| +failed \| +failed \|$")
        self.assertRegex(text, r"(?m)^\| \*\*geometric mean\*\* +\| +2.00 \| +1.00 \|$")
        self.assertIn("no end", text.splitlines()[-1])
        libraries[1] = module.Allocator("guard")
        with self.assertRaises(module.Failure):
            module.measure(programs, libraries, 3, harness.BUILD, True)

    def test_wrong_use(self):
        for arguments, word in ((["--only", "nothing"], "no program matches"), (["--levels", "loud"], "loud"),
                                (["--runs", "0"], "--runs"), (["--library", "x=/nowhere"], "--library"),
                                (["--build", "/nowhere"], "build first")):
            run = compare(*arguments)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(word, run.stderr)
            self.assertNotIn("Traceback", run.stderr)


class Diagnosis(unittest.TestCase):
    def test_every_level(self):
        run = subprocess.run([harness.SOURCE / "bench" / "diagnosis", "--build", harness.BUILD, "--tiny"],
                             capture_output=True, text=True, timeout=300)
        self.assertEqual(run.returncode, 0, run.stderr)
        for level in harness.LEVELS:
            self.assertEqual(len(re.findall(rf"(?m)^{level} .* other threads: .* GiB a second$", run.stdout)), 2, level)
            self.assertEqual(len(re.findall(rf"(?m)^{level} .* first .* \(median\)", run.stdout)), 5, level)


if __name__ == "__main__":
    harness.main()
