"""What people see in a terminal: `hakmem top` and the report, through a pseudo-terminal and a terminal emulator."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

import harness

try:
    import pyte
except ImportError:
    pyte = None

ORDER_SERVICE = harness.BUILD / "examples" / "order_service"
DOUBLE_FREE = harness.BUILD / "tests" / "bugs" / "double_free"
# A name that clears the screen, sets the title, moves the cursor and begins a line, if anybody lets it.
HOSTILE = "\x1b[2J\x1b]0;gotcha\x07\r\nroot \u009b31m\u202ePID"
ENTER, ESCAPE, DOWN = "\r", "\x1b", "\x1bOB"


class Terminal:
    """A command on a pseudo-terminal, and what its screen shows."""

    def __init__(self, argv, environment, columns=100, rows=20):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        master, slave = pty.openpty()
        self.master = master
        self.resize(columns, rows, slave)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(list(map(str, argv)), stdin=slave, stdout=slave, stderr=slave, env=environment,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.slave = slave

    def resize(self, columns, rows, fd=None):
        fcntl.ioctl(fd or self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self, seconds=0.05):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.raw += data
            self.stream.feed(data)

    def text(self):
        self.read()
        return "\n".join(self.screen.display)

    def wait_for(self, *words):
        def shown():
            text = self.text()
            return all(word in text for word in words)

        try:
            harness.wait_until(shown, f"the screen shows {words}", timeout=30)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}\n{self.raw[-2000:]!r}") from None
        return self.text()

    def type(self, keys):
        os.write(self.master, keys.encode())

    def end(self):
        """The exit status, and whether the terminal is as it was."""
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
        self.read()
        return self.process.wait(timeout=1), termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class TerminalTest(harness.HakmemTest):
    def setUp(self):
        super().setUp()
        self.runtime_dir = self.directory / "runtime"

    def environment(self, **more):
        return harness.clean_environment(self.directory, **({"TERM": "xterm-256color"} | more))

    def watch(self, *argv, name=None):
        """Runs a program under the library; in the background if it doesn't end."""
        environment = self.environment(**self.preload_environment(self.runtime_dir))
        if name is not None:
            environment["HAKMEM_PROCESS"] = name
        return {"argv": argv, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def terminal(self, *arguments, columns=100, rows=20, **environment):
        made = Terminal([harness.COMMAND, *arguments], self.environment(**environment), columns, rows)
        self.addCleanup(made.close)
        return made

    def top(self, *arguments, **more):
        return self.terminal("top", "--runtime-dir", self.runtime_dir, "--interval", "0.2", *arguments, **more)


@unittest.skipIf(pyte is None, "not installed: python3-pyte")
class Top(TerminalTest):
    @contextlib.contextmanager
    def processes(self, *names):
        with contextlib.ExitStack() as stack:
            pids = {}
            for name in names:
                watched = self.watch(ORDER_SERVICE, "10000000", "3", name=name)
                pids[name] = stack.enter_context(harness.running(watched.pop("argv"), **watched)).pid
            yield pids

    def test_shows_processes_and_their_detail(self):
        with self.processes("alpha", "beta") as pids:
            top = self.top("--sort", "process")
            text = top.wait_for("hakmem top  2 processes", "PID STATE", "alpha", "beta", "q quit", "? help")
            for name, pid in pids.items():
                self.assertRegex(text, rf"(?m)^ *{pid} running count .* {name} *$")
            # Numbers move by themselves.
            harness.wait_until(lambda: any(int(line.split()[3].rstrip("kM").split(".")[0]) > 0
                                           for line in top.text().splitlines() if line.strip().endswith("alpha")),
                               "a rate is shown")
            top.type(DOWN + ENTER)
            top.wait_for(f"beta, pid {pids['beta']}", "program", "order_service", "q back")
            top.type("q")
            top.wait_for("alpha", "q quit")
            top.type("?")
            top.wait_for("Keys", "turn the order round")
            top.type(ESCAPE)
            top.wait_for("alpha")
            top.type("/ALP")
            top.wait_for("Filter: ALP_")
            self.assertNotIn("beta", top.text())
            top.type(ENTER + "p")
            top.wait_for("PAUSED", "Filter: ALP")
            top.type("q")
            self.assertEqual(top.end(), (0, True))
            self.assertTrue(top.raw.rstrip().endswith((b"\x1b[?1l\x1b>", b"\x1b[?1049l")) or b"\x1b[?1049l" in top.raw)

    def test_gives_the_terminal_back_when_it_is_ended(self):
        with self.processes("alpha"):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                top = self.top()
                top.wait_for("alpha")
                self.assertNotEqual(termios.tcgetattr(top.slave), top.before)
                top.process.send_signal(number)
                self.assertEqual(top.end(), (0, True), number)
                self.assertIn(b"\x1b[?1049l", top.raw)
            top = self.top()
            top.wait_for("alpha")
            top.type("\x03")  # Ctrl-C, as a terminal makes a signal of it
            self.assertEqual(top.end(), (0, True))

    def test_every_size(self):
        with self.processes("alpha"):
            top = self.top()
            top.wait_for("alpha", "THREADS")
            for columns, rows in ((30, 8), (12, 3), (1, 1), (200, 60), (3, 2), (80, 24)):
                top.resize(columns, rows)
                time.sleep(0.3)
                top.read()
                self.assertIsNone(top.process.poll(), (columns, rows))
            top.wait_for("alpha", "q quit")
            top.resize(40, 6)
            text = top.wait_for("alpha", "PID", "INCIDENTS PROCESS")
            self.assertNotIn("THREADS", text)
            top.type("q")
            self.assertEqual(top.end(), (0, True))
            # From the start in a terminal that says nothing of its size, or next to none.
            for columns, rows in ((0, 0), (1, 1), (20, 1)):
                top = self.top(columns=max(columns, 1), rows=max(rows, 1))
                time.sleep(0.3)
                top.read()
                self.assertIsNone(top.process.poll(), (columns, rows))
                top.type("q")
                self.assertEqual(top.end(), (0, True), (columns, rows))

    def test_names_cannot_steer_the_terminal(self):
        with self.processes(HOSTILE):
            top = self.top()
            text = top.wait_for("hakmem top  1 process", "[2J", "root")
            self.assertEqual(top.screen.title, "")
            self.assertEqual(len([line for line in text.splitlines() if "root" in line]), 1)
            self.assertNotIn(b"\x1b[2J\x1b]0;", top.raw)
            self.assertNotIn("\u009b".encode(), top.raw)
            self.assertNotIn("\u202e".encode(), top.raw)
            top.type(ENTER)
            top.wait_for("pid")
            self.assertNotIn(b"\x1b]0;", top.raw)
            top.type("qq")
            self.assertEqual(top.end(), (0, True))

    def test_a_terminal_without_utf8(self):
        with self.processes("na\u00efve"):
            top = self.top(LANG="C")
            top.wait_for("na??ve")
            top.type("q")
            self.assertEqual(top.end(), (0, True))


class Pipe(TerminalTest):
    """Where the output is no terminal."""

    def test_top_prints_a_table(self):
        watched = self.watch(ORDER_SERVICE, "10000000", "3")
        with harness.running(watched.pop("argv"), **watched) as process:
            harness.wait_until(lambda: list(self.runtime_dir.glob("*.hakmem")), "the segment is there")
            for arguments in ([], ["--once"]):
                result = self.hakmem("top", "--runtime-dir", self.runtime_dir, "--interval", "0.3", *arguments)
                self.assertEqual((result.status, result.err), (0, ""))
                head, line = result.out.splitlines()
                self.assertEqual(head.split()[0], "PID")
                self.assertEqual((line.split()[0], line.split()[-1]), (str(process.pid), "order_service"))
                self.assertNotIn("\x1b", result.out)
            rows = json.loads(self.hakmem("top", "--runtime-dir", self.runtime_dir, "--json", "--interval", "0.3").out)
            self.assertEqual([(row["pid"], row["process"], row["alive"]) for row in rows],
                             [(process.pid, "order_service", True)])
            self.assertGreater(rows[0]["allocations_per_second"], 0)
            self.assertEqual(json.loads(self.hakmem("top", "--runtime-dir", self.runtime_dir, "--json", "--interval", "0.1",
                                                    "--filter", "nothing").out), [])

    def test_wrong_use(self):
        for arguments in (["--interval", "0"], ["--interval", "x"], ["--sort", "nothing"], ["x"]):
            self.assertEqual(self.hakmem("top", *arguments).status, 2, arguments)
        self.assertEqual(self.hakmem("top", "--once", "--runtime-dir", self.directory / "none").status, 125)

    def test_ps(self):
        """Nobody there is said; and what a process left behind when it became another program is no process that ended."""
        self.runtime_dir.mkdir(mode=0o700)
        empty = self.hakmem("ps", "--runtime-dir", self.runtime_dir)
        self.assertEqual((empty.status, empty.out), (0, ""))
        self.assertIn(f"no watched process in {self.runtime_dir}", empty.err)
        watched = self.watch("/usr/bin/env", DOUBLE_FREE, "immediate", "24")
        subprocess.run(watched.pop("argv"), **watched, check=True, timeout=60)
        states = [line.split()[1] for line in self.hakmem("ps", "--runtime-dir", self.runtime_dir).out.splitlines()]
        self.assertEqual(sorted(states), ["STATE", "ended", "replaced"])

    def test_names_are_text(self):
        watched = self.watch(DOUBLE_FREE, "immediate", "24", name=HOSTILE)
        subprocess.run(watched.pop("argv"), **watched, check=True, timeout=60)
        store = self.directory / "incidents.db"
        with harness.Exporter(self.runtime_dir, store, self.directory) as exporter:
            incident = harness.wait_until(exporter.incidents, "the incident is in the store")[0]
        for arguments in (["ps", "--runtime-dir", self.runtime_dir], ["incidents", "list", "--store", store],
                          ["incidents", "show", incident["id"], "--store", store],
                          ["top", "--once", "--interval", "0.1", "--runtime-dir", self.runtime_dir],
                          ["inspect", next(self.runtime_dir.glob("*.hakmem"))]):
            with self.subTest(arguments[0]):
                result = self.hakmem(*arguments)
                self.assertEqual(result.status, 0, result)
                self.assertIn("[2J", result.out)
                for bad in ("\x1b", "\x07", "\r", "\u009b", "\u202e", "\nroot"):
                    self.assertNotIn(bad, result.out)
            if arguments[0] != "inspect":
                as_json = self.hakmem(*arguments, "--json")
                json.loads(as_json.out)
                self.assertNotIn("\x1b", as_json.out)


@unittest.skipIf(pyte is None, "not installed: python3-pyte")
class Report(TerminalTest):
    def setUp(self):
        super().setUp()
        watched = self.watch(DOUBLE_FREE, "immediate", "24")
        subprocess.run(watched.pop("argv"), **watched, check=True, timeout=60)
        self.store = self.directory / "incidents.db"
        with harness.Exporter(self.runtime_dir, self.store, self.directory) as exporter:
            self.id = harness.wait_until(exporter.incidents, "the incident is in the store")[0]["id"]

    def show(self, **environment):
        terminal = self.terminal("incidents", "show", self.id, "--store", self.store, columns=300, rows=80, **environment)
        self.assertEqual(terminal.end(), (0, True))
        return terminal.raw.decode().replace("\r\n", "\n")

    def test_colour(self):
        plain = self.hakmem("incidents", "show", self.id, "--store", self.store).out
        self.assertRegex(plain, r"(?s)^={65}\n==\d+==ERROR: hakmem: double_free on address 0x[0-9a-f]+ in thread \d+ "
                                r".*\nFreed again here:\n    #0 .* in .*double_free\.c:\d+.*"
                                r"\nSUMMARY: hakmem: double_free .*double_free\.c:\d+\n==\d+==END OF INCIDENT\n$")
        self.assertNotIn("\x1b", plain)
        self.assertIn("\x1b[1;31mERROR: hakmem: double_free", self.show())
        self.assertEqual(self.show(NO_COLOR="1"), plain)
        self.assertEqual(self.show(TERM="dumb"), plain)


if __name__ == "__main__":
    harness.main()
