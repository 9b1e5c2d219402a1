"""Incidents on their way to a fleet's PostgreSQL and to a collector of logs: nothing is lost and nothing counts twice,
while the other end is away, is slow, is killed, has no room left, or while the exporter itself is killed."""

import base64
import collections
import gzip
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest

import fleet_harness
import harness
from harness import need

MAKE_STORE = harness.BUILD / "tests" / "programs" / "make_store"
DOUBLE_FREE = harness.BUILD / "tests" / "bugs" / "double_free"
GROWTH_KIB = 64 * 1024  # more than this an exporter may not grow while it delivers


class SinkTest(harness.HakmemTest):
    def setUp(self):
        super().setUp()
        self.store = self.directory / "incidents.db"
        self.runtime_dir = self.directory / "runtime"
        self.runtime_dir.mkdir(mode=0o700)

    def happen(self, incidents, fingerprints=50):
        """The store has as many made-up incidents now."""
        subprocess.run([MAKE_STORE, self.store, str(incidents), str(fingerprints)], check=True, timeout=120)

    def exporter(self, *arguments, host="here", **environment):
        exporter = Exporter(self.runtime_dir, self.store, self.new_directory(), environment, "--host", host, *arguments)
        self.addCleanup(exporter.stop)
        return exporter

    def stored(self):
        """What the store has: count by incident id."""
        with sqlite3.connect(self.store) as db:
            return dict(db.execute("SELECT id, count FROM incidents"))

    def raise_counts(self, by):
        with sqlite3.connect(self.store, timeout=30) as db:
            db.execute("UPDATE incidents SET count = count + ?, json = json_set(json, '$.count', count + ?)", (by, by))


class Exporter(harness.Exporter):
    """`hakmem exporter` with an environment of its own."""

    def __init__(self, runtime_dir, store, directory, environment, *arguments):
        self._log = open(directory / "exporter.log", "w+")
        self.process = subprocess.Popen(
            [harness.COMMAND, "exporter", "--listen", "127.0.0.1:0", "--runtime-dir", runtime_dir, "--store", store,
             *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env=harness.clean_environment(directory, **environment))
        self.url = harness.served_at(self.process, self.log)

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=30)


@unittest.skipUnless(fleet_harness.postgres_program("postgres"), "not installed: postgresql")
class PostgresTest(SinkTest):
    def setUp(self):
        super().setUp()
        self.server = fleet_harness.Postgres(self.directory / "postgres")
        self.addCleanup(self.server.kill)

    def arrived(self):
        return {id: int(count) for id, count in self.server.sql("SELECT id, count FROM hakmem.record")}

    def await_all(self, timeout=120):
        expected = self.stored()
        self.assertTrue(expected)

        def complete():
            try:
                return self.arrived() == expected
            except AssertionError:  # the schema is not there yet, or the server
                return False

        harness.wait_until(complete, "everything has arrived", timeout)
        self.assert_sums(expected)

    def assert_sums(self, expected):
        """Each count is in every sum exactly once, and there is one row for each host, process, fingerprint and build."""
        with sqlite3.connect(self.store) as db:
            groups = db.execute("SELECT process, fingerprint, count(*), sum(count), min(first_ns), max(last_ns)"
                                " FROM incidents GROUP BY 1, 2 ORDER BY 2, 1").fetchall()
        for table in ("incident", "sighting"):
            rows = self.server.sql("SELECT process, fingerprint, records, count, first_ns, last_ns"
                                   f" FROM hakmem.{table} ORDER BY 2, 1")
            self.assertEqual([(process, print_, *map(int, numbers)) for process, print_, *numbers in rows], groups, table)
        self.assertEqual(self.server.number("SELECT sum(count) FROM hakmem.sighting"), sum(expected.values()))
        self.assertEqual(fleet_harness.wrong_sums(self.server), [])


