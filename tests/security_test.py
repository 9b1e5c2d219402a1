"""What docs/threat-model.md says of the web server, of segments that others plant, and of set-user-ID programs."""

import base64
import contextlib
import http.client
import json
import os
import re
import resource
import select
import shutil
import socket
import ssl
import stat
import struct
import subprocess
import threading
import time
import unittest
import urllib.parse

import harness
from harness import need

DOUBLE_FREE = [harness.BUILD / "tests" / "bugs" / "double_free", "immediate", "24"]


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


class WebServer(harness.HakmemTest):
    def setUp(self):
        super().setUp()
        self.runtime = self.new_directory()
        self.runtime.chmod(0o700)

    def serve(self, *arguments):
        exporter = harness.Exporter(self.runtime, self.directory / "incidents.db", self.new_directory(), *arguments)
        self.addCleanup(exporter.stop)
        host, _, port = urllib.parse.urlsplit(exporter.url).netloc.rpartition(":")
        self.address = (host, int(port))
        return exporter

    def connect(self, stack):
        return stack.enter_context(socket.create_connection(self.address, timeout=60))

    def test_binds_to_loopback_by_default(self):
        """In a network of its own, so that the usual port is free."""
        done = subprocess.run(["unshare", "-n", "bash", "-euc", 'ip link set lo up; "$0" exporter --runtime-dir "$1" --store "$2" & '
                               "trap 'kill $!; wait' EXIT; for i in $(seq 100); do ss -ltnH | grep -q : && break; sleep 0.05; done; ss -ltnH",
                               harness.COMMAND, self.runtime, self.directory / "db"],
                              capture_output=True, text=True, timeout=60, env=harness.clean_environment(self.directory))
        if "Operation not permitted" in done.stderr:
            self.skipTest("no network of its own here")
        self.assertEqual([line.split()[3] for line in done.stdout.splitlines()], ["127.0.0.1:9765"], done.stderr)

    def test_slow_clients(self):
        """Clients that never end their request do not keep others from being served, nor the server from ending."""
        exporter = self.serve()
        with contextlib.ExitStack() as stack:
            slow = [self.connect(stack) for _ in range(200)]
            for i in range(3):
                for connection in slow:
                    with contextlib.suppress(ConnectionError):  # dropped already
                        connection.send(b"GET /metrics HTTP/1.1\r\n"[i * 4:i * 4 + 4])
                started = time.monotonic()
                exporter.metrics()
                self.assertLess(time.monotonic() - started, 5)
            self.assertEqual(exporter.stop(), 0)

    def test_silent_connections(self):
        """More connections than the server has room for, which say nothing: they are dropped, and others come through."""
        exporter = self.serve()
        exporter.metrics()
        before = resident_bytes(exporter.process.pid)
        with contextlib.ExitStack() as stack:
            for _ in range(1000):
                self.connect(stack)
            started = time.monotonic()
            exporter.metrics()
            print(f"  served behind 1,000 silent connections after {time.monotonic() - started:.1f} s")
            self.assertLess(resident_bytes(exporter.process.pid) - before, 100 << 20)
        exporter.metrics()
        self.assertIsNone(exporter.process.poll())

    def test_no_room_for_a_thread(self):
        """Clients are served one by one then, with a word in the log."""
        exporter = self.serve()
        exporter.metrics()
        with open(f"/proc/{exporter.process.pid}/status") as status:
            mapped = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmSize:"))
        # Less than a thread's stack.
        resource.prlimit(exporter.process.pid, resource.RLIMIT_AS, (mapped + (6 << 20), resource.RLIM_INFINITY))
        with contextlib.ExitStack() as stack:
            for _ in range(20):  # stacks of threads that have ended are used first
                self.connect(stack)
        self.assertIn("hakmem_build_info{", exporter.get("/metrics"))
        self.assertIsNone(exporter.process.poll())
        exporter.stop()
        self.assertIn("no thread for a client", exporter.log())

    def test_dripping_clients_have_all_places(self):
        """More clients than there are places, each of which always sends one more byte: others come through all the same."""
        exporter = self.serve()
        with contextlib.ExitStack() as stack:
            slow = []
            ended = threading.Event()

            def drip():
                while not ended.wait(0.5):
                    for connection in list(slow):
                        with contextlib.suppress(ConnectionError):  # dropped already
                            connection.send(b"x")

            dripping = threading.Thread(target=drip)
            dripping.start()
            try:
                while len(slow) < 300:
                    connection = self.connect(stack)
                    connection.send(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
                    slow.append(connection)
                for _ in range(5):
                    started = time.monotonic()
                    exporter.metrics()
                    self.assertLess(time.monotonic() - started, 5)
            finally:
                ended.set()
                dripping.join()

    def test_a_request_has_a_time(self):
        """A client with a byte a second, which nobody waits behind: it is dropped all the same. One that reads slowly what
        it asked for gets all of it."""
        exporter = self.serve()
        with contextlib.ExitStack() as stack:
            slow = self.connect(stack)
            reader = self.connect(stack)
            reader.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            started = time.monotonic()
            slow.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
            with self.assertRaises(ConnectionError):
                while time.monotonic() - started < 30:
                    slow.send(b"x")
                    answer += reader.recv(4096)
                    if select.select([slow], [], [], 1)[0] and slow.recv(1000) == b"":
                        raise ConnectionError
            self.assertGreater(time.monotonic() - started, 5)
            reader.settimeout(10)
            while more := reader.recv(1 << 20):
                answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head)
        self.assertEqual(len(body), int(re.search(rb"Content-Length: (\d+)", head)[1]))
        exporter.metrics()

    def test_storm_of_garbage(self):
        exporter = self.serve()
        for i in range(300):
            with contextlib.suppress(ConnectionError), socket.create_connection(self.address, timeout=60) as connection:
                connection.sendall(os.urandom(1 + i % 300) + b"\r\n\r\n")
                if i % 3 == 0:
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(100)
        exporter.metrics()

    @need("openssl")
    def test_tls_and_basic_auth(self):
        folder = self.new_directory()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key.pem", "-out",
                        folder / "cert.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"],
                       check=True, capture_output=True)
        # bcrypt of "right", at its least cost.
        (folder / "web.yml").write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
                                        "basic_auth_users: {somebody: $2b$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC}\n")
        log = open(folder / "log", "w+")
        self.addCleanup(log.close)
        with harness.running([harness.COMMAND, "exporter", "--listen", "127.0.0.1:0", "--runtime-dir", self.runtime, "--store",
                              self.directory / "db", "--web-config", folder / "web.yml"], stdout=log, stderr=log,
                             env=harness.clean_environment(folder)) as process:
            url = harness.wait_until(lambda: "https://" in (folder / "log").read_text() and
                                     (folder / "log").read_text().split("serving ")[1].split()[0], "it serves")
            netloc = urllib.parse.urlsplit(url).netloc
            trusting = ssl.create_default_context(cafile=folder / "cert.pem")

            def status(context, user=None, path="/metrics"):
                connection = http.client.HTTPSConnection(netloc, timeout=30, context=context)
                headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
                with contextlib.closing(connection):
                    connection.request("GET", path, headers=headers)
                    return connection.getresponse().status

            self.assertEqual(status(trusting, "somebody:right"), 200)
            self.assertEqual(status(trusting, "somebody:right"), 200)  # remembered
            for path in ("/metrics", "/", "/api/v1/incidents", "/debug/pprof/heap?pid=1", "/-/healthy"):
                for user in (None, "somebody:wrong", "nobody:right", "somebody:", ":", "somebody"):
                    self.assertEqual(status(trusting, user, path), 401, (path, user))
            with self.assertRaises(ssl.SSLCertVerificationError):
                status(ssl.create_default_context(), "somebody:right")
            # A client that speaks no TLS is no trouble.
            host, _, port = netloc.rpartition(":")
            with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), timeout=60) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                self.assertNotIn(b"200", plain.recv(100))
            self.assertEqual(status(trusting, "somebody:right"), 200)
            self.assertIsNone(process.poll())


