"""tests/bugs/compare_detection runs the catalogue and prints whole tables. What it counts is bugs_test.py's business."""

import json
import pathlib
import subprocess
import tempfile
import unittest

import harness

COMPARE = harness.SOURCE / "tests" / "bugs" / "compare_detection"


def compare(*arguments):
    return subprocess.run([COMPARE, "--build", harness.BUILD, *arguments], capture_output=True, text=True, timeout=300)


class Detection(unittest.TestCase):
    def test_tables(self):
        with tempfile.TemporaryDirectory() as folder:
            kept = pathlib.Path(folder) / "results.json"
            run = compare("--only", "^(production|count|guard|glibc)$", "--json", kept, "--cases",
                          r"^(double_free\.immediate\.24|guard\.redzone_nul\.100|tricky\.free_null)$")
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual(set(json.loads(kept.read_text())["tricky.free_null"]), {"production", "count", "guard", "glibc"})
            # One tool anew, the others' columns stay.
            again = compare("--only", "^guard$", "--json", kept, "--cases", "^guard.redzone_nul.100$")
            self.assertIn("| what the program did | of | production | count | guard | glibc |\n", again.stdout)
        for line in ("| what the program did | of | production | count | guard | glibc |",
                     "| freed twice | 1 | 1 | 1 | 1 | 1 |",
                     "| **all of these bugs** | 2 | 1 | 1 | 2 | 1 |",
                     "| correct programs: false alarms | 1 | 0 | 0 | 0 | 0 |",
                     "| correct programs: broken otherwise | 1 | 0 | 0 | 0 | 0 |"):
            self.assertIn(line + "\n", run.stdout)

    def test_list(self):
        self.assertIn("valgrind\n", compare("--list").stdout)


if __name__ == "__main__":
    harness.main()
