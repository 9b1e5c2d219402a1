"""hakmem.h: the same program under no hakmem, the production and the diagnostic library; strict compilers; pkg-config."""

import os
import shutil
import subprocess
import unittest

import harness

PROGRAMS = harness.BUILD / "tests" / "programs"
SOURCE = harness.SOURCE / "tests" / "programs" / "talks_to_hakmem.c"
INCLUDE = harness.SOURCE / "src"

WITHOUT = """library: 0
read_counters: -1 ENOSYS
tag_thread: -1 ENOSYS
audit: -1 ENOSYS
headers: 0, corrupt: 0, complete: 0
"""
PRODUCTION = """library: 1
read_counters: -1 ENOTSUP
mapped: 1, allocations: 0
tag_thread: 0
audit: -1 ENOTSUP
headers: 0, corrupt: 0, complete: 0
audit of a hurt heap: -1 ENOTSUP
headers: 0, corrupt: 0, complete: 0
audit once more: -1 ENOTSUP
headers: 0, corrupt: 0, complete: 0
tag_thread: 0
"""
DIAGNOSTIC = """library: 2
read_counters: 0
allocations: 1000
live bytes for each: 112
mapped more than live: 1
tag_thread: 0
audit: 0
headers: 1, corrupt: 0, complete: 1
audit of a hurt heap: 1
headers: 1, corrupt: 1, complete: 1
audit once more: 0
headers: 1, corrupt: 0, complete: 1
tag_thread: 0
"""


class Header(harness.HakmemTest):
    def test_without_hakmem(self):
        for program in ("talks_to_hakmem", "talks_to_hakmem_cxx"):
            result = self.preload([PROGRAMS / program], library=None)
            self.assertEqual((result.status, result.out, result.err), (0, WITHOUT, ""))

    def test_production(self):
        for program in ("talks_to_hakmem", "talks_to_hakmem_cxx"):
            result = self.preload([PROGRAMS / program], library="production")
            self.assertEqual((result.status, result.out), (0, PRODUCTION), result.err)

    def test_diagnostic(self):
        for program in ("talks_to_hakmem", "talks_to_hakmem_cxx"):
            result = self.hakmem_run([PROGRAMS / program], level="count")
            self.assertEqual((result.status, result.out), (0, DIAGNOSTIC), result.err)
            threads = {(incident["kind"], incident["thread"]) for incident in self.incidents(result.store)}
            self.assertEqual(threads, {("header_overwritten", "request 42, whi"), ("double_free", "request 42, whi"),
                                       ("double_free", program[:15])})

    def test_strict_compilers(self):
        for compiler in ("gcc", "clang", "g++", "clang++"):
            if shutil.which(compiler) is None:
                continue
            cxx = compiler.endswith("++")
            for standard in ("c++11", "c++20") if cxx else ("c99", "c11", "gnu17"):
                for link in ("-pie", "-no-pie"):
                    program = self.new_directory() / "program"
                    subprocess.run([compiler, f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror", "-x",
                                    "c++" if cxx else "c", SOURCE, "-I", INCLUDE, "-fPIE" if link == "-pie" else "-fno-pie",
                                    link, "-o", program], check=True, timeout=harness.TIMEOUT)
                    for library, expected in ((None, WITHOUT), ("production", PRODUCTION)):
                        result = self.preload([program], library=library)
                        self.assertEqual((result.status, result.out), (0, expected), (compiler, standard, link))

    @harness.need("pkg-config")
    def test_pkg_config(self):
        environment = os.environ | {"PKG_CONFIG_PATH": str(harness.BUILD / "meson-private"),
                                    "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1"}
        run = subprocess.run(["pkg-config", "--cflags", "--libs", "hakmem"], text=True, check=True,
                             capture_output=True, timeout=harness.TIMEOUT, env=environment)
        self.assertRegex(run.stdout, r"^-I\S*/include\s*$")  # and no library: none is needed


if __name__ == "__main__":
    harness.main()
