"""What the tests of a fleet share: a PostgreSQL server of their own, incidents that happen, what arrived."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

import harness

STORM = harness.BUILD / "tests" / "bugs" / "double_free"


def postgres_program(name):
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found[-1] if found else None


class Postgres:
    """A server on a free port, in a folder of its own, that may be stopped, killed and started again."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.port = harness.free_port()
        self.process = None
        self.folder.mkdir(parents=True, exist_ok=True)
        # The server refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            for part in [self.folder, *self.folder.parents]:
                if part == pathlib.Path("/tmp") or part == pathlib.Path("/"):
                    break
                part.chmod(0o755)
            shutil.chown(self.folder, self.user, self.user)
        self.run("initdb", "-D", self.data, "-U", "hakmem", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        self.url = f"postgresql://hakmem@127.0.0.1:{self.port}/postgres"

    def identity(self):
        return {"user": self.user, "group": self.user} if os.geteuid() == 0 else {}

    def run(self, program, *arguments):
        done = subprocess.run([postgres_program(program), *map(str, arguments)], cwd="/", capture_output=True, text=True,
                              timeout=120, **self.identity())
        if done.returncode != 0:
            raise AssertionError(f"{program}: {done.stdout}{done.stderr}")

    def start(self, *settings):
        self.log = open(self.folder / "log", "a")
        self.process = subprocess.Popen(
            [postgres_program("postgres"), "-D", self.data, "-p", str(self.port), "-k", self.folder, "-h", "127.0.0.1",
             *(part for setting in settings for part in ("-c", setting))],
            cwd="/", stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True, **self.identity())
        harness.wait_until(self.answers, f"PostgreSQL answers: {(self.folder / 'log').read_text()[-2000:]}")
        return self

    def answers(self):
        return subprocess.run([postgres_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "hakmem"],
                              timeout=30).returncode == 0

    def stop(self):
        self.end(signal.SIGINT)  # "fast": clients are sent away

    def kill(self):
        """All of its processes, with no time to tidy up."""
        self.end(signal.SIGKILL)

    def end(self, number):
        if self.process is None or self.process.poll() is not None:
            return
        if number == signal.SIGKILL:
            # Each of its processes has a session of its own.
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self.process.kill()
            for child in map(int, children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)
            harness.wait_until(lambda: not any(pathlib.Path(f"/proc/{child}").exists() for child in children), "all are gone")
        else:
            self.process.send_signal(number)
        self.process.wait(timeout=60)
        self.log.close()

    def sql(self, query):
        """Rows of text fields."""
        done = subprocess.run(["psql", "-X", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-c", query, self.url],
                              capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return [line.split("\x1f") for line in done.stdout.splitlines()]

    def number(self, query):
        return int(self.sql(query)[0][0])


# What the tables of sums have to be: what the incidents say.
SUMS = {
    "sighting": ("fingerprint, process, build_id, hosts, records, count, last_ns",
                 "SELECT fingerprint, process, build_id, count(*), sum(records), sum(count), max(last_ns) FROM hakmem.incident"
                 " GROUP BY 1, 2, 3"),
    "bug": ("fingerprint, whole, process, kind, hosts, records, count, last_ns",
            "SELECT fingerprint, whole, CASE WHEN whole THEN '' ELSE process END, min(kind), count(DISTINCT host_id),"
            " sum(records), sum(count), max(last_ns) FROM hakmem.incident, (VALUES (false), (true)) AS parts (whole)"
            " GROUP BY 1, 2, 3"),
}


def wrong_sums(server):
    """Rows of the sums that are not what the incidents say."""
    wrong = []
    for table, (columns, expected) in SUMS.items():
        had = f"SELECT {columns} FROM hakmem.{table}"
        for one, other in ((had, expected), (expected, had)):
            wrong += [(table, *row) for row in server.sql(f"({one}) EXCEPT ({other})")]
    return wrong


def certificates(folder, name="localhost", address="127.0.0.1"):
    """A certificate authority and a server's certificate that it vouches for: files (ca, certificate, key)."""
    folder.mkdir()
    ca, ca_key, certificate, key, request = (folder / f"{part}.pem" for part in ("ca", "ca-key", "server", "server-key", "request"))
    names = folder / "names"
    names.write_text(f"subjectAltName=DNS:{name},IP:{address}\n")
    for command in (["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hakmem test CA",
                     "-keyout", ca_key, "-out", ca],
                    ["req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request],
                    ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
                     "-extfile", names, "-out", certificate]):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=60)
    return ca, certificate, key


@contextlib.contextmanager
def small_disk(folder, size):
    """A tmpfs, for a disk that is full soon. Needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        for _ in range(50):
            if subprocess.run(["umount", folder], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)


def can_mount():
    if os.geteuid() != 0:
        return False
    probe = pathlib.Path("/tmp") / f"hakmem-mount-{os.getpid()}"
    try:
        with small_disk(probe, "1m"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.rmdir()


def resident_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")
