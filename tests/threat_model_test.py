"""docs/threat-model.md names a test for each line, and each is there; the binaries are hardened; its odds are so."""

import re
import subprocess
import unittest

import harness


class ThreatModel(unittest.TestCase):
    def test_every_named_test_exists(self):
        lines = re.findall(r"^\|.*\| `(\S+): (\w+)` \|$", (harness.SOURCE / "docs" / "threat-model.md").read_text(), re.MULTILINE)
        self.assertGreater(len(lines), 15)
        for file, name in lines:
            text = (harness.SOURCE / "tests" / file).read_text()
            self.assertRegex(text, rf"\bdef {name}\(|, {name}\)", file)


class Odds(unittest.TestCase):
    """The table of an overflow by one byte is what the command prints, to the digit: every value is tried."""

    def test_table_is_current(self):
        printed = subprocess.run([harness.SOURCE / "tests" / "fuzz" / "odds", "--build", harness.BUILD], text=True,
                                 stdout=subprocess.PIPE, check=True, timeout=harness.TIMEOUT).stdout
        self.assertIn(printed, (harness.SOURCE / "docs" / "threat-model.md").read_text())


class Hardening(unittest.TestCase):
    @staticmethod
    def readelf(option, path):
        return subprocess.run(["readelf", "-W", option, path], text=True, capture_output=True, check=True).stdout

    def check(self, path):
        segments = self.readelf("-l", path)
        self.assertIn("GNU_RELRO", segments)
        self.assertRegex(segments, r"GNU_STACK .* RW +0x")
        self.assertNotRegex(segments, r"(?m)^ +LOAD .* RWE ")
        self.assertNotRegex(self.readelf("-d", path), r"\((RPATH|TEXTREL)\)")

    def test_libraries(self):
        for path in harness.LIBRARIES.values():
            self.check(path)
            self.assertRegex(self.readelf("-d", path), r"\(FLAGS.*\bNOW\b|BIND_NOW")

    def test_command(self):
        self.check(harness.COMMAND)
        self.assertIn("DYN (Position-Independent Executable", self.readelf("-h", harness.COMMAND))


if __name__ == "__main__":
    harness.main()
