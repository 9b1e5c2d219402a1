"""Every system call of the library fails once, or from some point on: memory is short or telemetry is, nothing else.

A program that takes nullptr for an answer runs under test builds of the libraries (tests/faults/faults.cpp). The short
form takes a dozen of a call's occurrences; HAKMEM_FAULTS_ALL=1 takes all of them.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

import harness

FOLDER = harness.BUILD / "tests" / "faults"
LIBRARIES = {"production": FOLDER / "libhakmem-faults.so", "diag": FOLDER / "libhakmem-diag-faults.so"}
VARIANTS = [("production", None, ""), ("diag", "count", ""), ("diag", "trace", ":sample_bytes=1"),
            ("diag", "guard", ":guard_sample=20")]
EVERY = os.environ.get("HAKMEM_FAULTS_ALL") is not None
def chosen(count):
    if EVERY or count <= 12:
        return range(1, count + 1)
    return sorted({1, 2, 3, 4, 5, 6, *(6 + (count - 6) * i // 6 for i in range(1, 7))})


class Faults(harness.HakmemTest):
    def struggle(self, variant, fault=None, counted=None):
        library, level, options = variant
        directory = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        environment = harness.clean_environment(directory, LD_PRELOAD=LIBRARIES[library])
        if level is not None:
            environment["HAKMEM_OPTIONS"] = f"level={level}:report=stderr:runtime_dir={directory / 'runtime'}{options}"
        if fault is not None:
            environment["HAKMEM_FAULTS"] = fault
        if counted is not None:
            environment["HAKMEM_FAULTS_COUNTED"] = str(counted)
        return harness.Result(subprocess.run([FOLDER / "struggle"], env=environment, text=True, capture_output=True,
                                             stdin=subprocess.DEVNULL, timeout=60))

    def test_faults_happen(self):
        result = self.struggle(VARIANTS[1], "openat=1")
        self.assertRegex(result.err, "running without telemetry: .*Too many open files")
        result = self.struggle(VARIANTS[0], "mmap=1+")
        self.assertEqual((result.status, result.out), (0, "ok\n"), result)
        self.assertNotIn("bad free", result.err)  # without a page map there is no diagnosis either

    def test_sweep(self):
        runs = []
        for variant in VARIANTS:
            counted = self.directory / f"counted-{variant[1]}"
            result = self.struggle(variant, counted=counted)
            self.assertEqual((result.status, result.out), (0, "ok\n"), result)
            counts = dict(line.split() for line in counted.read_text().splitlines())
            self.assertGreater(int(counts["mmap"]), 5)
            runs += [(variant, f"{call}={nth}{and_on}") for call, count in counts.items() for nth in chosen(int(count))
                     for and_on in ("", "+")]

        def one(run):
            try:
                result = self.struggle(*run)
            except Exception as error:
                return f"{run}: {error}"
            # The program frees what is no block; of anything else, there is no telling.
            false_alarms = {kind for kind in harness.KINDS - {"foreign_pointer"} if kind in result.err}
            if (result.status, result.out) != (0, "ok\n") or false_alarms:
                return f"{run}: {result}"
            return None

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            failed = [text for text in pool.map(one, runs) if text]
        print(f"  {len(runs)} faults", file=sys.stderr)
        self.assertEqual(failed, [], f"{len(failed)} of {len(runs)}\n" + "\n".join(failed[:5]))


if __name__ == "__main__":
    harness.main()
