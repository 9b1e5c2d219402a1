"""Real programs under both libraries: the same results as without, no incident, next to no mincore."""

import hashlib
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import unittest

import harness
from harness import need

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "programs"))
import real_programs  # noqa: E402

# (library, level) that every program is run under.
VARIANTS = [("production", None)] + [("diag", level) for level in harness.built_levels()]
GXX = shutil.which("g++") or shutil.which("c++")


class ProgramTest(harness.HakmemTest):
    def for_each_variant(self, check):
        for library, level in VARIANTS:
            with self.subTest(library=library, level=level):
                check(library, level)

    def compare(self, run, same):
        """`run(library, level)` without a library first, then with each; `same(result, expected)` compares."""
        expected = run(None, None)
        self.assertEqual(expected.status, 0, expected)

        def check(library, level):
            result = run(library, level)
            same(result, expected)
            self.check_clean(result, library)

        self.for_each_variant(check)

    def check_clean(self, result, library):
        self.assertNotRegex(result.err, "(?m)^hakmem: ")
        if library == "diag":
            with self.exporter(result) as exporter:
                self.check_metrics(exporter)

    def check_metrics(self, exporter):
        """No incident; no invalid header but foreign ones; mincore in less than one of 1,000 frees."""
        metrics = harness.wait_until(
            lambda: (lambda seen: seen if seen.total("hakmem_frees_total") else None)(exporter.metrics()),
            "frees are counted")
        self.assertEqual(metrics.by("hakmem_incidents_total", "kind"), {})
        self.assertEqual(metrics.total("hakmem_incidents_dropped_total"), 0)
        self.assertLessEqual(set(metrics.by("hakmem_header_invalid_total", "outcome")), {"foreign"})
        frees, mincore = metrics.total("hakmem_frees_total"), metrics.total("hakmem_mincore_calls_total")
        self.assertLess(mincore, frees / 1000, metrics.by("hakmem_slow_path_total", "reason"))
        self.assertEqual(exporter.incidents(), [])
        print(f"  {frees:.0f} frees, {mincore:.0f} mincore calls", file=sys.stderr)