class PlantedSegments(harness.HakmemTest):
    """What lies in the runtime dir and is no segment of the user's own."""

    def setUp(self):
        super().setUp()
        good = self.preload(DOUBLE_FREE)
        self.runtime = good.runtime_dir
        self.segment, = self.runtime.glob("*.hakmem")

    def test_exporter_is_not_held_up(self):
        content = self.segment.read_bytes()
        os.mkfifo(self.runtime / "3000001-1.hakmem")
        (self.runtime / "3000002-1.hakmem").symlink_to("/dev/zero")
        (self.runtime / "3000003-1.hakmem").symlink_to(self.segment)
        (self.runtime / "3000004-1.hakmem").mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.runtime / "3000005-1.hakmem"))
        # A terabyte, and as much as is let in, with tables as large as they say they are: magic, version, two sizes.
        for number, size in ((6, 1 << 40), (7, 1 << 30)):
            path = self.runtime / f"300000{number}-1.hakmem"
            path.write_bytes(content[:16] + struct.pack("<Q", size) + content[24:])
            os.truncate(path, size)
        if os.geteuid() == 0:
            foreign = self.runtime / "3000008-1.hakmem"
            foreign.write_bytes(content)
            os.chown(foreign, 65534, 65534)
        with self.exporter(harness.Result(subprocess.CompletedProcess([], 0, "", ""), self.runtime, self.directory / "db")) as exporter:
            started = time.monotonic()
            metrics = exporter.metrics()
            self.assertLess(time.monotonic() - started, 10)
            self.assertGreaterEqual(metrics.total("hakmem_exporter_segment_errors_total"), 4)
            processes = {process["pid"] for process in json.loads(exporter.get("/api/v1/processes"))}
            self.assertFalse(processes & set(range(3000001, 3000007)), processes)
            self.assertGreaterEqual(metrics.total("hakmem_incidents_total", kind="double_free"), 1)
            self.assertLess(resident_bytes(exporter.process.pid), 300 << 20)


