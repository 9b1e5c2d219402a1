"""The Debian package, built of this build folder: clean by lintian, and installed, used and removed in a copy of the
system that is thrown away; and the exporter as its unit runs it, by a user who owns none of the segments."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import harness
from harness import need

# Over the system's own files: what is installed there goes into memory and is gone afterwards.
IN_A_COPY = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --bind /dev "$1/root/dev"
for folder in $2; do mkdir -p "$1/root$folder"; mount --bind "$folder" "$1/root$folder"; done
exec chroot "$1/root" /bin/bash -euc "$3" bash
"""

# What the script in the copy does, each step under a name.
USE = """
say() { printf '== %s\\n' "$*"; }
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root/of-the-copy LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
mkdir -p "$HOME"  # not the machine's, which may have a store
unset MANPATH
[ ! -e /usr/bin/hakmem ]
dpkg -i @DEBS@ >&2
say version; hakmem --version
say libraries; hakmem run --no-exporter -- cat /proc/self/maps | grep -o '/usr/lib/.*libhakmem.*' | sort -u
say clean; seq 100000 | hakmem run --no-exporter --fail-on-incident --level guard -- sort -R | wc -l
say status; hakmem run --no-exporter --fail-on-incident -- @PROGRAM@ 300 0 2>&1 || echo "status $?"
say incidents; hakmem incidents list --json
say man; man -w hakmem hakmem-options hakmem-metrics
say whatis; man -f -l hakmem 2>/dev/null || true
say runtime; stat -c '%a %U' /run/hakmem 2>/dev/null || echo none
say unit; if command -v systemd-analyze >/dev/null; then systemd-analyze verify hakmem-exporter.service 2>&1; fi
say security; if command -v systemd-analyze >/dev/null; then
    systemd-analyze security --offline=true --no-pager /lib/systemd/system/hakmem-exporter.service | tail -n 1; fi
say header; pkg-config --modversion hakmem; printf '#include <hakmem.h>\\nint main(void) { return 0; }\\n' > /tmp/own.c
gcc -Wall -Werror $(pkg-config --cflags hakmem) /tmp/own.c -o /tmp/own $(pkg-config --libs hakmem); /tmp/own && echo fine
say files; dpkg -L hakmem libhakmem-dev > /tmp/hakmem-files
dpkg -P libhakmem-dev hakmem >&2
say left; while read -r file; do [ -d "$file" ] || [ ! -e "$file" ] || echo "$file"; done < /tmp/hakmem-files
say done
"""


def steps(text):
    """The output of each step by its name."""
    parts = re.split(r"(?m)^== (.*)\n", text)
    return dict(zip(parts[1::2], parts[2::2]))


