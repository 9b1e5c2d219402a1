"""The heap profile of level trace: go's pprof reads it, and its sums are what the program has allocated, within the
sampling error."""

import gzip
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import harness  # noqa: E402
from live_test import Watched  # noqa: E402

PROGRAM = harness.BUILD / "tests" / "programs" / "known_allocations"
MIB = 1 << 20


def top(path, sample):
    run = subprocess.run(["go", "tool", "pprof", "-top", "-unit=b", f"-sample_index={sample}", path],
                         capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"})
    assert run.returncode == 0, run.stderr
    return run.stdout


def flat(text, function):
    match = re.search(rf"(?m)^\s*(-?[0-9.]+)B?\s.*\b{function}\b", text)
    return float(match[1]) if match else 0.0


class HeapProfile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # One sample in 20 KB: of 40 MiB about 2,000, so 2 % of error; the bounds below are some of those.
        cls.watched = Watched([PROGRAM], "trace", sample_bytes=20000)
        cls.exporter = harness.Exporter(cls.watched.dir, cls.watched.dir / "incidents.db", cls.watched.dir)
        cls.path = cls.watched.dir / "heap.pb.gz"
        with urllib.request.urlopen(f"{cls.exporter.url}debug/pprof/heap?pid={cls.watched.pid}", timeout=30) as answer:
            cls.path.write_bytes(answer.read())

    @classmethod
    def tearDownClass(cls):
        cls.exporter.stop()
        cls.watched.__exit__()

    def test_live_bytes(self):
        text = top(self.path, "inuse_space")
        self.assertAlmostEqual(flat(text, "keep_small") / (40 * MIB), 1.04, delta=0.12)  # slots of 1,040 bytes
        self.assertAlmostEqual(flat(text, "keep_large") / (60 * MIB), 1.0, delta=0.15)
        self.assertLess(flat(text, "let_go"), MIB)

    def test_allocated_so_far(self):
        text = top(self.path, "alloc_space")
        self.assertAlmostEqual(flat(text, "let_go") / (30 * MIB), 1.12, delta=0.15)  # slots of 112 bytes

    def test_total_is_live_bytes(self):
        total = float(re.search(r"([0-9.]+)B total", top(self.path, "inuse_space"))[1])
        live = self.exporter.metrics().total("hakmem_live_bytes")
        self.assertAlmostEqual(total / live, 1.0, delta=0.1)

    def test_it_is_a_profile_with_mappings(self):
        self.assertIn(b"known_allocations", gzip.decompress(self.path.read_bytes()))
        raw = subprocess.run(["go", "tool", "pprof", "-raw", self.path], capture_output=True, text=True, timeout=60,
                             env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"}).stdout
        self.assertRegex(raw, r"Mappings\n1: 0x[0-9a-f]+/0x[0-9a-f]+/0x[0-9a-f]+ \S*known_allocations [0-9a-f]{40}")

    def test_json(self):
        sites = json.loads(self.exporter.get(f"/api/v1/processes/{self.watched.pid}/heap"))["sites"]
        by_function = {site["stack"][0]["function"]: site for site in sites}
        small = next(site for name, site in by_function.items() if "keep_small" in name)
        self.assertAlmostEqual(small["live_objects"] / (40 * 1024), 1.0, delta=0.12)

    def test_below_trace_says_so(self):
        with Watched([PROGRAM], "count") as low:
            exporter = harness.Exporter(low.dir, low.dir / "incidents.db", low.dir)
            try:
                for path, status in ((f"debug/pprof/heap?pid={low.pid}", 404), ("debug/pprof/heap", 400),
                                     ("debug/pprof/heap?pid=x", 400), ("debug/pprof/heap?pid=999999999", 400)):
                    with self.assertRaises(urllib.error.HTTPError) as caught:
                        urllib.request.urlopen(exporter.url + path, timeout=30)
                    with caught.exception as error:
                        self.assertIn(error.code, (status, 404), path)
                        self.assertTrue(json.loads(error.read())["error"])
            finally:
                exporter.stop()


if __name__ == "__main__":
    harness.main()
