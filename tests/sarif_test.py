"""SARIF of real incidents: of the format's types (checked by the TypeScript compiler), at the right lines."""

import json
import os
import pathlib
import shutil
import subprocess
import unittest
import urllib.parse

import harness
from harness import need
from ui import scenario

RUNS = [("trace", {"sample_bytes": 1}, ["overflow", "strcpy_nul", "24"]),
        ("trace", {"sample_bytes": 1}, ["double_free", "after_others", "100"]),
        ("guard", {}, ["guard", "use_after_free_write", "100"]),
        ("count", {}, ["wild", "stack_array"])]
BUGS = harness.SOURCE / "tests" / "bugs"


def line_of(source, mark):
    """The number of the line that ends in `// @MARK`."""
    lines = (BUGS / source).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.rstrip().endswith(f"// @{mark}"))


@need("gcc")
class Sarif(harness.HakmemTest):
    def setUp(self):
        super().setUp()
        # As it is in CI: the sources are checked out, built and run there.
        self.checkout = self.directory / "a checkout"
        self.checkout.mkdir()
        for source in (*BUGS.glob("*.c"), BUGS / "bug.h"):
            shutil.copy(source, self.checkout)
        for program in {argv[0] for _, _, argv in RUNS}:
            subprocess.run(["gcc", "-g", "-O1", "-fno-builtin", "-w", "-pthread", "-o", program, f"{program}.c"],
                           cwd=self.checkout, check=True)
        runtime_dir = self.directory / "runtime"
        self.store = self.directory / "incidents.db"
        for level, options, (program, *arguments) in RUNS:
            environment = harness.clean_environment(self.directory,
                                                    **self.preload_environment(runtime_dir, level=level, options=options))
            subprocess.run([self.checkout / program, *arguments], env=environment, check=False, capture_output=True, timeout=60)
        with harness.Exporter(runtime_dir, self.store, self.directory) as exporter:
            self.incidents = harness.wait_until(exporter.incidents, "the incidents are in the store")

    def sarif(self, *arguments, folder=None):
        result = self.hakmem("incidents", *arguments, "--sarif", "--store", self.store, cwd=folder or self.checkout)
        self.assertEqual((result.status, result.err), (0, ""))
        return json.loads(result.out)

    def results(self, log):
        self.assertEqual((log["version"], len(log["runs"])), ("2.1.0", 1))
        run = log["runs"][0]
        rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        self.assertEqual(set(rules), harness.KINDS)
        for result in run["results"]:
            self.assertEqual(rules[result["ruleIndex"]], result["ruleId"])
        return run["results"]

    def test_results_are_the_incidents(self):
        results = self.results(self.sarif("list"))
        self.assertEqual([(result["properties"]["id"], result["ruleId"]) for result in results],
                         [(incident["id"], incident["kind"]) for incident in self.incidents])
        for result, incident in zip(results, self.incidents):
            self.assertEqual(list(result["partialFingerprints"].values()), [incident["fingerprint"]])
            self.assertEqual(result["occurrenceCount"], incident["count"])
            self.assertEqual(len(result["stacks"]), len([stack for stack in incident["stacks"].values() if stack]))
        one = self.results(self.sarif("show", self.incidents[0]["id"]))
        self.assertEqual(one, results[:1])

    def test_locations(self):
        by_kind = {result["ruleId"]: result for result in self.results(self.sarif("list"))}
        # The overwritten header's result lies where the block in front was allocated, not where the free found it.
        overwritten = by_kind["header_overwritten"]
        place = overwritten["locations"][0]["physicalLocation"]
        self.assertEqual(place["artifactLocation"], {"uri": "bug.h", "uriBaseId": "%SRCROOT%"})
        related = {place["message"]["text"]: place["physicalLocation"] for place in overwritten["relatedLocations"]}
        self.assertEqual(related["Found when the block was freed here"]["region"]["startLine"],
                         line_of("overflow.c", "free strcpy_nul"))
        twice = by_kind["double_free"]["locations"][0]["physicalLocation"]
        self.assertEqual(twice["artifactLocation"]["uri"], "double_free.c")
        self.assertEqual(twice["region"]["startLine"], line_of("double_free.c", "free after_others"))

    def test_sources_are_named_from_where_the_command_runs(self):
        log = self.sarif("list", folder="/")
        for result in self.results(log):
            for location in result["locations"]:
                artifact = location["physicalLocation"]["artifactLocation"]
                base = log["runs"][0]["originalUriBaseIds"]["%SRCROOT%"]["uri"]
                path = urllib.parse.unquote(urllib.parse.urlsplit(urllib.parse.urljoin(base, artifact["uri"])).path)
                self.assertTrue(pathlib.Path(path).exists(), path)

    def test_of_an_empty_store(self):
        empty = self.hakmem("incidents", "list", "--sarif")
        self.assertEqual(self.results(json.loads(empty.out)), [])

    def test_sarif_or_json(self):
        self.assertEqual(self.hakmem("incidents", "list", "--sarif", "--json").status, 2)

    @unittest.skipUnless(scenario.NODE, "not installed: node")
    def test_format(self):
        """Against the types that are made from the format's schema: no property too many, none missing, none of another
        type. What the types can't say, such as a line's least number, is above."""
        packages = pathlib.Path(scenario.packages())
        check = self.directory / "check"
        check.mkdir()
        text = json.dumps(self.sarif("list"), indent=1)
        # As a literal, so that the compiler looks for properties that the type doesn't have.
        (check / "log.ts").write_text(f"import type {{ Log }} from 'sarif'\nexport const log: Log = {text}\n")
        (check / "wrong.ts").write_text("import type { Log } from 'sarif'\n"
                                        "export const log: Log = { version: '2.1.0', runs: [], unknown: 1 }\n")
        for name, accepted in (("log.ts", True), ("wrong.ts", False)):
            (check / "tsconfig.json").write_text(json.dumps({
                "compilerOptions": {"strict": True, "noEmit": True, "types": [], "module": "esnext",
                                    "moduleResolution": "bundler", "lib": ["es2022"],
                                    "paths": {"sarif": [str(packages / "@types" / "sarif")]}},
                "files": [name]}))
            done = subprocess.run([scenario.NODE, packages / "typescript" / "bin" / "tsc", "-p", check], text=True,
                                  capture_output=True, env=os.environ, timeout=harness.TIMEOUT)
            self.assertEqual(done.returncode == 0, accepted, done.stdout[:3000] + done.stderr[:1000])


if __name__ == "__main__":
    harness.main()
