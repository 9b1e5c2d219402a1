"""clang-tidy finds nothing in the preloaded libraries (.clang-tidy says which checks)."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import unittest

import harness


@unittest.skipUnless(shutil.which("clang-tidy"), "not installed: clang-tidy")
class Tidy(unittest.TestCase):
    def test_libraries(self):
        commands = json.loads((harness.BUILD / "compile_commands.json").read_text())
        files = {(pathlib.Path(entry["directory"]) / entry["file"]).resolve() for entry in commands}
        files = sorted(path for path in files if path.is_relative_to(harness.SOURCE / "src"))
        self.assertTrue(files)

        def tidy(path):
            check = subprocess.run(["clang-tidy", "--quiet", "-p", harness.BUILD, path], text=True, capture_output=True)
            return check.stdout if check.returncode != 0 else ""

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            found = "".join(pool.map(tidy, files))
        self.assertEqual(found, "")


if __name__ == "__main__":
    harness.main()
