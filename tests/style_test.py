"""Every C++ and C file is as clang-format leaves it."""

import shutil
import subprocess
import unittest

import harness

SUFFIXES = {".h", ".cpp", ".c"}


def tracked_files():
    """Files under version control; in a tree without git, all but what is built."""
    git = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=harness.SOURCE, capture_output=True)
    if git.returncode == 0:
        paths = [harness.SOURCE / name for name in git.stdout.decode().split("\0") if name]
    else:
        paths = [path for folder in ("src", "exporters", "bench", "tests", "examples")
                 for path in (harness.SOURCE / folder).rglob("*")]
    return sorted(path for path in paths if path.suffix in SUFFIXES and path.is_file())


@unittest.skipUnless(shutil.which("clang-format"), "not installed: clang-format")
class Style(unittest.TestCase):
    def test_clang_format(self):
        files = tracked_files()
        self.assertTrue(files)
        check = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], cwd=harness.SOURCE, text=True,
                               capture_output=True)
        wrong = sorted({line.split(":")[0] for line in check.stderr.splitlines() if "clang-format-violations" in line})
        self.assertEqual(check.returncode, 0, "\n".join(wrong) + "\nrun: clang-format -i FILE…")


if __name__ == "__main__":
    harness.main()
