"""cppcheck finds nothing in the libraries and the command (cppcheck.suppressions says what is passed over, and why)."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import harness
from harness import SOURCE, need

# Its 2.10 takes a lambda without () at namespace level for a syntax error, and gives the whole file up.
ARGUMENTS = ["cppcheck", "--quiet", "--std=c++20", "--language=c++", "--enable=warning,performance,portability",
             "--library=posix,gnu", "--error-exitcode=1", "--template={file}:{line}: {severity} {id}: {message}",
             "-I", "src", "-I", "exporters"]


def cppcheck(*arguments):
    done = subprocess.run([*ARGUMENTS, *map(str, arguments)], cwd=SOURCE, text=True, capture_output=True)
    return done.returncode, done.stdout + done.stderr


@need("cppcheck")
class Cppcheck(unittest.TestCase):
    def test_sources(self):
        files = sorted(path.relative_to(SOURCE) for folder in ("src", "exporters") for path in (SOURCE / folder).rglob("*.cpp"))
        self.assertGreater(len(files), 50)
        # What has not changed since is not looked at again.
        kept = harness.BUILD / "cppcheck"
        kept.mkdir(exist_ok=True)
        self.assertEqual(cppcheck(f"-j{os.cpu_count()}", f"--cppcheck-build-dir={kept}",
                                  "--suppressions-list=tests/cppcheck.suppressions", *files), (0, ""))

    def test_every_suppression_is_needed(self):
        text = (SOURCE / "tests" / "cppcheck.suppressions").read_text()
        for line in (line for line in text.splitlines() if line and not line.startswith("#")):
            name, _, file = line.partition(":")
            if file:
                self.assertIn(f" {name}: ", cppcheck(file)[1], line)

    def test_finds_what_is_wrong(self):
        with tempfile.TemporaryDirectory(prefix="hakmem-test-") as folder:
            file = pathlib.Path(folder) / "wrong.cpp"
            file.write_text('#include "core/heap.h"\nint look() { hakmem::Heap *heap = nullptr; return heap->capacity[0]; }\n')
            status, said = cppcheck(file)
        self.assertEqual(status, 1)
        self.assertIn("nullPointer", said)


if __name__ == "__main__":
    harness.main()
