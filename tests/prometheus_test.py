"""A real Prometheus, configured by the repository's own file, scrapes the exporter and answers queries."""

import json
import pathlib
import re
import shutil
import subprocess
import unittest
import urllib.parse
import urllib.request

import harness
from harness import need

CONFIGURATION = harness.SOURCE / "exporters" / "prometheus" / "prometheus.yml"
ADDRESS = "127.0.0.1:9765"  # where the exporter serves by default, and what the configuration names
PROGRAM = harness.BUILD / "tests" / "bugs" / "double_free"


@need("prometheus")
class Prometheus(harness.HakmemTest):
    def configure(self, directory, exporter_url):
        """The repository's configuration, with the exporter's free port for the default one, and scraping often."""
        text = CONFIGURATION.read_text()
        self.assertIn(ADDRESS, text)
        text = text.replace(ADDRESS, urllib.parse.urlsplit(exporter_url).netloc)
        text = re.sub(r"(scrape_interval|scrape_timeout): *\S+", r"\1: 1s", text)
        target = directory / "prometheus.yml"
        for beside in CONFIGURATION.parent.glob("*.yml"):
            shutil.copy(beside, directory / beside.name)
        target.write_text(text)
        return target

    def query(self, port, expression):
        address = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(address, timeout=10) as answer:
            result = json.load(answer)
        self.assertEqual(result["status"], "success")
        return {tuple(sorted(series["metric"].items())): float(series["value"][1]) for series in result["data"]["result"]}

    def test_configuration_is_valid(self):
        promtool = shutil.which("promtool")
        if promtool is None:
            self.skipTest("not installed: promtool")
        check = subprocess.run([promtool, "check", "config", CONFIGURATION], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_scrape_and_query(self):
        ended = self.preload([PROGRAM, "immediate", "24"])
        self.assertEqual(ended.status, 0, ended)
        directory = self.new_directory()
        with self.exporter(ended) as exporter:
            self.check_format(exporter.get("/metrics"))
            port = harness.free_port()
            log = open(directory / "prometheus.log", "w+")
            self.addCleanup(log.close)
            command = ["prometheus", f"--config.file={self.configure(directory, exporter.url)}",
                       f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
            with harness.running(command, stdout=log, stderr=log, cwd=directory) as prometheus:
                def answered(expression):
                    if prometheus.poll() is not None:
                        self.fail(pathlib.Path(log.name).read_text())
                    try:
                        return self.query(port, expression)
                    except OSError:
                        return None

                for metric in ("hakmem_header_invalid_total", "hakmem_slow_path_total", "hakmem_mincore_calls_total"):
                    harness.wait_until(lambda: answered(metric), f"Prometheus knows {metric}")
                rejected = self.query(port, 'sum(hakmem_header_invalid_total{process="double_free",outcome="rejected"})')
                self.assertEqual(list(rejected.values()), [1.0])
                refills = self.query(port, 'sum(hakmem_slow_path_total{process="double_free",reason="cache_empty"})')
                self.assertGreater(list(refills.values())[0], 0)
                self.assertEqual(set(self.query(port, "up{job=~\".*hakmem.*\"}").values()), {1.0})

    def check_format(self, text):
        promtool = shutil.which("promtool")
        if promtool is None:
            return
        check = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)


if __name__ == "__main__":
    harness.main()
