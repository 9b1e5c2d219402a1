"""What the integration tests share: running programs under the libraries, the exporter, and reading what came of it.

Only names of the public contract are used here: paths of the build, options, commands, paths of the exporter.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("HAKMEM_BUILD", SOURCE / "build")).resolve()
COMMAND = BUILD / "exporters" / "hakmem"
LIBRARIES = {"diag": BUILD / "src" / "libhakmem-diag.so", "production": BUILD / "src" / "libhakmem.so"}
LEVELS = ["count", "verify", "trace", "guard"]
KINDS = {
    "double_free", "header_overwritten", "interior_pointer", "foreign_pointer", "large_header_corrupt",
    "redzone_overwritten", "use_after_free_write", "guard_page_access", "header_write_caught",
    "alloc_dealloc_mismatch", "size_mismatch",
}

# One test never waits longer than this for a program; a hang becomes a failure that names it.
TIMEOUT = float(os.environ.get("HAKMEM_TEST_TIMEOUT", "300"))


def clean_environment(directory, **more):
    """An environment that nothing of the user's leaks into, with a home and a state folder of its own."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(directory),
        "XDG_STATE_HOME": str(directory / "state"),
        "LANG": "C.UTF-8",
        "TMPDIR": str(directory),
        # Symbols come from the files at hand, never over the network.
        "DEBUGINFOD_URLS": "",
    }
    environment.update({key: str(value) for key, value in more.items()})
    return environment


def option_string(options):
    return ":".join(f"{key}={value}" for key, value in options.items())


class Result:
    """What a program left behind: status, output, and the folder of its segment files."""

    def __init__(self, process, runtime_dir=None, store=None):
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr
        self.runtime_dir = runtime_dir
        self.store = store

    def __str__(self):
        return f"status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Metrics:
    """Prometheus text, parsed strictly: a line that is not of the format is an error."""

    _LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: [0-9]+)?')
    _LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')

    def __init__(self, text):
        self.text = text
        self.series = collections.defaultdict(list)
        self.types = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.split()[2:]
                self.types[name] = kind
            elif line and not line.startswith("#"):
                match = self._LINE.fullmatch(line)
                if match is None:
                    raise ValueError(f"not of the text format: {line!r}")
                labels = dict(self._LABEL.findall(match[2] or ""))
                self.series[match[1]].append((labels, float(match[3])))

    def total(self, name, **wanted):
        return sum(value for labels, value in self.series.get(name, [])
                   if all(labels.get(key) == expected for key, expected in wanted.items()))

    def by(self, name, label):
        totals = collections.Counter()
        for labels, value in self.series.get(name, []):
            totals[labels.get(label)] += value
        return {key: value for key, value in totals.items() if value}