@need("psql")
class Postgres(PostgresTest):
    def test_a_real_incident(self):
        """From a program's double free to a row in the database, with its symbols and its build."""
        self.server.start()
        self.exporter("--sink", self.server.url)
        environment = harness.clean_environment(self.directory) | self.preload_environment(self.runtime_dir)
        subprocess.run([DOUBLE_FREE, "immediate", "24"], env=environment, check=True, capture_output=True, timeout=60)
        harness.wait_until(lambda: self.store.exists() and self.stored(), "the incident is in the store")
        self.await_all()
        host, process, kind, build, module, site = self.server.sql(
            "SELECT host.name, process, kind, build_id, module, site FROM hakmem.incident JOIN hakmem.host"
            " ON host.id = host_id")[0]
        self.assertEqual((host, process, kind, module), ("here", "double_free", "double_free", "double_free"))
        self.assertRegex(build, "^[0-9a-f]{40}$")
        self.assertIn("double_free.c:", site)
        read = subprocess.run(["readelf", "-n", DOUBLE_FREE], capture_output=True, text=True)
        if read.returncode == 0:
            self.assertIn(build, read.stdout)

    def test_raised_counts_and_replays(self):
        self.server.start()
        self.happen(700)
        with self.exporter("--sink", self.server.url):
            self.await_all()
            self.raise_counts(5)
            self.await_all()
        with sqlite3.connect(self.store) as db:  # as if the cursor had never been stored
            db.execute("UPDATE sinks SET cursor = 0")
        before = self.server.sql("SELECT xmin, key FROM hakmem.incident ORDER BY key")
        with self.exporter("--sink", self.server.url) as exporter:
            self.happen(701)
            self.await_all()
            harness.wait_until(lambda: exporter.metrics().total("hakmem_exporter_sink_backlog") == 0, "it says so")
            self.assertGreaterEqual(exporter.metrics().total("hakmem_exporter_sink_delivered_total"), 701)
            self.assertEqual(exporter.metrics().total("hakmem_exporter_sink_rejected_total"), 0)
        after = self.server.sql("SELECT xmin, key FROM hakmem.incident ORDER BY key")
        self.assertLessEqual(len(set(map(tuple, after)) - set(map(tuple, before))), 1, "a replay writes nothing")

    def test_two_hosts_at_once(self):
        self.server.start()
        self.happen(400)
        second = self.directory / "second.db"
        shutil.copy(self.store, second)  # equal incidents on another host: none of them is the same one
        self.exporter("--sink", self.server.url, host="one")
        other = Exporter(self.runtime_dir, second, self.new_directory(), {}, "--host", "two", "--sink", self.server.url)
        self.addCleanup(other.stop)
        harness.wait_until(lambda: self.tables() and self.server.number("SELECT count(*) FROM hakmem.record") == 800, "all")
        self.assertEqual(self.server.number("SELECT sum(count) FROM hakmem.sighting"), 2 * sum(self.stored().values()))
        self.assertEqual(self.server.sql("SELECT DISTINCT hosts FROM hakmem.sighting"), [["2"]])
        self.assertEqual(fleet_harness.wrong_sums(self.server), [])

    def tables(self):
        return self.server.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'hakmem' AND tablename = 'sighting'")

    def test_away_at_first_then_killed_again_and_again(self):
        self.happen(100)
        exporter = self.exporter("--sink", self.server.url)
        harness.wait_until(lambda: exporter.metrics().total("hakmem_exporter_sink_failures_total") >= 2, "it fails")
        self.assertEqual(exporter.metrics().total("hakmem_exporter_sink_backlog"), 100)
        self.server.start("fsync=on")
        for total in (2_000, 4_000, 6_000):
            self.happen(total)
            time.sleep(random.uniform(0.1, 1.0))
            self.server.kill()
            self.server.start("fsync=on")
        self.await_all()
        self.assertNotIn("will never be taken", exporter.log())

    def test_exporter_killed_again_and_again(self):
        self.server.start()
        for total in range(1_000, 7_000, 1_000):
            self.happen(total)
            exporter = self.exporter("--sink", self.server.url)
            time.sleep(random.uniform(0.0, 0.8))
            exporter.kill()
        self.exporter("--sink", self.server.url)
        self.await_all()

    def test_frozen_server_holds_nobody_up(self):
        """A server that is there and says nothing: the exporter goes on serving, and ends when it is told to."""
        self.server.start()
        self.happen(300)
        os.killpg(self.server.process.pid, signal.SIGSTOP)
        try:
            exporter = self.exporter("--sink", self.server.url)
            self.assertEqual(exporter.metrics().total("hakmem_exporter_sink_backlog"), 300)
            self.assertEqual(len(exporter.incidents()), 300)
            self.assertEqual(exporter.stop(), 0)
        finally:
            os.killpg(self.server.process.pid, signal.SIGCONT)
        self.exporter("--sink", self.server.url)
        self.await_all()

    def test_database_restored_from_a_backup(self):
        """The database has lost what it had: it gets it again."""
        self.server.start()
        self.happen(300)
        with self.exporter("--sink", self.server.url):
            self.await_all()
            self.server.sql("DROP SCHEMA hakmem CASCADE")
            self.happen(301)
            self.await_all()

    def test_one_bad_incident_holds_nobody_up(self):
        """Text that PostgreSQL cannot have: it is said, and the others arrive."""
        self.server.start()
        self.happen(40, 5)
        expected = self.stored()
        with sqlite3.connect(self.store) as db:
            bad, = db.execute("SELECT id FROM incidents ORDER BY change LIMIT 1 OFFSET 17").fetchone()
            db.execute("UPDATE incidents SET json = replace(json, '\"thread\":\"', '\"thread\":\"\\u0000') WHERE id = ?", (bad,))
        del expected[bad]
        with self.exporter("--sink", self.server.url) as exporter:
            harness.wait_until(lambda: exporter.metrics().total("hakmem_exporter_sink_rejected_total") == 1, "one is refused")
            harness.wait_until(lambda: exporter.metrics().total("hakmem_exporter_sink_backlog") == 0, "the others arrive")
            self.happen(41, 5)
            expected = self.stored()
            del expected[bad]
            harness.wait_until(lambda: self.arrived() == expected, "and those behind")
            self.assertEqual(exporter.metrics().total("hakmem_exporter_sink_rejected_total"), 1)

    @need("openssl")
    def test_tls(self):
        """The server is known by its certificate, or it gets nothing."""
        ca, certificate, key = fleet_harness.certificates(self.directory / "right")
        other_ca, *_ = fleet_harness.certificates(self.directory / "other")
        for path in (certificate, key):
            shutil.chown(path, self.server.user)
        key.chmod(0o600)
        self.server.start("ssl=on", f"ssl_cert_file={certificate}", f"ssl_key_file={key}")
        # Nobody without TLS.
        (self.server.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\nlocal all all trust\n")
        self.server.sql("SELECT pg_reload_conf()")
        self.happen(20, 5)
        verified = f"{self.server.url}?sslmode=verify-full&sslrootcert="
        for url, said in ((f"{verified}{other_ca}", "certificate verify failed"),
                          (f"{self.server.url}?sslmode=disable", "no encryption"),
                          (f"{verified}{ca}&hostaddr=127.0.0.1".replace("@127.0.0.1", "@elsewhere.test"), "elsewhere.test")):
            with self.exporter("--sink", url) as exporter:
                harness.wait_until(lambda: exporter.metrics().total("hakmem_exporter_sink_failures_total") >= 1, "it is refused")
                self.assertIn(said, exporter.log())
        self.assertEqual(self.server.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'hakmem'"), 0)
        with self.exporter("--sink", f"{verified}{ca}"):
            self.await_all()
        # And the page reads by it.
        with harness.Exporter(self.runtime_dir, f"{verified}{ca}", self.new_directory()) as exporter:
            self.assertEqual(len(json.loads(exporter.get("/api/v1/groups"))["groups"]), 5)

    def test_a_schema_of_the_first_step(self):
        """What is there already is in the sums that a later step brought."""
        self.server.start()
        self.happen(600)
        with self.exporter("--sink", self.server.url):
            self.await_all()
        self.server.sql("DROP TABLE hakmem.bug; DELETE FROM hakmem.migration WHERE version > 1;"
                        + "".join(f"DROP INDEX hakmem.incident_by_{by};" for by in ("bug", "process", "kind", "build")))
        self.happen(650)
        with self.exporter("--sink", self.server.url):
            self.await_all()

    def test_memory_is_bounded(self):
        self.server.start()
        exporter = self.exporter("--sink", self.server.url)
        exporter.metrics()
        before = fleet_harness.resident_kib(exporter.process.pid)
        self.happen(10_000)
        self.await_all()
        self.assertLess(fleet_harness.resident_kib(exporter.process.pid) - before, GROWTH_KIB)

    def test_older_exporters_go_on_beside_a_newer_schema(self):
        self.server.start()
        self.happen(10)
        with self.exporter("--sink", self.server.url):
            self.await_all()
        self.server.sql("INSERT INTO hakmem.migration VALUES (99, 1)")
        self.happen(20)
        with self.exporter("--sink", self.server.url):
            self.await_all()
        self.server.sql("UPDATE hakmem.migration SET compatible_from = 99 WHERE version = 99")
        self.happen(30)
        with self.exporter("--sink", self.server.url) as exporter:
            harness.wait_until(lambda: "newer hakmem" in exporter.log(), "it says why")


@need("psql")
@unittest.skipUnless(fleet_harness.can_mount(), "a tmpfs cannot be mounted here")
class FullDisk(PostgresTest):
    def test_database_has_no_room(self):
        self.server.start()
        with fleet_harness.small_disk(self.server.folder / "small", "24m") as disk:
            shutil.chown(disk, self.server.user, self.server.user)
            self.server.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
            self.server.sql("ALTER DATABASE postgres SET default_tablespace = small")
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(22 * 1024 * 1024 + 512 * 1024))
            self.happen(6_000)
            exporter = self.exporter("--sink", self.server.url)
            harness.wait_until(lambda: "o space left" in exporter.log() or "could not extend" in exporter.log(), "no room")
            ballast.unlink()
            self.await_all()
            exporter.stop()
            self.server.kill()

    def test_the_store_has_no_room(self):
        """The incidents stay in the segments until the store takes them."""
        self.server.start()
        with fleet_harness.small_disk(self.directory / "small", "1m") as disk:
            self.store = disk / "incidents.db"
            exporter = self.exporter("--sink", self.server.url)
            ballast = disk / "ballast"
            with self.assertRaises(OSError):
                ballast.write_bytes(bytes(1024 * 1024))
            environment = harness.clean_environment(self.directory) | self.preload_environment(self.runtime_dir)
            for _ in range(5):
                subprocess.run([DOUBLE_FREE, "immediate", "24"], env=environment, check=True, capture_output=True, timeout=60)
            harness.wait_until(lambda: "full" in exporter.log(), "the store says that it is full")
            ballast.unlink()
            harness.wait_until(lambda: len(self.stored()) == 5, "the store has all")
            self.await_all()
            exporter.stop()


class Receiver(http.server.ThreadingHTTPServer):
    """A receiver of OTLP over HTTP that keeps what it is sent and answers what it is told to."""

    def __init__(self, certificate=None):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.requests = []
        self.answers = []  # statuses for the next requests; then 200
        self.delay = 0
        self.url = f"otlp+{'https' if certificate else 'http'}://127.0.0.1:{self.server_address[1]}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(self.server.delay)
            status = self.server.answers.pop(0) if self.server.answers else 200
            if status == 200:
                self.server.requests.append((self.path, dict(self.headers), body))
            if status == "drop":  # taken, but the answer is lost
                self.server.requests.append((self.path, dict(self.headers), body))
                self.close_connection = True
                return
            self.send_response(status)
            if status in (429, 503):
                self.send_header("Retry-After", "1")
            self.send_header("Content-Type", self.headers["Content-Type"])
            answer = b"{}" if status == 200 and "json" in self.headers["Content-Type"] else b""
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def handle(self):
            try:
                super().handle()
            except (OSError, ssl.SSLError):  # the other end is gone
                pass

        def log_message(self, *_):
            pass

    def handle_error(self, *_):
        pass

    def close(self):
        self.shutdown()
        self.server_close()


@need("node", "npm")
class Otlp(SinkTest):
    def receiver(self, **settings):
        receiver = Receiver(**settings)
        self.addCleanup(receiver.close)
        return receiver

    def decode(self, requests):
        """The records of all requests, by OpenTelemetry's own JavaScript."""
        folder = self.new_directory()
        for number, (_, headers, body) in enumerate(requests):
            kind = "json" if headers["Content-Type"] == "application/json" else "pb"
            if headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            (folder / f"{number:06}.{kind}").write_bytes(body)
        decoded = subprocess.run(["node", harness.SOURCE / "tests" / "otlp" / "decode.mjs", folder, harness.BUILD / "tests"],
                                 capture_output=True, text=True, timeout=harness.TIMEOUT)
        self.assertEqual(decoded.returncode, 0, decoded.stderr)
        return [json.loads(line) for line in decoded.stdout.splitlines()]

    def await_all(self, receiver):
        """Every incident has come with its last count, and no state of one comes with two contents."""
        expected = self.stored()
        harness.wait_until(lambda: self.backlog() == 0, "everything is delivered", 120)
        records = self.decode(list(receiver.requests))
        latest, contents = {}, collections.defaultdict(set)
        for record in records:
            attributes = record["attributes"]
            latest[attributes["hakmem.incident.id"]] = int(attributes["hakmem.incident.count"])
            contents[attributes["log.record.uid"]].add(attributes["hakmem.incident.json"])
        self.assertEqual(latest, expected)
        self.assertTrue(all(len(texts) == 1 for texts in contents.values()))
        return records

    def backlog(self):
        with sqlite3.connect(self.store) as db:
            return db.execute("SELECT count(*) FROM incidents WHERE change > (SELECT min(cursor) FROM sinks)").fetchone()[0]

    def test_protobuf(self):
        receiver = self.receiver()
        self.happen(120, 10)
        with self.exporter("--sink", receiver.url, host="web-7"):
            records = self.await_all(receiver)
        path, headers, _ = receiver.requests[0]
        self.assertEqual((path, headers["Content-Type"], headers["Content-Encoding"]),
                         ("/v1/logs", "application/x-protobuf", "gzip"))
        with sqlite3.connect(self.store) as db:
            rows = {row[0]: row for row in db.execute("SELECT id, process, kind, fingerprint, last_ns, json, site FROM incidents")}
        for record in records:
            attributes = record["attributes"]
            id, process, kind, fingerprint, last_ns, text, site = rows[attributes["hakmem.incident.id"]]
            self.assertEqual(record["resource"]["host.name"], "web-7")
            self.assertEqual(record["resource"]["service.name"], process)
            self.assertEqual(attributes["hakmem.incident.kind"], kind)
            self.assertEqual(attributes["hakmem.incident.fingerprint"], fingerprint)
            self.assertEqual(int(record["time"]), last_ns)
            self.assertEqual((record["severity"], record["scope"], record["event"]), (17, "hakmem", "hakmem.incident"))
            self.assertEqual(json.loads(attributes["hakmem.incident.json"]), json.loads(text))
            self.assertIn(site, record["body"])

    def test_json(self):
        receiver = self.receiver()
        self.happen(60, 10)
        with self.exporter("--sink", receiver.url + "/other/path?encoding=json&compression=none"):
            self.await_all(receiver)
        path, headers, body = receiver.requests[0]
        self.assertEqual((path, headers["Content-Type"]), ("/other/path", "application/json"))
        self.assertNotIn("Content-Encoding", headers)
        self.assertIn("timeUnixNano", body.decode())

    def test_refusals(self):
        """Overload, failures and a lost answer are tried again; nothing is lost."""
        receiver = self.receiver()
        receiver.answers = [503, 429, 500, "drop", 401, 404]
        self.happen(30, 5)
        with self.exporter("--sink", receiver.url) as exporter:
            self.await_all(receiver)
            # A request on a connection that the other end has closed is sent again at once, by libcurl.
            self.assertIn(exporter.metrics().total("hakmem_exporter_sink_failures_total"), (5, 6))
            self.assertEqual(exporter.metrics().total("hakmem_exporter_sink_rejected_total"), 0)

    def test_one_bad_incident_holds_nobody_up(self):
        receiver = self.receiver()
        self.happen(3, 3)
        receiver.answers = [400, 400, 200, 413, 200]  # of three: the first is never taken; the other two one by one
        with self.exporter("--sink", receiver.url) as exporter:
            harness.wait_until(lambda: self.backlog() == 0, "all is dealt with")
            harness.wait_until(lambda: exporter.metrics().total("hakmem_exporter_sink_delivered_total") == 2, "two are taken")
            self.assertEqual(exporter.metrics().total("hakmem_exporter_sink_rejected_total"), 1)

    def test_slow_and_killed_in_the_middle(self):
        receiver = self.receiver()
        receiver.delay = 0.3
        for total in (1_000, 2_000, 3_000):
            self.happen(total)
            exporter = self.exporter("--sink", receiver.url)
            time.sleep(random.uniform(0.1, 0.9))
            exporter.kill()
        receiver.delay = 0.05
        with self.exporter("--sink", receiver.url):
            self.await_all(receiver)

    def test_tls_and_headers(self):
        key, certificate = self.directory / "key.pem", self.directory / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True, timeout=60)
        receiver = self.receiver(certificate=(certificate, key))
        self.happen(10, 5)
        with self.exporter("--sink", receiver.url) as exporter:  # a certificate that nobody vouches for
            harness.wait_until(lambda: exporter.metrics().total("hakmem_exporter_sink_failures_total") >= 1, "it is refused")
        self.assertEqual(receiver.requests, [])
        url = receiver.url.replace("://", "://me:secret@")
        with self.exporter("--sink", url, OTEL_EXPORTER_OTLP_CERTIFICATE=certificate,
                           OTEL_EXPORTER_OTLP_HEADERS="x-tenant=my%20team") as exporter:
            self.await_all(receiver)
            self.assertNotIn("secret", exporter.log() + exporter.get("/metrics"))
        headers = receiver.requests[0][1]
        self.assertEqual(headers["x-tenant"], "my team")
        self.assertEqual(headers["Authorization"], "Basic " + base64.b64encode(b"me:secret").decode())


