"""Many hosts: the page over all of them, series that stay within their budget, discovery, and counters that arrive by
Prometheus's remote write at another engine."""

import json
import re
import shutil
import subprocess
import unittest
import urllib.error
import urllib.parse
import urllib.request

import fleet_harness
import harness
from harness import need

MAKE_FLEET = harness.BUILD / "tests" / "programs" / "make_fleet"
DOUBLE_FREE = harness.BUILD / "tests" / "bugs" / "double_free"
CONFIGURATION = harness.SOURCE / "exporters" / "prometheus"
HOSTS, INCIDENTS, FINGERPRINTS, BUILDS = 40, 6_000, 100, 4  # so many that a host sees some bugs twice


@need("psql")
@unittest.skipUnless(fleet_harness.postgres_program("postgres"), "not installed: postgresql")
class FleetPage(harness.HakmemTest):
    def setUp(self):
        super().setUp()
        self.server = fleet_harness.Postgres(self.directory / "postgres").start("fsync=off")
        self.addCleanup(self.server.kill)
        self.runtime_dir = self.directory / "runtime"
        self.runtime_dir.mkdir(mode=0o700)
        sent = subprocess.run([MAKE_FLEET, "incidents", self.server.url, *map(str, (INCIDENTS, HOSTS, FINGERPRINTS, BUILDS)), "2"],
                              check=True, capture_output=True, text=True, timeout=120)
        self.assertEqual(json.loads(sent.stdout)["sent"], INCIDENTS)

    def get(self, path):
        return json.loads(self.exporter_.get(path))

    def test_all_hosts(self):
        self.exporter_ = harness.Exporter(self.runtime_dir, self.server.url, self.new_directory(), "--host", "viewer",
                                          "--retention", "0")
        self.addCleanup(self.exporter_.stop)
        groups = self.get("/api/v1/groups?limit=1000")
        rows = self.server.sql("SELECT fingerprint, count(DISTINCT host_id), count(DISTINCT build_id), sum(records), sum(count),"
                               " min(first_ns), (array_agg(build_id ORDER BY first_ns, build_id))[1], string_agg(DISTINCT process, ',')"
                               " FROM hakmem.incident GROUP BY 1 ORDER BY max(last_ns) DESC, 1")
        self.assertEqual(len(rows), FINGERPRINTS)
        self.assertEqual([(group["fingerprint"], group["hosts"], group["all_builds"], group["incidents"], group["count"],
                           group["builds"][0]["build_id"], ",".join(sorted(group["processes"])))
                          for group in groups["groups"]],
                         [(print_, int(hosts), int(builds), int(records), int(count), first, processes)
                          for print_, hosts, builds, records, count, _, first, processes in rows])
        self.assertEqual((groups["all_groups"], groups["all_incidents"]), (FINGERPRINTS, INCIDENTS))

        # One bug: its builds, on how many hosts each, and where it happened.
        print_ = rows[0][0]
        group, = self.get(f"/api/v1/groups?fingerprint={print_}")["groups"]
        builds = self.server.sql("SELECT build_id, count(DISTINCT host_id), sum(count) FROM hakmem.incident"
                                 f" WHERE fingerprint = '{print_}' GROUP BY 1")
        self.assertEqual({(build["build_id"], build["hosts"], build["count"]) for build in group["builds"]},
                         {(build, int(hosts), int(count)) for build, hosts, count in builds})
        times = [build["first_seen"] for build in group["builds"]]
        self.assertEqual(times[0], min(times))
        occurrences = self.get(f"/api/v1/incidents?fingerprint={print_}&brief=1&limit=1000")
        self.assertEqual({row["host"] for row in occurrences},
                         {host for host, in self.server.sql("SELECT DISTINCT name FROM hakmem.incident JOIN hakmem.host ON"
                                                           f" host.id = host_id WHERE fingerprint = '{print_}'")})
        self.assertEqual(self.get(f"/api/v1/incidents/{occurrences[0]['id']}")["fingerprint"], print_)

        # A record that a later one has taken the place of still leads to its bug.
        (old, old_print), = self.server.sql("SELECT record.id, fingerprint FROM hakmem.record JOIN hakmem.incident ON key ="
                                            " incident_key WHERE record.id <> incident.id LIMIT 1")
        self.assertEqual(self.get(f"/api/v1/incidents/{old}")["fingerprint"], old_print)

        # By host and by build.
        for query, condition in (("host=host-7", "host_id = (SELECT id FROM hakmem.host WHERE name = 'host-7')"),
                                 (f"build={builds[0][0]}", f"build_id = '{builds[0][0]}'")):
            answer = self.get(f"/api/v1/groups?{query}&limit=1000")
            expected = self.server.sql(f"SELECT count(DISTINCT fingerprint), sum(records) FROM hakmem.incident WHERE {condition}")
            self.assertEqual([answer["all_groups"], answer["all_incidents"]], list(map(int, expected[0])), query)
        with self.assertRaises(urllib.error.HTTPError):
            self.get("/api/v1/groups?build=';DROP")
        self.assertEqual(self.get("/api/v1/groups?process=" + urllib.parse.quote("' OR true --"))["all_groups"], 0)

        # Prometheus learns of all hosts here: the whole list each time.
        targets = self.get("/sd")
        self.assertEqual({(entry["labels"]["__meta_hakmem_host"], *entry["targets"]) for entry in targets},
                         {(f"host-{number}", f"host-{number}:9765") for number in range(HOSTS)})

        # This host's own incidents are there, too.
        environment = harness.clean_environment(self.directory) | self.preload_environment(self.runtime_dir)
        subprocess.run([DOUBLE_FREE, "immediate", "24"], env=environment, check=True, capture_output=True, timeout=60)
        found = harness.wait_until(lambda: self.get("/api/v1/incidents?process=double_free&brief=1"), "the viewer's own")
        self.assertEqual(found[0]["host"], "viewer")

    def test_nobody_yet(self):
        self.server.sql("DROP SCHEMA hakmem CASCADE")
        with harness.Exporter(self.runtime_dir, self.server.url, self.new_directory()) as exporter:
            self.assertEqual(json.loads(exporter.get("/sd")), [])
            self.assertEqual(json.loads(exporter.get("/api/v1/groups"))["groups"], [])

    def test_old_ones_go(self):
        """The page answers meanwhile; what stays is in the sums, and what went is in none."""
        self.assertEqual(fleet_harness.wrong_sums(self.server), [])
        old = "host_id % 3 = 0 OR build_id = (SELECT min(build_id) FROM hakmem.incident)"
        self.server.sql(f"UPDATE hakmem.incident SET last_ns = 5 WHERE {old};"
                        "UPDATE hakmem.record SET last_ns = i.last_ns FROM hakmem.incident AS i WHERE key = incident_key;"
                        "UPDATE hakmem.sighting AS s SET last_ns = (SELECT max(last_ns) FROM hakmem.incident AS i WHERE"
                        " (i.fingerprint, i.process, i.build_id) = (s.fingerprint, s.process, s.build_id));"
                        "UPDATE hakmem.bug AS b SET last_ns = (SELECT max(last_ns) FROM hakmem.incident AS i WHERE"
                        " i.fingerprint = b.fingerprint AND (whole OR i.process = b.process))")
        self.assertEqual(fleet_harness.wrong_sums(self.server), [])
        left = self.server.number("SELECT count(*) FROM hakmem.incident WHERE last_ns > 5")
        records = self.server.number("SELECT count(*) FROM hakmem.record WHERE last_ns > 5")
        self.assertLess(left, self.server.number("SELECT count(*) FROM hakmem.incident"))
        self.exporter_ = harness.Exporter(self.runtime_dir, self.server.url, self.new_directory(), "--retention", "3000")
        self.addCleanup(self.exporter_.stop)
        harness.wait_until(lambda: self.server.number("SELECT count(*) FROM hakmem.record") == records, "what is old goes")
        self.assertEqual(self.server.number("SELECT count(*) FROM hakmem.incident"), left)
        harness.wait_until(lambda: not fleet_harness.wrong_sums(self.server), "the sums are of what is left")
        self.assertEqual(self.get("/api/v1/groups?limit=1")["all_incidents"],
                         self.server.number("SELECT sum(records) FROM hakmem.incident"))