class Exporter:
    """`hakmem exporter` on a free port, as a context manager."""

    def __init__(self, runtime_dir, store, directory, *arguments, listen="127.0.0.1:0"):
        self._log = open(pathlib.Path(directory) / "exporter.log", "w+")
        self.process = subprocess.Popen(
            [COMMAND, "exporter", "--listen", listen, "--runtime-dir", runtime_dir, "--store", store, *arguments],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=clean_environment(pathlib.Path(directory)))
        self.url = served_at(self.process, self.log)

    def log(self):
        return pathlib.Path(self._log.name).read_text()

    def get(self, path):
        with urllib.request.urlopen(self.url + path.lstrip("/"), timeout=30) as answer:
            return answer.read().decode()

    def metrics(self):
        return Metrics(self.get("/metrics"))

    def incidents(self, query=""):
        return json.loads(self.get("/api/v1/incidents?limit=1000" + query))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def served_at(process, read_log, timeout=30):
    """The address out of `hakmem: serving http://HOST:PORT/`, once the process has said it."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        match = re.search(r"hakmem: serving (http://\S+)", read_log())
        if match:
            return match[1]
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode} before it served:\n{read_log()}")
        time.sleep(0.02)
    raise AssertionError(f"did not serve within {timeout} s:\n{read_log()}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, timeout=60):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"after {timeout} s still not: {what}")


class HakmemTest(unittest.TestCase):
    """A test with a folder of its own: runtime dir, store, home."""

    maxDiff = None

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="hakmem-test-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self._runs = 0

    def new_directory(self):
        self._runs += 1
        directory = self.directory / f"run{self._runs}"
        directory.mkdir()
        return directory

    def preload(self, argv, library="diag", level=None, options=None, timeout=TIMEOUT, environment=None, **more):
        """Runs a program with one of the libraries preloaded, or with none, and nothing else beside it."""
        directory = self.new_directory()
        runtime_dir = directory / "runtime"
        environment = clean_environment(directory, **(environment or {}))
        if library is not None:
            environment |= self.preload_environment(runtime_dir, library, level, options)
        process = subprocess.run([str(part) for part in argv], env=environment, text=True, capture_output=True,
                                 timeout=timeout, **({"stdin": subprocess.DEVNULL} | more))
        return Result(process, runtime_dir, directory / "incidents.db")

    @staticmethod
    def preload_environment(runtime_dir, library="diag", level=None, options=None):
        runtime_dir.mkdir(mode=0o700, exist_ok=True)
        environment = {"LD_PRELOAD": str(LIBRARIES[library])}
        if library == "diag":
            settings = {"level": level or "count", "runtime_dir": str(runtime_dir)} | (options or {})
            environment["HAKMEM_OPTIONS"] = option_string(settings)
        return environment

    def hakmem(self, *arguments, timeout=TIMEOUT, environment=None, **more):
        environment = clean_environment(self.directory, **(environment or {}))
        process = subprocess.run([str(COMMAND), *map(str, arguments)], env=environment, text=True, capture_output=True,
                                 timeout=timeout, **({"stdin": subprocess.DEVNULL} | more))
        return Result(process)

    def hakmem_run(self, argv, *run_options, level=None, options=None, timeout=TIMEOUT, environment=None, **more):
        """Runs a program under `hakmem run` with a runtime dir and a store of its own."""
        directory = self.new_directory()
        runtime_dir, store = directory / "runtime", directory / "incidents.db"
        arguments = ["run", "--listen", "127.0.0.1:0", "--runtime-dir", runtime_dir, "--store", store]
        if level is not None:
            arguments += ["--level", level]
        for key, value in (options or {}).items():
            arguments += ["--option", f"{key}={value}"]
        arguments += [*run_options, "--", *argv]
        process = subprocess.run([str(part) for part in [COMMAND, *arguments]], text=True, capture_output=True,
                                 timeout=timeout, env=clean_environment(directory, **(environment or {})),
                                 **({"stdin": subprocess.DEVNULL} | more))
        return Result(process, runtime_dir, store)

    def exporter(self, result, *arguments):
        return Exporter(result.runtime_dir, result.store, self.new_directory(), *arguments)

    def incidents(self, store):
        """All incidents of a store, symbolized."""
        listed = self.hakmem("incidents", "list", "--json", "--store", store)
        self.assertEqual(listed.status, 0, listed)
        incidents = json.loads(listed.out)
        for incident in incidents:
            self.assertIn(incident["kind"], KINDS)
        return incidents

    def assert_same_output(self, result, expected):
        self.assertEqual((result.status, result.out), (expected.status, expected.out), result.err)


# Frames of these are the allocator's and the runtime's own: the program's part of a stack begins below them.
_RUNTIME = re.compile(r"^(libhakmem.*|libc|libstdc\+\+|libgcc_s|libunwind.*|ld-linux.*)\.so")


def own_frame(stack):
    """The innermost frame that lies in the program itself and that has a line there."""
    for frame in stack:
        if not _RUNTIME.match(os.path.basename(frame["module"])) and "/include/c++/" not in frame.get("file", ""):
            return frame
    return None


def built_levels(kinds=LEVELS):
    """The levels that the diagnostic library has; others say on stderr that they are not built."""
    levels = []
    for level in kinds:
        with tempfile.TemporaryDirectory(prefix="hakmem-test-") as directory:
            environment = clean_environment(pathlib.Path(directory), LD_PRELOAD=LIBRARIES["diag"],
                                            HAKMEM_OPTIONS=f"level={level}:runtime_dir={directory}")
            process = subprocess.run(["/bin/ls", directory], env=environment, capture_output=True, text=True, timeout=TIMEOUT)
        if "not built" not in process.stderr:
            levels.append(level)
    return levels


@contextlib.contextmanager
def running(argv, **more):
    """A program in the background that is gone afterwards, whatever happens."""
    process = subprocess.Popen([str(part) for part in argv], **({"stdin": subprocess.DEVNULL} | more))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def need(*programs):
    """Skips a test where a program is missing, and says which."""
    missing = [program for program in programs if shutil.which(program) is None]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


def main():
    """unittest's main with the status that meson takes for a skip where every test was skipped."""
    program = unittest.main(exit=False, verbosity=2)
    if not program.result.wasSuccessful():
        sys.exit(1)
    if program.result.testsRun == 0:
        sys.exit("no test ran")
    sys.exit(77 if len(program.result.skipped) == program.result.testsRun else 0)


__all__ = ["BUILD", "COMMAND", "KINDS", "LEVELS", "LIBRARIES", "SOURCE", "TIMEOUT", "Exporter", "HakmemTest", "Metrics",
           "Result", "built_levels", "clean_environment", "free_port", "main", "need", "option_string", "own_frame",
           "running", "served_at", "signal", "wait_until"]