@unittest.skipUnless(os.geteuid() == 0, "needs root: it makes a set-user-ID program")
@need("gcc", "setpriv")
class SetUserId(harness.HakmemTest):
    """Linked rather than preloaded, as the loader would drop a preload itself: the same library, in secure mode."""

    def test_telemetry_and_options_are_off(self):
        self.directory.chmod(0o755)
        runtime = self.directory / "runtime"
        runtime.mkdir()
        runtime.chmod(0o777)
        shutil.copy(harness.LIBRARIES["diag"], self.directory)
        source = self.directory / "twice.c"
        source.write_text("#include <stdlib.h>\n#include <stdio.h>\n#include <sys/auxv.h>\n"
                          "int main(void) { void *volatile p = malloc(24); free(p); free(p); printf(\"%lu\\n\", getauxval(AT_SECURE)); }\n")
        program = self.directory / "twice"
        subprocess.run(["gcc", "-w", "-fno-builtin", source, "-o", program, f"-L{self.directory}", "-l:libhakmem-diag.so",
                        f"-Wl,-rpath,{self.directory}"], check=True)
        environment = harness.clean_environment(self.directory) | {
            "HAKMEM_OPTIONS": f"runtime_dir={runtime}:report=stderr:on_error=abort", "HAKMEM_RUNTIME_DIR": str(runtime),
            "XDG_RUNTIME_DIR": str(runtime)}

        def run():
            return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program], env=environment,
                                  capture_output=True, text=True, timeout=60)

        ordinary = run()
        self.assertEqual(ordinary.returncode, -6, ordinary)
        self.assertIn("double_free", ordinary.stderr)
        files = set(runtime.iterdir())
        self.assertEqual(len(files), 1)
        program.chmod(0o4755)
        secure = run()
        self.assertEqual((secure.returncode, secure.stdout, secure.stderr), (0, "1\n", ""))
        self.assertEqual(set(runtime.iterdir()), files)
        self.assertEqual(stat.S_IMODE(next(iter(files)).stat().st_mode), 0o600)


if __name__ == "__main__":
    harness.main()
