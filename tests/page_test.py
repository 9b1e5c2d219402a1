"""The web page in Debian's Chromium, its TypeScript checked, and the pure parts of it by themselves."""

import json
import os
import subprocess
import unittest

import harness
from ui import scenario

UI = harness.SOURCE / "tests" / "ui"
PAGE = harness.SOURCE / "exporters" / "web" / "page"
MAKE_STORE = harness.BUILD / "tests" / "programs" / "make_store"


def page_packages():
    """The packages that the build has bundled."""
    folders = sorted((harness.BUILD / "exporters" / "web" / "page").glob("packages-*/node_modules"), key=os.path.getmtime)
    return folders[-1]


class NodeTest(harness.HakmemTest):
    def run_node(self, *arguments, **environment):
        environment = os.environ | {key: str(value) for key, value in environment.items()}
        done = subprocess.run([scenario.NODE, *map(str, arguments)], text=True, capture_output=True, env=environment,
                              stdin=subprocess.DEVNULL, timeout=harness.TIMEOUT, cwd=self.directory)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-3000:])


class Types(NodeTest):
    def test_types(self):
        packages, tests = page_packages(), scenario.packages()
        config = {
            "compilerOptions": {
                "strict": True, "noEmit": True, "target": "es2022", "lib": ["es2022", "dom", "dom.iterable"],
                "module": "esnext", "moduleResolution": "bundler", "jsx": "react-jsx", "jsxImportSource": "preact",
                "types": [], "noUnusedLocals": True, "noUnusedParameters": True, "noImplicitReturns": True,
                "paths": {
                    "d3-hierarchy": [str(tests / "@types" / "d3-hierarchy")],
                    "preact": [str(packages / "preact")], "preact/*": [str(packages / "preact" / "*")],
                    "uplot": [str(packages / "uplot")],
                },
            },
            "include": [str(PAGE / "src")],
        }
        (self.directory / "tsconfig.json").write_text(json.dumps(config))
        self.run_node(tests / "typescript" / "bin" / "tsc", "-p", self.directory / "tsconfig.json")


class Pure(NodeTest):
    def test_pure_parts(self):
        self.run_node("--test", UI / "pure_test.mjs", HAKMEM_PAGE_PACKAGES=page_packages(), HAKMEM_PAGE=PAGE)


@unittest.skipUnless(scenario.CHROMIUM, "not installed: chromium")
class Browser(NodeTest):
    def test_page(self):
        many = self.directory / "many.db"
        subprocess.run([MAKE_STORE, many, "10000", "500"], check=True)
        runtime_dir = self.new_directory()
        runtime_dir.chmod(0o700)
        with harness.Exporter(runtime_dir, many, self.new_directory()) as exporter, \
                scenario.scenario(self.new_directory()) as shown:
            self.run_node("--test", UI / "page_test.mjs", HAKMEM_UI_PACKAGES=scenario.packages(),
                          HAKMEM_CHROMIUM=scenario.CHROMIUM, HAKMEM_URL=shown.url, HAKMEM_PIDS=json.dumps(shown.pids),
                          HAKMEM_MANY_URL=exporter.url.rstrip("/"))


if __name__ == "__main__":
    harness.main()
