"""Every program of the catalogue: the right incident, once, at the right line, and the program lives on."""

import concurrent.futures
import os
import pathlib
import re
import signal
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "bugs"))
import catalogue  # noqa: E402
import harness  # noqa: E402

BUGS = harness.SOURCE / "tests" / "bugs"
PROGRAMS = harness.BUILD / "tests" / "bugs"
AVAILABLE = harness.built_levels()

# A part of the catalogue, for work on one bug: HAKMEM_CASES is a regular expression over the cases' names.
CHOSEN = re.compile(os.environ.get("HAKMEM_CASES", ""))
BUGGY = [case for case in catalogue.BUGGY if CHOSEN.search(case.name)]
CORRECT = [case for case in catalogue.CORRECT if CHOSEN.search(case.name)]

# One of each kind, for what need not be repeated for every case.
REPRESENTATIVES = {
    "double_free.immediate.24", "double_free.immediate.20000", "overflow.strcpy_nul.24", "overflow.bytes16.100",
    "large_header.flip_one_bit.20000", "interior.plus16.100", "interior.plus16.20000", "wild.stack_array",
    "wild.static_data", "wild.unmapped_page", "wild.mapping_start", "cxx_delete.delete_twice",
    "double_free.immediate.24.thread",
}
assert REPRESENTATIVES <= {case.name for case in catalogue.BUGGY}


def command(case):
    return [PROGRAMS / case.program, *case.arguments]


def marked_lines(case, mark):
    """(file name, line) of every line that carries `// @MARK … CASE …`."""
    lines = set()
    pattern = re.compile(rf"// @{mark}\b.*\b{re.escape(case.case)}\b")
    for name in ("bug.h", case.program + ".c", case.program + ".cpp"):
        path = BUGS / name
        if path.exists():
            lines |= {(name, number) for number, line in enumerate(path.read_text().splitlines(), 1)
                      if pattern.search(line)}
    return lines


class CatalogueTest(harness.HakmemTest):
    """Runs many short programs, as many at a time as there are processors, and names each that failed."""

    def for_each(self, cases, check):
        failed = []
        lock = threading.Lock()

        def one(case):
            try:
                check(case)
            except Exception as error:  # named below; the others still run
                with lock:
                    failed.append(f"{case.name}: {error}")

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, cases))
        if failed:
            self.fail(f"{len(failed)} of {len(cases)} failed\n\n" + "\n\n".join(sorted(failed)))

    def check_site(self, case, level, incident):
        if "writer" in incident["stacks"]:  # caught in the act
            stack, marks = incident["stacks"]["writer"], ("write",)
        elif incident["kind"] == "guard_page_access":
            stack, marks = incident["stacks"]["free"], ("write",)
        elif incident["kind"] == "use_after_free_write":  # nobody's free found it: who freed the block is the site
            stack, marks = incident["stacks"]["previous_free"], ("first_free",)
        else:
            stack, marks = incident["stacks"].get("free", []), case.marks_at(level)
        if not marks:
            return
        wanted = set().union(*(marked_lines(case, mark) for mark in marks))
        self.assertTrue(wanted, f"no line is marked @{marks[0]} {case.case}")
        frame = harness.own_frame(stack)
        self.assertIsNotNone(frame, f"no frame of the program in {stack}")
        self.assertIn((os.path.basename(frame.get("file", "?")), frame.get("line")), wanted, stack)
        self.assertTrue(frame.get("function"), stack)

    def check_incident(self, case, level, incident):
        self.assertIn(incident["kind"], case.kinds_at(level))
        self.assertEqual(incident["count"], 1)
        self.assertEqual(incident["level"], level)
        if incident["kind"] == "foreign_pointer" and case.region:
            self.assertIn(incident.get("region"), case.region)
        self.check_site(case, level, incident)