@need("redis-server", "redis-benchmark", "redis-cli")
class Redis(ProgramTest):
    REQUESTS = 200_000

    def cli(self, port, *command, **more):
        answer = subprocess.run(["redis-cli", "-p", str(port), *command], text=True, capture_output=True,
                                timeout=harness.TIMEOUT, **more)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return answer.stdout

    def test_set_and_get(self):
        self.for_each_variant(self.check_server)

    def check_server(self, library, level):
        directory = self.new_directory()
        log = directory / "log"
        port = harness.free_port()
        store = directory / "incidents.db"
        command = [harness.COMMAND, "run", "--listen", "127.0.0.1:0", "--runtime-dir", directory / "runtime",
                   "--store", store, *(["--production"] if library == "production" else ["--level", level]), "--",
                   "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
                   directory]
        with open(log, "w") as output, harness.running(command, stdout=output, stderr=output,
                                                       env=harness.clean_environment(directory)) as server:
            harness.wait_until(lambda: server.poll() is not None or self.answers(port), "redis answers")
            self.assertIsNone(server.poll(), log.read_text())
            benchmark = subprocess.run(
                ["redis-benchmark", "-p", str(port), "-t", "set,get", "-n", str(self.REQUESTS), "-r", "100000", "-d", "64",
                 "-q"], text=True, capture_output=True, timeout=harness.TIMEOUT)
            self.assertEqual(benchmark.returncode, 0, benchmark.stderr)
            self.check_answers(port)
            if library == "diag":
                exporter = _Scraped(harness.served_at(server, log.read_text))
                self.check_metrics(exporter)
                # Debian's redis-server is a link to redis-check-rdb: nobody knows it by that name.
                self.assertEqual(set(exporter.metrics().by("hakmem_processes", "process")), {"redis-server"})
            subprocess.run(["redis-cli", "-p", str(port), "shutdown", "nosave"], capture_output=True,
                           timeout=harness.TIMEOUT)
            self.assertEqual(server.wait(timeout=60), 0, log.read_text())
        self.assertNotRegex(log.read_text(), r"hakmem: .*incident")

    def answers(self, port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def check_answers(self, port):
        statistics = self.cli(port, "info", "commandstats")
        for command in ("set", "get"):
            calls = int(re.search(rf"cmdstat_{command}:calls=(\d+)", statistics)[1])
            self.assertEqual(calls, self.REQUESTS, statistics)
        values = {f"ours:{i}": f"{i} " * (i % 300 + 1) for i in range(3000)}
        protocol = "".join(f"*3\r\n$3\r\nSET\r\n${len(key)}\r\n{key}\r\n${len(value)}\r\n{value}\r\n"
                           for key, value in values.items())
        self.assertIn("errors: 0, replies: 3000", self.cli(port, "--pipe", input=protocol))
        for key in list(values)[::50]:
            self.assertEqual(self.cli(port, "--raw", "get", key), values[key] + "\n")


class _Scraped(harness.Exporter):
    """The exporter of a `hakmem run` that is running already."""

    def __init__(self, url):  # pylint: disable=super-init-not-called
        self.url = url


class Python(ProgramTest):
    TESTS = ["test_json", "test_dict", "test_re"]

    @unittest.skipIf(subprocess.run(["/usr/bin/python3", "-c", "import test.test_json"], capture_output=True).returncode,
                     "not installed: libpython3.11-testsuite")
    def test_its_own_tests(self):
        def run(library, level):
            return self.preload(["/usr/bin/python3", "-m", "test", *self.TESTS], library, level,
                                environment={"PYTHONMALLOC": "malloc"})

        def same(result, expected):
            self.assertEqual(result.status, expected.status, result)
            self.assertIn("Tests result: SUCCESS", result.out)

        self.compare(run, same)


@unittest.skipUnless(GXX, "not installed: g++")
class Gcc(ProgramTest):
    FILE = harness.SOURCE / "tests" / "bugs" / "cxx_tricky.cpp"

    def test_compile(self):
        objects = self.new_directory()

        def run(library, level):
            target = objects / "out.o"
            target.unlink(missing_ok=True)
            result = self.preload([GXX, "-std=c++20", "-O2", "-w", "-c", self.FILE, "-o", target], library, level,
                                  cwd=objects)
            result.object = hashlib.sha256(target.read_bytes()).hexdigest() if target.exists() else None
            return result

        def same(result, expected):
            self.assert_same_output(result, expected)
            self.assertEqual(result.object, expected.object)

        self.compare(run, same)


@need("git")
class Git(ProgramTest):
    def setUp(self):
        super().setUp()
        self.config = self.directory / "gitconfig"
        self.config.write_text("[safe]\n\tdirectory = *\n[user]\n\tname = test\n\temail = test@localhost\n"
                               "[gc]\n\tautoDetach = false\n[pack]\n\tthreads = 2\n[init]\n\tdefaultBranch = main\n")

    def git(self, *arguments, **more):
        return subprocess.run(["git", *map(str, arguments)], check=True, text=True, capture_output=True,
                              env=self.environment(), timeout=harness.TIMEOUT, **more).stdout

    def environment(self):
        return harness.clean_environment(self.directory, GIT_CONFIG_GLOBAL=self.config)

    def our_repository(self):
        """A clone of our own; where this tree is not under git, the tree itself, committed file by file."""
        target = self.directory / "repository"
        if (harness.SOURCE / ".git").exists():
            self.git("clone", "--quiet", "--no-local", harness.SOURCE, target)
            # Loose again, so that gc has something to do.
            packs = target / ".git" / "objects" / "pack"
            for pack in list(packs.glob("*.pack")):
                outside = self.directory / pack.name
                shutil.move(pack, outside)
                for beside in packs.glob(pack.stem + ".*"):
                    beside.unlink()
                with open(outside, "rb") as stream:
                    self.git("-C", target, "unpack-objects", "-q", stdin=stream)
        else:
            self.git("init", "--quiet", target)
            for path in sorted((harness.SOURCE / "src").rglob("*.*")):
                shutil.copy(path, target / path.name)
                self.git("-C", target, "add", path.name)
                self.git("-C", target, "commit", "--quiet", "-m", path.name)
        return target

    def test_gc(self):
        original = self.our_repository()

        def run(library, level):
            copy = self.new_directory() / "repository"
            shutil.copytree(original, copy, symlinks=True)
            result = self.preload(["git", "-C", copy, "gc", "--quiet", "--prune=now"], library, level,
                                  environment={"GIT_CONFIG_GLOBAL": self.config})
            self.git("-C", copy, "fsck", "--full", "--strict")
            counts = dict(line.split(": ") for line in self.git("-C", copy, "count-objects", "-v").splitlines())
            result.objects = (self.git("-C", copy, "rev-list", "--objects", "--all"), counts["count"], counts["in-pack"])
            return result

        def same(result, expected):
            self.assert_same_output(result, expected)
            self.assertEqual(result.objects, expected.objects)

        self.compare(run, same)


@need("sqlite3")
class Sqlite(ProgramTest):
    SQL = """
        CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, cents INTEGER);
        BEGIN;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
        INSERT INTO orders SELECT i, 'customer ' || (i * 7919 % 10007), i * 31 % 5000 FROM n;
        COMMIT;
        CREATE INDEX by_customer ON orders (customer, cents);
        SELECT count(*), sum(cents) FROM orders;
        SELECT customer, sum(cents) FROM orders GROUP BY customer ORDER BY 2 DESC, 1 LIMIT 20;
        PRAGMA integrity_check;
        .sha3sum
    """

    def test_table_with_index(self):
        def run(library, level):
            database = self.new_directory() / "orders.db"
            return self.preload(["sqlite3", "-batch", database], library, level, stdin=None,
                                input="\n".join(line.strip() for line in self.SQL.splitlines()))

        self.compare(run, self.assert_same_output)


@need("sort")
class Sort(ProgramTest):
    def test_a_million_lines(self):
        chooser = random.Random(1)
        lines = self.directory / "lines"
        lines.write_text("".join(f"{chooser.getrandbits(64):x} line {i}\n" for i in range(1_000_000)))

        def run(library, level):
            target = self.new_directory() / "sorted"
            result = self.preload(["sort", "--parallel=2", lines, "-o", target], library, level)
            result.sorted = hashlib.sha256(target.read_bytes()).hexdigest()
            return result

        def same(result, expected):
            self.assert_same_output(result, expected)
            self.assertEqual(result.sorted, expected.sorted)

        # sort hands out few blocks; that it is watched at all shows in the frees that the exporter counts.
        self.compare(run, same)


class Listed(harness.HakmemTest):
    """Those of tests/programs/real_programs.py that have no class of their own here, with little to do."""

    def check(self, program):
        self.directory.chmod(0o755)  # some run as another user
        runs = real_programs.Runs(program, self.new_directory())
        expected = runs.run(None)
        self.assertEqual(expected.status, 0, expected.err)
        for variant in program.variants:
            with self.subTest(program=program.name, variant=variant):
                self.assertEqual(runs.faults(runs.run(variant), expected, variant), [])


def add_listed():
    for program in real_programs.PROGRAMS:
        if program.tested_apart:
            continue
        missing = program.missing()
        test = unittest.skipIf(missing, f"not installed: {program.package}")(
            lambda self, program=program: self.check(program))
        setattr(Listed, "test_" + re.sub(r"\W+", "_", program.name), test)


add_listed()


if __name__ == "__main__":
    harness.main()
