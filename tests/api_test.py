"""The API and the files that the web page is made of: many incidents, bad input, source lines, caching. No browser."""

import collections
import gzip
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.parse

import harness

MAKE_STORE = harness.BUILD / "tests" / "programs" / "make_store"
INCIDENTS, FINGERPRINTS = 10_000, 500
PROMISED_SECONDS = 0.1  # the overview of so many


class Server(harness.HakmemTest):
    """An exporter and requests to it."""

    def serve(self, runtime_dir, store):
        exporter = harness.Exporter(runtime_dir, store, self.new_directory())
        self.addCleanup(exporter.stop)
        self.address = urllib.parse.urlsplit(exporter.url).netloc
        self.exporter_process = exporter
        return exporter

    def request(self, path, headers=None, method="GET"):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path):
        status, headers, body = self.request(path)
        self.assertEqual(status, 200, body)
        self.assertEqual(headers["Content-Type"], "application/json")
        return json.loads(body)

    def assert_error(self, path, status, *words, method="GET"):
        got, headers, body = self.request(path, method=method)
        self.assertEqual(got, status, f"{path}: {body[:200]}")
        self.assertEqual(headers["Content-Type"], "application/json", path)
        self.assertEqual(headers["Content-Security-Policy"], "default-src 'none'", path)
        error = json.loads(body)["error"]
        self.assertTrue(error)
        for word in words:
            self.assertIn(word, error)