class Levels(CatalogueTest):
    """on_error=continue: exactly one incident of the right kind, and the program ends with its right output.

    With --fail-on-incident, whose status tells a script without reading anything.
    """

    def check_level(self, level):
        if level not in AVAILABLE:
            self.skipTest(f"level {level} is not built")
        cases = [case for case in BUGGY if case.kinds_at(level)]
        self.for_each(cases, lambda case: self.check_case(case, level))

    def check_case(self, case, level):
        result = self.hakmem_run(command(case), "--fail-on-incident", level=level,
                                 options=dict(part.split("=") for part in case.options))
        self.assertNotEqual(result.status, 77, result)
        if not case.dies:
            self.assertEqual((result.status, result.out), (86, case.output), result.err)
        incidents = self.incidents(result.store)
        also = case.guard_also if level == "guard" else ()
        expected = [incident for incident in incidents if incident["kind"] not in also]
        self.assertEqual(len(expected), 1, [incident["kind"] for incident in incidents] or result)
        self.check_incident(case, level, expected[0])
        self.assertRegex(result.err, rf"(?m)^hakmem: {len(incidents)} incidents? \(.*{expected[0]['kind']}.*\)$")

    def test_count(self):
        self.check_level("count")

    def test_verify(self):
        self.check_level("verify")

    def test_trace(self):
        self.check_level("trace")

    def test_guard(self):
        self.check_level("guard")

    def test_stacks_of_samples(self):
        """Where every block is sampled, the second free of one knows who allocated it and who freed it first."""
        for size in (24, 5000, 20000, 60000):
            with self.subTest(size=size):
                result = self.hakmem_run([PROGRAMS / "double_free", "immediate", str(size)], level="trace",
                                         options={"sample_bytes": 1})
                [incident] = self.incidents(result.store)
                for stack in ("alloc", "previous_free", "free"):
                    self.assertIsNotNone(harness.own_frame(incident["stacks"].get(stack, [])), (stack, incident))


class Correct(CatalogueTest):
    """No false alarm, and the right output, at every level and under the production library."""

    def check_level(self, level):
        if level not in AVAILABLE:
            self.skipTest(f"level {level} is not built")
        self.for_each(CORRECT, lambda case: self.check_case(case, level))

    def check_case(self, case, level):
        result = self.hakmem_run(command(case), "--fail-on-incident", level=level)
        self.assertEqual((result.status, result.out), (0, case.output), result.err)
        self.assertNotIn("incident", result.err)
        self.assertEqual(self.incidents(result.store), [])

    def check_production(self, case):
        result = self.preload(command(case), library="production")
        self.assertEqual((result.status, result.out, result.err), (0, case.output, ""))

    def test_count(self):
        self.check_level("count")

    def test_verify(self):
        self.check_level("verify")

    def test_trace(self):
        self.check_level("trace")

    def test_guard(self):
        self.check_level("guard")

    def test_production(self):
        self.for_each(CORRECT, self.check_production)


class Abort(CatalogueTest):
    """on_error=abort: SIGABRT, a report on stderr, and the incident is still there."""

    def check_case(self, case, level):
        result = self.hakmem_run(command(case), level=level, options={"on_error": "abort"})
        self.assertEqual(result.status, 128 + signal.SIGABRT, result)
        self.assertEqual(result.out, "")
        incidents = self.incidents(result.store)
        self.assertEqual(len(incidents), 1, result)
        self.check_incident(case, level, incidents[0])
        self.assertIn(incidents[0]["kind"], result.err)

    def check_level(self, level):
        cases = [case for case in BUGGY if case.name in REPRESENTATIVES]
        self.for_each(cases, lambda case: self.check_case(case, level))

    def test_count(self):
        self.check_level("count")

    def test_verify(self):
        self.check_level("verify")


class Production(CatalogueTest):
    """libhakmem.so alone: refuses the free, says so in one line, and the program ends with its right output.

    It has no signal handler, so an address that can't be read at all may end the program, as with any allocator.
    """

    def check_case(self, case):
        result = self.preload(command(case), library="production")
        if case.unreadable and result.status == -signal.SIGSEGV:
            return
        self.assertEqual((result.status, result.out), (0, case.output), result.err)
        lines = result.err.splitlines()
        self.assertEqual(len(lines), 1, result.err)
        self.assertRegex(lines[0], "^hakmem: ")

    def test_refuses(self):
        self.for_each([case for case in BUGGY if case.production], self.check_case)


class WithoutSymbols(CatalogueTest):
    """What the contract says of a process's own output: `report=stderr` prints each incident when it happens."""

    def test_report_on_stderr(self):
        case = next(case for case in catalogue.BUGGY if case.name == "double_free.immediate.24")
        result = self.preload(command(case), options={"report": "stderr"})
        self.assertEqual((result.status, result.out), (0, case.output), result.err)
        self.assertIn("double_free", result.err)
        quiet = self.preload(command(case))
        self.assertNotIn("double_free", quiet.err)


class Catalogue(unittest.TestCase):
    """The catalogue itself: big enough, no name twice, every marked line there."""

    def test_size(self):
        self.assertGreaterEqual(len(catalogue.BUGGY), 60)
        self.assertGreaterEqual(len(catalogue.CORRECT), 30)
        names = [case.name for case in catalogue.BUGGY + catalogue.CORRECT]
        self.assertEqual(len(names), len(set(names)))

    def test_marks(self):
        for case in catalogue.BUGGY:
            for mark in {case.mark, case.guard_mark} - {None}:
                self.assertTrue(marked_lines(case, mark), f"{case.name}: no line is marked @{mark} {case.case}")


if __name__ == "__main__":
    harness.main()