@need("dpkg-buildpackage", "dh")
class Package(harness.HakmemTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(os.path.realpath("/tmp")) / f"hakmem-package-{os.getpid()}"
        cls.folder.mkdir()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        # From what `git archive` would give: no git tree.
        archive = cls.folder / "archive"
        exported = subprocess.run(["git", "-c", "safe.directory=*", "checkout-index", "--all", f"--prefix={archive}/"],
                                  cwd=harness.SOURCE, capture_output=True)
        source = archive if exported.returncode == 0 else harness.SOURCE
        done = subprocess.run(
            [source / "packaging" / "build_deb", "--build", harness.BUILD, "--output", cls.folder], text=True,
            capture_output=True, env=os.environ | {"DEB_BUILD_OPTIONS": "noautodbgsym", "LC_ALL": "C.UTF-8"})
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        cls.packages = sorted(cls.folder.glob("*.deb"))

    @need("lintian")
    def test_lintian(self):
        done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning",
                               "--tag-display-limit", "0", *self.packages], text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "needs root: it installs a package")
    def test_install_use_and_remove(self):
        if os.path.exists("/usr/bin/hakmem"):
            self.skipTest("the package is installed on this machine")
        possible = subprocess.run(["unshare", "-m", "bash", "-euc", IN_A_COPY, "bash", self.directory, "", "true"],
                                  capture_output=True, text=True)
        if possible.returncode != 0:
            self.skipTest(f"no copy of the system can be made here: {possible.stderr.strip()}")
        # What lies on file systems of its own (as /tmp may) is not part of the copy.
        script = USE.replace("@DEBS@", " ".join(map(str, self.packages))).replace(
            "@PROGRAM@", str(harness.BUILD / "examples" / "order_service"))
        done = subprocess.run(["unshare", "-m", "-p", "-f", "bash", "-euc", IN_A_COPY, "bash", self.directory,
                               f"{self.folder} {harness.BUILD}", script],
                              capture_output=True, text=True, timeout=harness.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        said = steps(done.stdout)
        self.assertRegex(said["version"], r"^hakmem \d")
        self.assertRegex(said["libraries"], r"^/usr/lib/x86_64-linux-gnu/libhakmem-diag\.so\n$")
        self.assertEqual(said["clean"].strip(), "100000")
        self.assertIn("status 86", said["status"])
        self.assertEqual({incident["kind"] for incident in json.loads(said["incidents"])},
                         {"double_free", "header_overwritten"})
        self.assertEqual([os.path.basename(page) for page in said["man"].split()],
                         ["hakmem.1.gz", "hakmem-options.7.gz", "hakmem-metrics.7.gz"])
        if shutil.which("systemd-tmpfiles"):
            self.assertEqual(said["runtime"].strip(), "1777 root")
        self.assertEqual(said["unit"], "")
        if shutil.which("systemd-analyze"):
            exposure = float(re.search(r"([0-9.]+)", said["security"].split(":")[-1])[1])
            self.assertLess(exposure, 3, said["security"])
        self.assertRegex(said["header"], r"^\d\S*\nfine\n$")
        self.assertEqual(said["left"], "")
        self.assertFalse(os.path.exists("/usr/bin/hakmem"), "the package went into the machine itself")


@unittest.skipUnless(os.geteuid() == 0, "needs root: it acts as another user with two capabilities")
@need("setpriv")
class SystemExporter(harness.HakmemTest):
    """The unit's DynamicUser with its capabilities, over segments of root in a folder like /run/hakmem."""

    def setUp(self):
        super().setUp()
        self.directory.chmod(0o755)
        self.runtime = self.directory / "runtime"
        self.runtime.mkdir()
        self.runtime.chmod(0o1777)
        self.state = self.directory / "state"
        self.state.mkdir()
        os.chown(self.state, 65534, 65534)
        # Copies that the user may read, wherever the build folder lies.
        for path in (harness.COMMAND, harness.BUILD / "tests" / "bugs" / "double_free"):
            shutil.copy(path, self.directory)

    @staticmethod
    def as_user(*capabilities):
        rights = ",".join(f"+{name}" for name in capabilities)
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
                *([f"--inh-caps={rights}", f"--ambient-caps={rights}"] if rights else [])]

    def start(self, *capabilities):
        """The exporter's address."""
        log = open(self.directory / "log", "w+")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [*self.as_user(*capabilities), self.directory / "hakmem", "exporter", "--listen", "127.0.0.1:0", "--runtime-dir", self.runtime,
             "--store", self.state / "incidents.db"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=harness.clean_environment(self.state))
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        return harness.served_at(process, lambda: pathlib.Path(log.name).read_text())

    @staticmethod
    def get(url):
        with harness.urllib.request.urlopen(url, timeout=30) as answer:
            return json.loads(answer.read())

    def run_program(self):
        subprocess.run([self.directory / "double_free", "immediate", "24"], check=True, capture_output=True,
                       env=harness.clean_environment(self.directory) | {
                           "LD_PRELOAD": str(harness.LIBRARIES["diag"]),
                           "HAKMEM_OPTIONS": f"runtime_dir={self.runtime}"})

    def test_reads_and_symbolizes(self):
        url = self.start("dac_read_search", "fowner")
        self.run_program()
        found = harness.wait_until(lambda: self.get(url + "api/v1/incidents"), "the incident is there")
        frame = harness.own_frame(found[0]["stacks"]["free"])
        self.assertTrue(frame.get("function"), found)

    def test_may_delete_segments(self):
        """What the exporter does with a segment a minute after its process ended."""
        self.run_program()
        segment, = self.runtime.iterdir()
        for capabilities, deleted in (([], False), (["dac_read_search", "fowner"], True)):
            subprocess.run([*self.as_user(*capabilities), "rm", "-f", segment], capture_output=True)
            self.assertEqual(not segment.exists(), deleted)

    def test_does_not_lend_its_right_to_read(self):
        """A module that its user may not read is not opened, though the right to read every file would allow it."""
        (self.directory / "double_free").chmod(0o700)
        url = self.start("dac_read_search", "fowner")
        self.run_program()
        found = harness.wait_until(lambda: self.get(url + "api/v1/incidents"), "the incident is there")
        own = [frame for frame in found[0]["stacks"]["free"] if frame["module"].endswith("double_free")]
        self.assertTrue(own)
        self.assertEqual([frame for frame in own if "function" in frame], [])

    def test_without_the_right_others_segments_are_left_alone(self):
        url = self.start()
        self.run_program()
        self.assertEqual(self.get(url + "api/v1/incidents"), [])
        self.assertEqual(len(list(self.runtime.iterdir())), 1)


if __name__ == "__main__":
    harness.main()