class Retention(SinkTest):
    def test_what_no_sink_has_got_yet_stays(self):
        self.happen(50, 5)
        with sqlite3.connect(self.store) as db:
            db.execute("UPDATE incidents SET last_ns = 1")
        receiver = Receiver()
        self.addCleanup(receiver.close)
        receiver.answers = [503] * 3
        with self.exporter("--sink", receiver.url, "--retention", 1):
            time.sleep(1)
            self.assertEqual(len(self.stored()), 50)
        with self.exporter("--retention", 1):
            harness.wait_until(lambda: not self.stored(), "what is old and sent goes")


class WrongUse(SinkTest):
    def refused(self, *arguments):
        result = self.hakmem("exporter", "--listen", "127.0.0.1:0", "--runtime-dir", self.runtime_dir, "--store", self.store,
                             *arguments)
        self.assertNotIn("secret", result.err)
        return result.status, result.err

    def test_urls(self):
        for url, said in (("ftp://me:secret@there/", "neither"), ("password=secret host=there", "neither"),
                          ("otlp+http://", "no host"), ("otlp+http:///v1/logs", "no host"),
                          ("otlp+http://there?encoding=xml", "encoding=protobuf|json"), ("otlp+http://me:secret@there:99999", "Port"),
                          ("otlp+http://the re/", "no URL"), ("postgresql://me:%secret@there/x", "libpq"),
                          ("postgresql://me:secret@there/x?nonsense=1", "libpq")):
            status, text = self.refused("--sink", url)
            self.assertEqual((status, text.count("\n")), (2, 1), text)
            self.assertRegex(text, f"^hakmem: --sink .*{re.escape(said)}")
            self.assertNotIn("\ufffd", text)
        for url in ("mysql://me:secret@there/x", "postgresql://me:%secret@there/x"):
            status, text = self.refused("--store", url)
            self.assertEqual((status, text.count("\n")), (2, 1), text)
            self.assertRegex(text, "^hakmem: --store .*postgresql://")
        status, text = self.refused("--sink", "otlp+http://a:1", "--sink", "otlp+http://a:1")
        self.assertEqual((status, "twice" in text), (2, True), text)


if __name__ == "__main__":
    harness.main()
