"""A real Prometheus and Alertmanager, configured by the repository's own files: they scrape the exporter, record, tell
people of a heap that was corrupted, and every panel of the dashboard has something to show."""

import contextlib
import http.server
import json
import re
import shutil
import subprocess
import threading
import unittest
import urllib.parse
import urllib.request

import harness
from harness import need

FILES = harness.SOURCE / "exporters" / "prometheus"
CONFIGURATION = FILES / "prometheus.yml"
RULES = [FILES / "rules.yml", FILES / "alerts.yml"]
DASHBOARD = FILES / "hakmem.json"
EXPORTER_ADDRESS = "127.0.0.1:9765"  # where the exporter serves by default, and what the configuration names
ALERTMANAGER_ADDRESS = "127.0.0.1:9093"
PROGRAM = harness.BUILD / "tests" / "bugs" / "double_free"
# A program from Debian, with a bug in it: it writes one byte more than it asked for.
CORRUPTING_PYTHON = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc_usable_size.argtypes = libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(ctypes.c_size_t(1000)) for _ in range(100)]
ctypes.memset(blocks[50], ord("x"), libc.malloc_usable_size(blocks[50]) + 1)
for block in blocks:
    libc.free(block)
"""
METRIC = re.compile(r"[a-z_]*:?hakmem_[a-z_]+(?::[a-z0-9_]+)?")


def promtool(*arguments, **more):
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=harness.TIMEOUT, **more)


def panel_queries():
    """(panel's title, expression) of the dashboard, its variables filled in."""
    filled = {"$instance": ".*", "$process": ".*", "$__rate_interval": "1m", "$__range": "1m"}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in filled.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


@need("promtool", "jsonnet")
class Mixin(harness.HakmemTest):
    def test_generated_files_are_current(self):
        check = subprocess.run([FILES / "generate", "--check"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_configuration_and_rules_are_valid(self):
        for what, files in (("config", [CONFIGURATION]), ("rules", RULES)):
            check = promtool("check", what, *files)
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_alerts_fire_when_they_should(self):
        check = promtool("test", "rules", FILES / "mixin" / "tests.yml")
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_every_alert_is_tested_and_complete(self):
        made = subprocess.run(["jsonnet", "--exec", "(import 'mixin.libsonnet').prometheusAlerts"], cwd=FILES / "mixin",
                              capture_output=True, text=True, check=True)
        alerts = [rule for group in json.loads(made.stdout)["groups"] for rule in group["rules"]]
        tested = set(re.findall(r"alertname: (\w+)", (FILES / "mixin" / "tests.yml").read_text()))
        self.assertEqual({alert["alert"] for alert in alerts}, tested)
        kinds = []
        for alert in alerts:
            self.assertRegex(alert["alert"], r"^Hakmem([A-Z][a-z]+)+$")
            self.assertIn(alert["labels"]["severity"], ("critical", "warning", "info"))
            self.assertRegex(alert["annotations"]["summary"], r"\.$")
            self.assertIn("http://{{ $labels.instance }}/", alert["annotations"]["description"], alert["alert"])
            kinds += "|".join(re.findall(r'kind=~"([^"]+)"', alert["expr"])).split("|")
        # Each kind alerts, and by one alert only.
        self.assertEqual(sorted(filter(None, kinds)), sorted(harness.KINDS))


class Server(harness.HakmemTest):
    """Prometheus and what stands around it, each on a free port."""

    def configure(self, directory, exporter_address, alertmanager_address):
        """The repository's configuration, with free ports for the default ones, and scraping often."""
        text = CONFIGURATION.read_text()
        for default, actual in ((EXPORTER_ADDRESS, exporter_address), (ALERTMANAGER_ADDRESS, alertmanager_address)):
            self.assertIn(default, text)
            text = text.replace(default, actual)
        text = re.sub(r"(scrape_interval|scrape_timeout|evaluation_interval): *\S+", r"\1: 1s", text)
        # The same exporter a second time, found by what it says of itself.
        text += (f"\n  - job_name: discovered\n    http_sd_configs:\n      - url: http://{exporter_address}/sd\n"
                 "        refresh_interval: 1s\n")
        for beside in FILES.glob("*.yml"):
            shutil.copy(beside, directory / beside.name)
        (directory / "prometheus.yml").write_text(text)
        return directory / "prometheus.yml"

    @contextlib.contextmanager
    def service(self, name, *arguments):
        """Runs one, and tells of its log where it doesn't answer."""
        directory = self.new_directory()
        port = harness.free_port()
        log = directory / "log"
        with open(log, "w") as output, harness.running(
                [name, f"--web.listen-address=127.0.0.1:{port}", *arguments], stdout=output, stderr=output,
                cwd=directory) as process:
            def ready():
                if process.poll() is not None:
                    self.fail(log.read_text())
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5):
                    return True

            harness.wait_until(ready, f"{name} is ready")
            yield f"http://127.0.0.1:{port}"

    @contextlib.contextmanager
    def prometheus(self, exporter, alertmanager="127.0.0.1:1"):
        directory = self.new_directory()
        configuration = self.configure(directory, urllib.parse.urlsplit(exporter.url).netloc, alertmanager)
        with self.service("prometheus", f"--config.file={configuration}",
                          f"--storage.tsdb.path={directory / 'data'}") as url:
            self.url = url
            yield

    def fetch(self, address):
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)

    def query(self, expression):
        result = self.fetch(self.url + "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        self.assertEqual(result["status"], "success")
        return {tuple(sorted(series["metric"].items())): float(series["value"][1]) for series in result["data"]["result"]}

    def wait_for(self, expression):
        return harness.wait_until(lambda: self.query(expression), f"Prometheus has {expression}")


@need("prometheus", "promtool")
class Scrape(Server):
    def test_scrape_and_query(self):
        ended = self.preload([PROGRAM, "immediate", "24"])
        self.assertEqual(ended.status, 0, ended)
        with self.exporter(ended) as exporter:
            check = promtool("check", "metrics", input=exporter.get("/metrics"))
            self.assertEqual((check.returncode, check.stdout + check.stderr), (0, ""))
            with self.prometheus(exporter):
                for metric in ("hakmem_header_invalid_total", "hakmem_slow_path_total", "hakmem_mincore_calls_total"):
                    self.wait_for(metric + '{job="hakmem"}')
                rejected = self.query('sum(hakmem_header_invalid_total{job="hakmem",process="double_free",outcome="rejected"})')
                self.assertEqual(list(rejected.values()), [1.0])
                refills = self.query('sum(hakmem_slow_path_total{process="double_free",reason="cache_empty"})')
                self.assertGreater(list(refills.values())[0], 0)
                self.wait_for('up{job="discovered"} == 1')
                self.assertEqual(set(self.query('up{job="hakmem"}').values()), {1.0})

    def test_dashboard(self):
        """The dashboard and the rules name no metric that isn't served, and every panel has something to show."""
        directory = self.new_directory()
        runtime_dir = directory / "runtime"
        environment = harness.clean_environment(directory, **self.preload_environment(runtime_dir, level="trace"))
        subprocess.run([PROGRAM, "immediate", "24"], env=environment, check=True, capture_output=True)
        service = [harness.BUILD / "examples" / "order_service", "100000", "1"]
        with harness.running(service, env=environment, stdout=subprocess.DEVNULL), \
                harness.Exporter(runtime_dir, directory / "incidents.db", directory) as exporter:
            text = "\n".join(path.read_text() for path in RULES)
            served = set(exporter.metrics().types) | set(re.findall(r'"record": "([^"]+)"', text))
            used = set(METRIC.findall(text)) | {name for _, query in panel_queries() for name in METRIC.findall(query)}
            for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
                used |= set(METRIC.findall(variable.get("definition", "")))
            self.assertLessEqual(used, served)
            self.assertGreater(len(used), 20)
            with self.prometheus(exporter):
                # A process must be seen twice for its rates.
                self.wait_for("sum(rate(hakmem_allocations_total[1m])) > 0")
                self.wait_for("process:hakmem_allocations:rate5m")
                subprocess.run([PROGRAM, "immediate", "24"], env=environment, check=True, capture_output=True)
                for title, query in panel_queries():
                    with self.subTest(title):
                        self.wait_for(query)


class Pager(http.server.BaseHTTPRequestHandler):
    """What Alertmanager sends its notifications to."""

    def do_POST(self):  # pylint: disable=invalid-name
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.alerts += body["alerts"]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@need("prometheus", "prometheus-alertmanager")
class Alert(Server):
    def test_corruption_pages_somebody_who_finds_the_incident(self):
        directory = self.new_directory()
        runtime_dir = directory / "runtime"
        environment = harness.clean_environment(directory, **self.preload_environment(runtime_dir))
        pager = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pager)
        pager.alerts = []
        threading.Thread(target=pager.serve_forever, daemon=True).start()
        self.addCleanup(pager.server_close)
        self.addCleanup(pager.shutdown)
        configuration = directory / "alertmanager.yml"
        configuration.write_text(json.dumps({
            "route": {"receiver": "pager", "group_wait": "1s", "group_by": ["..."]},
            "receivers": [{"name": "pager",
                           "webhook_configs": [{"url": f"http://127.0.0.1:{pager.server_address[1]}/"}]}],
        }))
        with harness.Exporter(runtime_dir, directory / "incidents.db", directory) as exporter, \
                self.service("prometheus-alertmanager", f"--config.file={configuration}",
                             f"--storage.path={directory / 'alertmanager'}", "--cluster.listen-address=") as alertmanager, \
                self.prometheus(exporter, urllib.parse.urlsplit(alertmanager).netloc):
            self.wait_for('up{job="hakmem"} == 1')
            # That nothing is watched yet is on its way to be an alert, rightly, and soon no more.
            self.assertEqual(self.query('ALERTS{alertname!="HakmemNothingWatched"}'), {})
            self.assertEqual(self.query('ALERTS{alertstate="firing"}'), {})
            subprocess.run(["/usr/bin/python3", "-c", CORRUPTING_PYTHON], env=environment, check=True, timeout=60)
            alert = harness.wait_until(lambda: pager.alerts, "somebody is paged")[0]
            labels, annotations = alert["labels"], alert["annotations"]
            self.assertEqual(
                (alert["status"], labels["alertname"], labels["severity"], labels["process"], labels["kind"]),
                ("firing", "HakmemHeapCorruption", "critical", "python3", "header_overwritten"))
            self.assertIn(annotations["incident_url"], annotations["description"])
            # The link leads to the incident's page, and the incident is the one that was provoked.
            with urllib.request.urlopen(annotations["incident_url"], timeout=30) as page:
                self.assertEqual(page.headers["Content-Type"], "text/html; charset=utf-8")
                incident_id = re.search(r"/incidents/([0-9a-f]{16})$", page.url)[1]
            incident = json.loads(exporter.get(f"/api/v1/incidents/{incident_id}"))
            self.assertEqual((incident["process"], incident["kind"]), ("python3", "header_overwritten"))
            self.assertEqual(incident["header"]["found"], hex(ord("x")))
            with urllib.request.urlopen(annotations["incidents_url"], timeout=30) as page:
                self.assertEqual(page.status, 200)


if __name__ == "__main__":
    harness.main()