class Cardinality(harness.HakmemTest):
    def test_budget(self):
        """More processes of different names than there is room for: the rest is summed, and nothing is left out."""
        runtime_dir = self.directory / "runtime"
        runtime_dir.mkdir(mode=0o700)
        segments = subprocess.Popen([MAKE_FLEET, "segments", runtime_dir, "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(segments.stdout.close)
        self.addCleanup(segments.wait, 30)
        self.addCleanup(segments.stdin.close)
        self.assertEqual(segments.stdout.readline(), b"ready\n")
        texts = {}
        for budget, more in ((2_000, []), (2_000, ["--label-pid"]), (50_000, [])):
            with harness.Exporter(runtime_dir, self.directory / "store.db", self.new_directory(), "--max-series", str(budget),
                                  *more) as exporter:
                metrics = exporter.metrics()
            series = sum(map(len, metrics.series.values()))
            self.assertLessEqual(series, budget)
            self.assertEqual(metrics.total("hakmem_exporter_series"), series)
            texts[budget, *more] = metrics
            for rows in metrics.series.values():
                for labels, _ in rows:
                    self.assertLess(len(labels), 30)
                    self.assertTrue(all(len(value.encode()) < 1024 for value in labels.values()))
        small, by_pid, large = texts.values()
        self.assertGreater(small.total("hakmem_exporter_segments_in_other"), 0)
        self.assertEqual(large.total("hakmem_exporter_segments_in_other"), 0)
        self.assertNotIn("other", {labels["process"] for labels, _ in large.series["hakmem_frees_total"]})
        for name in ("hakmem_allocations_total", "hakmem_frees_total", "hakmem_live_bytes", "hakmem_processes"):
            self.assertEqual(small.total(name), large.total(name), name)
            self.assertEqual(by_pid.total(name), large.total(name), name)
        # Those with more to say have series of their own.
        busiest = max(large.by("hakmem_allocations_total", "process").items(), key=lambda item: item[1])[0]
        self.assertIn(busiest, {labels["process"] for labels, _ in small.series["hakmem_frees_total"]})


def query(base, expression):
    address = base + "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            result = json.load(answer)
    except OSError:
        return {}
    return {tuple(sorted(series["metric"].items())): float(series["value"][1]) for series in result["data"]["result"]}


class Fleet(harness.HakmemTest):
    """Two hosts' exporters, with the same bug on both."""

    def setUp(self):
        super().setUp()
        self.targets = []
        for name in ("one", "two"):
            ended = self.preload([DOUBLE_FREE, "immediate", "24"])
            exporter = harness.Exporter(ended.runtime_dir, ended.store, self.new_directory(), "--host", name)
            self.addCleanup(exporter.stop)
            harness.wait_until(lambda: exporter.metrics().total("hakmem_fingerprint_incidents_total") == 1, "it is counted")
            self.targets.append((exporter, urllib.parse.urlsplit(exporter.url).netloc))

    def prometheus(self, more=""):
        """A Prometheus with the repository's configuration for fleets, the hosts from a file."""
        directory = self.new_directory()
        text = (CONFIGURATION / "fleet.yml").read_text()
        text = re.sub(r"(scrape_interval|evaluation_interval): *\S+", r"\1: 1s", text) + more
        (directory / "fleet.yml").write_text(text)
        shutil.copy(CONFIGURATION / "fleet_rules.yml", directory)
        (directory / "targets").mkdir()
        (directory / "targets" / "hosts.json").write_text(json.dumps([{"targets": [target for _, target in self.targets]}]))
        port = harness.free_port()
        log = open(directory / "log", "w")
        self.addCleanup(log.close)
        running = harness.running(["prometheus", f"--config.file={directory / 'fleet.yml'}", "--storage.tsdb.path",
                                   directory / "data", f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=directory)
        running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        return f"http://127.0.0.1:{port}"


@need("prometheus", "promtool")
class Discovery(Fleet):
    def test_configuration_and_rules(self):
        for command in (["check", "config", "fleet.yml"], ["check", "rules", "fleet_rules.yml"]):
            check = subprocess.run(["promtool", *command], cwd=CONFIGURATION, capture_output=True, text=True)
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        base = self.prometheus()
        hosts = harness.wait_until(lambda: query(base, "fleet:hakmem_fingerprint_hosts:count == 2"), "the bug is seen on both")
        print_ = dict(next(iter(hosts)))["fingerprint"]
        sums = harness.wait_until(lambda: query(base, "fleet:hakmem_fingerprint_incidents:sum == 2"), "and summed")
        labels = dict(next(iter(sums)))
        self.assertEqual((labels["process"], labels["kind"], labels["fingerprint"]), ("double_free", "double_free", print_))
        self.assertRegex(print_, "^[0-9a-f]{16}$")

    def test_over_http(self):
        """Each exporter's /sd is a list of targets in Prometheus's form."""
        for exporter, target in self.targets:
            self.assertEqual([entry["targets"] for entry in json.loads(exporter.get("/sd"))], [[target]])


@need("prometheus", "victoria-metrics")
class RemoteWrite(Fleet):
    def test_counters_arrive(self):
        directory = self.new_directory()
        port = harness.free_port()
        log = open(directory / "log", "w")
        self.addCleanup(log.close)
        with harness.running(["victoria-metrics", f"-storageDataPath={directory / 'data'}", f"-httpListenAddr=127.0.0.1:{port}",
                              "-retentionPeriod=1", "-memory.allowedBytes=64MB", "-search.latencyOffset=0s"], stdout=log, stderr=log):
            base = f"http://127.0.0.1:{port}"
            self.prometheus(f"remote_write:\n  - url: {base}/api/v1/write\n    queue_config: {{batch_send_deadline: 1s}}\n")
            expected = {target: exporter.metrics() for exporter, target in self.targets}
            for name in ("hakmem_incidents_total", "hakmem_allocations_total", "hakmem_fingerprint_incidents_total"):
                expression = f"sum by (instance) ({name})"
                wanted = {target: metrics.total(name) for target, metrics in expected.items()}
                harness.wait_until(lambda: {dict(labels)["instance"]: value for labels, value in query(base, expression).items()}
                                   == wanted, f"{name} is there")
            harness.wait_until(lambda: query(base, "fleet:hakmem_fingerprint_hosts:count == 2"), "and so is what the rules made")


if __name__ == "__main__":
    harness.main()
