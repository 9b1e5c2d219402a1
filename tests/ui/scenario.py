"""A small world for the web page to show: an exporter, programs that run, and the incidents that they made.

The tests of the page look at it, and docs/screenshots takes its pictures of it.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness  # noqa: E402

BUGS = harness.BUILD / "tests" / "bugs"
ORDER_SERVICE = harness.BUILD / "examples" / "order_service"
CHROMIUM = shutil.which("chromium")
NODE = shutil.which("node")

# Level, options, program and arguments of those that run once.
ENDED = [
    ("trace", {"sample_bytes": 1}, ["double_free", "after_others", "100"]),
    ("count", {}, ["double_free", "immediate", "24"]),
    ("trace", {"sample_bytes": 1}, ["interior", "advanced_cursor", "100"]),
    ("count", {}, ["overflow", "off_by_one_loop", "24"]),
    ("count", {}, ["wild", "stack_array"]),
    ("count", {}, ["wild", "string_literal"]),
    ("verify", {}, ["large_header", "flip_one_bit", "20000"]),
]


class Scenario:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.runtime_dir = self.directory / "run"
        self.runtime_dir.mkdir(mode=0o700)
        self.pids = {}

    def environment(self, level, options=None, name=None):
        settings = {"level": level, "runtime_dir": self.runtime_dir} | (options or {})
        environment = harness.clean_environment(self.directory, LD_PRELOAD=harness.LIBRARIES["diag"],
                                                HAKMEM_OPTIONS=harness.option_string(settings))
        if name is not None:
            environment["HAKMEM_PROCESS"] = name
        return environment

    def run_ended(self):
        for level, options, (program, *arguments) in ENDED:
            subprocess.run([BUGS / program, *arguments], env=self.environment(level, options), check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)


@contextlib.contextmanager
def scenario(directory):
    """Yields a Scenario with `url` and `pids` (by name), once all of its incidents are in the store."""
    made = Scenario(directory)
    with contextlib.ExitStack() as stack:
        exporter = stack.enter_context(harness.Exporter(made.runtime_dir, made.directory / "incidents.db", made.directory))
        made.url = exporter.url.rstrip("/")
        made.exporter = exporter

        def start(name, argv, level, options=None):
            process = stack.enter_context(harness.running(
                argv, env=made.environment(level, options, name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            made.pids[name] = process.pid

        start("order_service", [ORDER_SERVICE, "10000000", "3"], "count")
        start("order_service_traced", [ORDER_SERVICE, "10000000", "5"], "trace", {"sample_bytes": 1})
        if shutil.which("redis-server") and shutil.which("redis-benchmark"):
            port = harness.free_port()
            start("redis-server", ["redis-server", "--port", str(port), "--save", ""], "trace", {"sample_bytes": 100_000})
            load = f"while sleep 0.3; do redis-benchmark -q -p {port} -n 3000 -r 10000 -t set,lpush,get; done"
            shell = stack.enter_context(harness.running(["sh", "-c", load], stdout=subprocess.DEVNULL,
                                                        stderr=subprocess.DEVNULL, start_new_session=True))
            stack.callback(_end_group, shell.pid)
        made.run_ended()

        def groups():
            found = json.loads(exporter.get("/api/v1/groups"))
            # order_service has two bugs of its own.
            return found if found["all_groups"] >= len(ENDED) + 2 else None

        made.groups = harness.wait_until(groups, "an incident of every bug is in the store")["groups"]
        yield made


def _end_group(leader):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, harness.signal.SIGTERM)


def packages():
    """The node_modules of the tests of the page, installed if need be."""
    script = ("const { packages } = await import(process.argv[1]);"
              "process.stdout.write(packages(process.argv[2], process.argv[3]))")
    folder = harness.SOURCE / "exporters" / "web" / "page" / "packages.mjs"
    made = subprocess.run([NODE, "--input-type=module", "-e", script, folder, harness.SOURCE / "tests" / "ui",
                           harness.BUILD / "tests" / "ui"], text=True, capture_output=True, check=False)
    if made.returncode != 0:
        raise AssertionError(made.stderr)
    return pathlib.Path(made.stdout)
