"""A short run of tests/soak: under load and disturbances, sums stay what the programs counted, nothing is lost."""

import pathlib
import subprocess
import sys

import harness
from harness import need

SOAK = pathlib.Path(__file__).resolve().parent / "soak"


@need("redis-server", "redis-benchmark", "nginx", "curl", "prometheus")
class Soak(harness.HakmemTest):
    def test_twenty_seconds(self):
        run = subprocess.run([sys.executable, SOAK, "--minutes", "0.33"], capture_output=True, text=True,
                             timeout=harness.TIMEOUT, env=harness.clean_environment(self.directory,
                                                                                    HAKMEM_BUILD=harness.BUILD))
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertNotIn("differs", run.stdout)
        print(run.stdout, file=sys.stderr)


if __name__ == "__main__":
    harness.main()
