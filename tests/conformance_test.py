"""malloc and its family as POSIX, C23, C++20 and glibc's manual have them: hakmem at every level.

The same program runs under glibc and the installed peers; there its findings are only shown. They keep it honest: a
case that nobody passes would be a mistake of the test.
"""

import pathlib
import re
import sys

import harness

PROGRAMS = harness.BUILD / "tests" / "conformance"
MODULE = "libconformance_module.so"
PEERS = {"glibc": None, "jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4",
         "mimalloc": "libmimalloc.so.2"}
# What no peer of Debian 12 does: C23's functions came after them, and its rule on bad alignments after glibc 2.36.
OURS_ALONE = {"aligned_alloc_refuses", "free_sized_frees"}


def installed(library):
    return library is None or any(pathlib.Path("/usr/lib").glob(f"*/{library}"))


class Conformance(harness.HakmemTest):
    def run_all(self, library, level=None):
        return self.preload([PROGRAMS / "conformance"], library=library, level=level)

    def load_module(self, library, level=None):
        """By its path, by its name from the program's RUNPATH, and with RTLD_DEEPBIND, as PHP loads modules."""
        for arguments in ([PROGRAMS / MODULE], [MODULE], [MODULE, "deep"]):
            result = self.preload([PROGRAMS / "load_module", *arguments], library=library, level=level)
            self.assertEqual((result.status, result.out, result.err), (0, "", ""), arguments)

    def test_hakmem(self):
        for library, level in [("production", None)] + [("diag", level) for level in harness.LEVELS]:
            with self.subTest(library=library, level=level):
                conformance = self.run_all(library, level)
                self.assertEqual((conformance.status, conformance.out), (0, ""), conformance.err)
                self.assertRegex(conformance.err, r"^\d+ cases\n$")  # and not a word of hakmem's
                self.load_module(library, level)

    def test_peers(self):
        failed_by_all = None
        for name, library in PEERS.items():
            if not installed(library):
                print(f"  {name}: not installed", file=sys.stderr)
                continue
            result = self.preload([PROGRAMS / "conformance"], library=None,
                                  environment={"LD_PRELOAD": library} if library else {})
            cases = set(re.findall(r"(?m)^(\w+): ", result.out))
            failed_by_all = cases if failed_by_all is None else failed_by_all & cases
            print(f"  {name} differs in: {', '.join(sorted(cases)) or 'nothing'}", file=sys.stderr)
        self.assertLessEqual(failed_by_all, OURS_ALONE)


if __name__ == "__main__":
    harness.main()
