"""The include order of src/README.md: a folder may include itself and the folders above it, nothing below."""

import pathlib
import re
import unittest

import harness

SRC = harness.SOURCE / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def layers():
    """Folder names from the table of src/README.md, lowest first."""
    return re.findall(r"^\| `([a-z]+)/` \|", (SRC / "README.md").read_text(), re.MULTILINE)


def sources(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in {".h", ".cpp", ".c", ".inc", ".S"})


def includes(path):
    for name in INCLUDE.findall(path.read_text()):
        yield name, pathlib.PurePath(name).parts[0] if "/" in name else None


class Layers(unittest.TestCase):
    def test_every_folder_is_in_the_table(self):
        folders = {path.name for path in SRC.iterdir() if path.is_dir()}
        self.assertEqual(folders, set(layers()) & folders, "a folder of src/ is missing from the table")
        self.assertGreater(len(layers()), 3)

    def test_no_include_goes_down(self):
        order = layers()
        for folder in order:
            allowed = set(order[:order.index(folder) + 1])
            for path in sources(SRC / folder):
                for name, target in includes(path):
                    if target in order:
                        self.assertIn(target, allowed, f"{path.relative_to(SRC)} includes {name}")

    def test_core_knows_no_policy(self):
        for folder in ("segment", "base", "os", "core"):
            for path in sources(SRC / folder):
                for name, target in includes(path):
                    self.assertNotIn(target, {"diag", "malloc"}, f"{path.relative_to(SRC)} includes {name}")

    def test_the_command_reads_segments_only(self):
        """Of the library's folders the command knows the segment, and of diag/ its options and the runtime dir."""
        for path in sources(harness.SOURCE / "exporters"):
            for name, target in includes(path):
                self.assertNotIn(target, {"core", "malloc", "os"}, f"{path.relative_to(harness.SOURCE)} includes {name}")
                if target == "diag":
                    self.assertRegex(name, r"^diag/(options|runtime_dir)\.h$", f"{path.relative_to(harness.SOURCE)}")


if __name__ == "__main__":
    harness.main()