class Many(Server):
    """Ten thousand incidents of five hundred fingerprints."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="hakmem-test-"))
        cls.store = cls.folder / "many.db"
        subprocess.run([MAKE_STORE, cls.store, str(INCIDENTS), str(FINGERPRINTS)], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def setUp(self):
        super().setUp()
        runtime_dir = self.new_directory()
        runtime_dir.chmod(0o700)
        self.serve(runtime_dir, self.store)

    def test_overview_is_fast(self):
        self.get("/api/v1/groups")
        for path in ("/api/v1/groups?limit=100", f"/api/v1/groups?limit={FINGERPRINTS}"):
            seconds = []
            for _ in range(11):
                begin = time.monotonic()
                self.get(path)
                seconds.append(time.monotonic() - begin)
            print(f"{path}: median {statistics.median(seconds) * 1000:.1f} ms")
            self.assertLessEqual(statistics.median(seconds), PROMISED_SECONDS, path)

    def test_groups(self):
        answer = self.get(f"/api/v1/groups?limit={FINGERPRINTS}")
        groups = answer["groups"]
        self.assertEqual((answer["all_groups"], answer["all_incidents"]), (FINGERPRINTS, INCIDENTS))
        self.assertEqual(answer["all_count"], sum(1 + number % 97 for number in range(INCIDENTS)))
        self.assertEqual(len({group["fingerprint"] for group in groups}), FINGERPRINTS)
        self.assertEqual(sum(group["count"] for group in groups), answer["all_count"])
        self.assertEqual({group["incidents"] for group in groups}, {INCIDENTS // FINGERPRINTS})
        last_seen = [group["last_seen"] for group in groups]
        self.assertEqual(last_seen, sorted(last_seen, reverse=True))
        for group in (groups[1], groups[250], groups[-1]):
            rows = self.get(f"/api/v1/incidents?brief=1&limit=100&fingerprint={group['fingerprint']}")
            self.assertEqual(len(rows), group["incidents"])
            self.assertEqual(rows[0]["id"], group["latest"])
            self.assertEqual(min(row["first_seen"] for row in rows), group["first_seen"])
            self.assertEqual(sum(row["count"] for row in rows), group["count"])
            self.assertRegex(group["site"], r"^svc::Module\d+::release_\d+\(svc::Request const&\) module\d+\.cpp:40$")

    def test_filters(self):
        groups = self.get(f"/api/v1/groups?limit={FINGERPRINTS}")["groups"]
        by_kind = collections.Counter(group["kind"] for group in groups)
        answer = self.get("/api/v1/groups?kind=double_free&limit=10000")
        self.assertEqual(answer["all_groups"], by_kind["double_free"])
        self.assertEqual({group["kind"] for group in answer["groups"]}, {"double_free"})
        self.assertEqual({facet["name"]: facet["groups"] for facet in answer["kinds"]}, by_kind)
        answer = self.get("/api/v1/groups?process=service-3&limit=10000")
        self.assertEqual({name for group in answer["groups"] for name in group["processes"]}, {"service-3"})
        since = groups[100]["last_seen"]
        answer = self.get("/api/v1/groups?limit=10000&since=" + urllib.parse.quote(since))
        self.assertEqual({group["fingerprint"] for group in answer["groups"]},
                         {group["fingerprint"] for group in groups if group["last_seen"] >= since})
        self.assertEqual(self.get("/api/v1/groups?until=0")["groups"], [])
        self.assertEqual(self.get("/api/v1/groups?process=nobody")["all_groups"], 0)

    def test_pages(self):
        groups = self.get(f"/api/v1/groups?limit={FINGERPRINTS}")["groups"]
        paged = []
        for offset in range(0, FINGERPRINTS, 170):
            paged += self.get(f"/api/v1/groups?limit=170&offset={offset}")["groups"]
        self.assertEqual(paged, groups)
        self.assertEqual(self.get("/api/v1/groups?offset=1000000000")["groups"], [])
        self.assertEqual(len(self.get("/api/v1/incidents?brief=1&limit=10000")), INCIDENTS)

    def test_latest_incident_is_a_link(self):
        """What alerts link to: by process and kind it leads to the newest incident's page."""
        for query in ("", "kind=double_free", "process=service-3", "process=service-3&kind=header_overwritten"):
            newest = self.get(f"/api/v1/incidents?brief=1&limit=1&{query}")[0]
            status, headers, _ = self.request(f"/incidents/latest?{query}")
            self.assertEqual((status, headers["Location"]), (302, f"/incidents/{newest['id']}"), query)
            self.assertEqual(headers["Cache-Control"], "no-store")
        self.assertEqual(self.request("/incidents/latest?process=nobody")[1]["Location"], "/")
        for query in ("kind=nothing", "limit=1", "nothing=1", "since=yesterday", "kind=double_free&kind=size_mismatch"):
            self.assert_error(f"/incidents/latest?{query}", 400)

    def test_hostile_names_are_json_strings(self):
        """What the page shows as text arrives as data: escaping it is nobody's business but the page's."""
        group = self.get("/api/v1/groups?limit=1")["groups"][0]
        self.assertIn("<script>", group["processes"][0])
        incident = self.get(f"/api/v1/incidents/{group['latest']}")
        self.assertIn("<img", incident["thread"])
        status, headers, _ = self.request(f"/api/v1/incidents/{group['latest']}")
        self.assertEqual((status, headers["X-Content-Type-Options"]), (200, "nosniff"))

    def test_source_of_no_other_file(self):
        """The store's first incident names /etc/passwd and a path full of markup as its sources."""
        latest = self.get("/api/v1/groups?limit=1")["groups"][0]["latest"]
        for frame in range(12):
            _, _, body = self.request(f"/api/v1/incidents/{latest}/source?frame={frame}")
            self.assertNotIn(b"root:", body)
        self.assert_error(f"/api/v1/incidents/{latest}/source?frame=1", 404, "not a source file")
        self.assert_error(f"/api/v1/incidents/{latest}/source?frame=0", 404)
        self.assert_error(f"/api/v1/incidents/{latest}/source?file=/etc/passwd", 400, "unknown parameter")
        self.assert_error(f"/api/v1/incidents/{latest}/source?frame=../../etc/passwd", 400)

    def test_bad_input(self):
        for query in ("limit=0", "limit=-1", "limit=10001", "limit=99999999999999999999999999", "limit=1e3", "limit=",
                      "limit=0x10", "limit=%00", "limit", "offset=-1", "offset=9999999999", "since=yesterday", "since=",
                      "since=2026-13-45T99:99:99Z", "until=%F0%9F%92%A9", "kind=nothing", "kind=", "kind=double_free%00",
                      "fingerprint=12", "fingerprint=ABCDEF0123456789", "fingerprint=%27%20OR%201%3D1--",
                      "nothing=1", "%3Cscript%3E=1", "%zz", "limit=1&limit=2", "&&limit=x&=&", "process=" + "x" * 300):
            for path in ("/api/v1/groups", "/api/v1/incidents"):
                with self.subTest(path + "?" + query):
                    self.assert_error(f"{path}?{query}", 400)
        self.assert_error("/api/v1/incidents?brief=2", 400, "brief")
        self.assert_error("/api/v1/live?since=abc", 400)
        self.assert_error("/api/v1/live?pid=0", 400)
        self.assert_error("/api/v1/live?pid=1%00", 400)
        self.assert_error("/api/v1/live?seconds=99999999", 400)
        self.assert_error("/api/v1/kinds?x=1", 400)
        self.assert_error("/api/v1/processes?x=1", 400)

    def test_wrong_ids(self):
        self.assert_error("/api/v1/incidents/xyz", 400, "hexadecimal")
        self.assert_error("/api/v1/incidents/", 400)
        self.assert_error("/api/v1/incidents/ffffffffffffffffffff", 404)
        self.assert_error("/api/v1/incidents/%27%3B%20DROP%20TABLE%20incidents", 400)
        self.assert_error("/api/v1/incidents/xyz/source", 400)
        self.assert_error("/api/v1/incidents/ffffffffffffffffffff/source", 404)
        self.assert_error("/api/v1/incidents/1/2/3", 404)
        self.assert_error("/api/v1/processes/abc/heap", 400)
        self.assert_error("/api/v1/processes/-1/heap", 400)
        self.assert_error("/api/v1/processes/99999999999999999999999/heap", 400)
        self.assert_error("/api/v1/processes/1/heap", 404, "watched")
        for path in ("/api/v1/", "/api/v1/nothing", "/api/v1/groups/1", "/nothing", "/assets/nothing.js", "/index.htm",
                     "/../../etc/passwd", "/assets/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"):
            with self.subTest(path):
                self.assert_error(path, 404)
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            with self.subTest(method):
                status, headers = self.request("/api/v1/groups", method=method)[:2]
                self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))
        latest = self.get("/api/v1/groups?limit=1")["groups"][0]["latest"]
        for query in ("stack=nothing", "stack=", "frame=-1", "frame=x", "frame=10001", "context=21"):
            self.assert_error(f"/api/v1/incidents/{latest}/source?{query}", 400)
        for query in ("frame=500", "stack=writer"):
            self.assert_error(f"/api/v1/incidents/{latest}/source?{query}", 404, "no such frame")

    def test_broken_requests(self):
        """What is no HTTP at all is answered or dropped, and the server lives on."""
        for raw in (b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff\xfe\0\0", b"GET /\0 HTTP/1.1\r\n\r\n",
                    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
                    b"GET /api/v1/groups?" + b"&" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
                    b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"):
            with self.subTest(raw[:30]), socket.create_connection(self.address.split(":"), timeout=30) as connection:
                try:
                    connection.sendall(raw)
                    connection.shutdown(socket.SHUT_WR)
                    answer = b""
                    while part := connection.recv(65536):
                        answer += part
                except ConnectionError:
                    continue
                if answer:
                    self.assertRegex(answer[:12], rb"^HTTP/1\.1 [2-4]\d\d$")
        self.assertEqual(self.get("/api/v1/groups?limit=1")["all_groups"], FINGERPRINTS)
        self.assertIsNone(self.exporter_process.process.poll(), self.exporter_process.log())

    def test_names_of_sql_and_control_characters(self):
        for name in ("' OR 1=1 --", "%", "_", "\x00", "\x1b[31m", "\ud800".encode("utf-8", "surrogatepass"), "😀" * 10):
            answer = self.get("/api/v1/groups?process=" + urllib.parse.quote(name))
            self.assertEqual(answer["all_groups"], 0, name)


class Page(Server):
    """The page's own files: nothing from elsewhere, nothing inline, cached by what they hold."""

    def setUp(self):
        super().setUp()
        runtime_dir = self.new_directory()
        runtime_dir.chmod(0o700)
        self.serve(runtime_dir, self.directory / "incidents.db")

    def test_index(self):
        status, headers, body = self.request("/")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        self.assertEqual(policy["default-src"], "'none'")
        for what in ("script-src", "style-src", "connect-src", "font-src"):
            self.assertEqual(policy[what], "'self'")
        self.assertNotIn("unsafe", headers["Content-Security-Policy"])
        text = body.decode()
        self.assertNotRegex(text, r"<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=|https?://")
        links = re.findall(r'(?:src|href)="([^"]+)"', text)
        self.assertGreaterEqual(len([link for link in links if link.startswith("/assets/")]), 2)
        for link in links:
            self.assertTrue(link.startswith("/"), link)
            self.assertEqual(self.request(link)[0], 200, link)

    def test_assets_name_no_other_host(self):
        _, _, index = self.request("/")
        names = re.findall(rb'"(/assets/[^"]+)"', index)
        for name in names:
            _, headers, body = self.request(name.decode())
            self.assertNotRegex(body, rb"""(src|href|url|import|fetch)\s*[=(]\s*["'(]?https?://""")
            for font in re.findall(rb"url\(\"?(/[^)\"]+)\"?\)", body):
                status, font_headers, _ = self.request(font.decode())
                self.assertEqual((status, font_headers["Content-Type"]), (200, "font/woff2"))

    def test_views_are_links(self):
        _, _, index = self.request("/")
        for path in ("/processes", "/processes/12", "/processes/12/heap", "/incidents/0123456789abcdef",
                     "/groups/0123456789abcdef", "/?kind=double_free&process=x"):
            self.assertEqual(self.request(path)[::2], (200, index), path)
        for path in ("/incidents/xyz", "/groups/", "/processes/abc", "/processes/1/nothing", "/incidents/1/2"):
            status, headers, body = self.request(path)
            self.assertEqual((status, body), (404, index), path)

    def test_caching_and_gzip(self):
        _, _, index = self.request("/")
        names = [name.decode() for name in re.findall(rb'"(/assets/[^"]+)"', index)]
        for path in ["/", "/favicon.svg", *names]:
            status, headers, plain = self.request(path)
            self.assertIn("immutable" if path in names else "no-cache", headers["Cache-Control"])
            self.assertIsNone(headers["Content-Encoding"])
            status, again, body = self.request(path, {"If-None-Match": headers["ETag"]})
            self.assertEqual((status, body, again["ETag"]), (304, b"", headers["ETag"]))
            self.assertEqual(self.request(path, {"If-None-Match": '"other"'})[0], 200)
            _, zipped, body = self.request(path, {"Accept-Encoding": "gzip, br"})
            if zipped["Content-Encoding"] == "gzip":
                self.assertEqual(gzip.decompress(body), plain)
            self.assertEqual(self.request(path, method="HEAD")[2], b"")
        self.assertEqual(self.request(names[0], {"Accept-Encoding": "gzip"})[1]["Content-Encoding"], "gzip")
        _, headers, body = self.request("/api/v1/kinds", {"Accept-Encoding": "gzip"})
        self.assertEqual((headers["Content-Encoding"], headers["Cache-Control"]), ("gzip", "no-store"))
        self.assertEqual({kind["kind"] for kind in json.loads(gzip.decompress(body))}, harness.KINDS)


class Watched(Server):
    """Real processes and their incidents."""

    def test_source_lines(self):
        program = self.directory / "program"
        source = self.directory / "program.c"
        lines = ["#include <stdlib.h>", "int main(void) {", "\tchar *volatile p = malloc(10);", "\tfree(p);  // <once>",
                 "\tfree(p);  // twice", "\treturn 0;", "}"]
        source.write_text("\n".join(lines) + "\n")
        subprocess.run(["gcc", "-g", "-O0", "-w", "-o", program.name, source.name], check=True, cwd=self.directory)
        result = self.preload([program])
        self.assertEqual(result.status, 0, result)
        self.serve(result.runtime_dir, self.directory / "incidents.db")
        incident = self.get("/api/v1/incidents")[0]
        path = f"/api/v1/incidents/{incident['id']}/source"
        self.assertEqual(self.get(path + "?stack=free&frame=0&context=1"),
                         {"file": str(source), "line": 5, "first_line": 4, "lines": lines[3:6], "changed_since": False})
        self.assertEqual(self.get(path)["lines"], lines)
        os.utime(source)
        self.assertTrue(self.get(path)["changed_since"])
        source.unlink()
        self.assert_error(path, 404, "cannot be read")
        source.symlink_to("/etc/passwd")
        self.assert_error(path, 404, "not a source file")

    def test_live(self):
        runtime_dir = self.new_directory()
        runtime_dir.chmod(0o700)
        self.serve(runtime_dir, self.directory / "incidents.db")
        environment = harness.clean_environment(self.directory, **self.preload_environment(runtime_dir))
        program = harness.BUILD / "examples" / "order_service"
        with harness.running([program, "100000", "1"], env=environment, stdout=subprocess.DEVNULL) as process:
            def points():
                live = self.get(f"/api/v1/live?pid={process.pid}&seconds=60")["processes"]
                return live[0]["points"] if live and len(live[0]["points"]) >= 3 else None

            moving = harness.wait_until(points, "three points of the process")
            times, allocations, frees, live_bytes = list(zip(*moving))[:4]
            self.assertEqual(sorted(set(times)), list(times))
            self.assertTrue(all(a < b for a, b in zip(allocations, allocations[1:])), allocations)
            self.assertTrue(all(a < b for a, b in zip(frees, frees[1:])), frees)
            self.assertGreater(live_bytes[-1], 0)
            self.assertEqual(self.get(f"/api/v1/live?pid={process.pid}&since={times[-1] + 10**9}")["processes"][0]["points"], [])
            self.assert_error(f"/api/v1/processes/{process.pid}/heap", 404, "trace", "count")
        environment |= self.preload_environment(runtime_dir, level="trace", options={"sample_bytes": "1000"})
        with harness.running([program, "100000", "1"], env=environment, stdout=subprocess.DEVNULL) as process:
            harness.wait_until(lambda: self.request(f"/api/v1/processes/{process.pid}/heap")[0] == 200, "the process's heap")
            heap = self.get(f"/api/v1/processes/{process.pid}/heap")
            self.assertEqual((heap["pid"], heap["level"]), (process.pid, "trace"))
            self.assertIsInstance(heap["sites"], list)


if __name__ == "__main__":
    harness.main()
