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
class Tidy(harness.HakmemTest):
    def test_libraries(self):
        # As they are compiled for the libraries, and not once more for each sanitizer.
        commands = [entry for entry in json.loads((harness.BUILD / "compile_commands.json").read_text())
                    if not entry["output"].startswith("tests/")]
        (self.directory / "compile_commands.json").write_text(json.dumps(commands))
        files = {(pathlib.Path(entry["directory"]) / entry["file"]).resolve() for entry in commands}
        files = sorted(path for path in files if path.is_relative_to(harness.SOURCE / "src"))
        self.assertTrue(files)

        def tidy(path):
            check = subprocess.run(["clang-tidy", "--quiet", "-p", self.directory, path], text=True, capture_output=True)
            return check.stdout if check.returncode != 0 else ""

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            found = "".join(pool.map(tidy, files))
        self.assertEqual(found, "")


if __name__ == "__main__":
    harness.main()
