"""docs/faq.md: what it says of programs that LD_PRELOAD does not reach, tried."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import unittest

import harness
from harness import need

FAQ = harness.SOURCE / "docs" / "faq.md"
ROOT = os.geteuid() == 0
NOBODY = 65534

TWICE = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char *volatile block = malloc(24);
    free(block);
    if (argc > 1) free(block);
    puts("end");
    fflush(stdout);
    if (argc > 2) sleep((unsigned)atoi(argv[2]));
    return 0;
}
"""

OWN_MALLOC = """
#include <stddef.h>
#include <stdio.h>
#include <string.h>
static char arena[1 << 22];
static size_t used;
void *malloc(size_t size) { char *at = arena + used; used += (size + 31) & ~(size_t)15; return at; }
void free(void *block) { (void)block; }
void *calloc(size_t n, size_t size) { return memset(malloc(n * size), 0, n * size); }
void *realloc(void *old, size_t size) { void *moved = malloc(size); if (old != NULL) memcpy(moved, old, size); return moved; }
int main(void) { for (int i = 0; i < 5000; ++i) { void *volatile block = malloc(24); free(block); } puts("end"); return 0; }
"""


class FaqTest(harness.HakmemTest):
    def setUp(self):
        super().setUp()
        self.directory.chmod(0o755)
        self.runtime = self.directory / "runtime"
        self.runtime.mkdir()
        self.runtime.chmod(0o1777)
        # A copy that everybody may read, wherever the build folder lies.
        self.library = pathlib.Path(shutil.copy(harness.LIBRARIES["diag"], self.directory))

    def compile(self, source=TWICE, compiler="gcc", *flags):
        self._runs += 1
        program = self.directory / f"program{self._runs}"
        subprocess.run([compiler, "-g", "-w", *flags, "-x", "c", "-", "-o", program], input=source, text=True, check=True)
        return program

    def environment(self, **more):
        return harness.clean_environment(self.directory, **({"LD_PRELOAD": self.library, "HAKMEM_RUNTIME_DIR": self.runtime} | more))

    def run_preloaded(self, argv, **more):
        return subprocess.run([str(part) for part in argv], env=self.environment(**more), text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=60)

    def segments(self):
        return list(self.runtime.glob("*.hakmem"))

    def watched(self):
        """Whether the last program left a segment behind; it is taken away."""
        found = self.segments()
        for path in found:
            path.unlink()
        return bool(found)


class Loader(FaqTest):
    def test_an_ordinary_program_is_watched(self):
        done = self.run_preloaded([self.compile()])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "end\n", ""))
        self.assertTrue(self.watched())

    def test_static(self):
        program = self.compile(TWICE, "gcc", "-static")
        done = self.run_preloaded([program])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "end\n", ""))
        self.assertFalse(self.watched())
        program = self.compile('#include <stdio.h>\nint main(void) { return puts("end") < 0; }', "gcc", "-static")
        script = self.directory / "script"
        script.write_text(f"#! {program} argument\n")
        named = self.directory / "named"
        named.write_text(f"#!/usr/bin/env {program.name}\n")
        for path in (script, named):
            path.chmod(0o755)
        pie = self.compile(TWICE, "gcc", "-static-pie")
        for command, file in ((program, program), (script, program), (named, program), (pie, pie)):
            run = self.hakmem_run([command], "--no-exporter", environment={"PATH": f"{self.directory}:{os.environ['PATH']}"})
            self.assertEqual((run.status, run.out, run.err),
                             (0, "end\n", f"hakmem run: {file} is statically linked: nothing can be preloaded into it, "
                                          "only what it starts is watched\n"))

    @need("gcc")
    def test_another_architecture(self):
        """Said by `hakmem run`; whether the kernel can start it is another matter."""
        program = self.compile()
        content = bytearray(program.read_bytes())
        content[18:20] = (183).to_bytes(2, "little")  # e_machine: AArch64
        foreign = self.directory / "foreign"
        foreign.write_bytes(content)
        foreign.chmod(0o755)
        run = self.hakmem_run([foreign], "--no-exporter")
        self.assertIn(f"hakmem run: {foreign} is for another architecture than x86-64: ", run.err)

    def test_cannot_be_preloaded(self):
        done = self.run_preloaded([self.compile()], LD_PRELOAD="/nowhere/libhakmem-diag.so")
        self.assertEqual((done.returncode, done.stdout), (0, "end\n"))
        self.assertIn("from LD_PRELOAD cannot be preloaded (cannot open shared object file): ignored", done.stderr)

    @need("musl-gcc")
    def test_musl(self):
        done = self.run_preloaded([self.compile(TWICE, "musl-gcc")])
        self.assertEqual((done.returncode, done.stdout), (127, ""))
        self.assertRegex(done.stderr, r"(?m)^Error relocating .*libhakmem-diag\.so: \w+: symbol not found")

    def test_own_malloc(self):
        done = self.run_preloaded([self.compile(OWN_MALLOC, "gcc", "-fno-builtin")])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "end\n", ""))
        self.assertFalse(self.watched())

    def test_malloc_of_a_shared_library(self):
        """A program that is linked against another allocator's shared library is watched all the same."""
        library = next(pathlib.Path("/usr/lib/x86_64-linux-gnu").glob("libjemalloc.so.2"), None)
        if library is None:
            self.skipTest("not installed: libjemalloc2")
        done = self.run_preloaded([self.compile(TWICE, "gcc", library, "-Wl,--no-as-needed"), "twice"])
        self.assertEqual((done.returncode, done.stdout), (0, "end\n"))
        listed = json.loads(self.hakmem("ps", "--json", "--runtime-dir", self.runtime).out)
        self.assertEqual([process["counters"]["frees"] > 0 for process in listed], [True])


class Rights(FaqTest):
    @unittest.skipUnless(ROOT, "needs root: makes a setuid program")
    @need("setpriv")
    def test_setuid(self):
        program = self.compile()
        program.chmod(0o4755)
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        done = subprocess.run([*as_nobody, "env", f"LD_PRELOAD={self.library}", program], text=True, capture_output=True,
                              env=harness.clean_environment(self.directory, HAKMEM_RUNTIME_DIR=self.runtime))
        self.assertEqual((done.returncode, done.stdout), (0, "end\n"))
        self.assertFalse(self.watched())
        done = subprocess.run([*as_nobody, harness.COMMAND, "run", "--no-exporter", "--store", ":memory:", "--", program],
                              text=True, capture_output=True, env=harness.clean_environment(self.directory))
        self.assertEqual((done.returncode, done.stdout), (0, "end\n"))
        self.assertIn(f"hakmem run: {program} gains rights by being started", done.stderr)
        done = self.run_preloaded([program])
        self.assertEqual(done.stdout, "end\n")
        self.assertTrue(self.watched(), "as its own user it gains no rights and is watched")

    def test_a_cleaned_environment(self):
        program = self.compile()
        inside = self.hakmem_run(["env", "-i", program, "twice"], "--fail-on-incident")
        self.assertNotIn("double_free", inside.err)
        outside = subprocess.run(["env", "-i", f"HOME={self.directory}", harness.COMMAND, "run", "--no-exporter",
                                  "--fail-on-incident", "--", program, "twice"], capture_output=True, text=True)
        self.assertEqual((outside.returncode, outside.stdout), (86, "end\n"), outside.stderr)

    @unittest.skipUnless(ROOT, "needs root: asks sudo for no password")
    @need("sudo")
    def test_sudo(self):
        program = self.compile()
        inside = self.hakmem_run(["sudo", "-n", program, "twice"])
        self.assertNotIn("hakmem: 1 incident", inside.err)
        outside = subprocess.run(["sudo", "-n", harness.COMMAND, "run", "--no-exporter", "--store", self.directory / "db",
                                  "--fail-on-incident", "--", program, "twice"], capture_output=True, text=True,
                                 env=harness.clean_environment(self.directory))
        self.assertEqual((outside.returncode, outside.stdout), (86, "end\n"), outside.stderr)

    def test_the_same_runtime_dir(self):
        program = self.compile()
        self.run_preloaded([program, "twice"])
        with harness.Exporter(self.directory / "another", self.directory / "a.db", self.new_directory()) as exporter:
            self.assertEqual(exporter.incidents(), [])
        with harness.Exporter(self.runtime, self.directory / "b.db", self.new_directory()) as exporter:
            self.assertEqual([incident["kind"] for incident in exporter.incidents()], ["double_free"])

    def test_into_the_background(self):
        """The command ends, its child goes on: `hakmem run` ends with the command, and another exporter sees the child."""
        program = self.compile()
        begin = time.monotonic()
        done = subprocess.run([harness.COMMAND, "run", "--no-exporter", "--runtime-dir", self.runtime, "--store",
                               self.directory / "db", "--", "/bin/sh", "-c", f"{program} twice 120 >/dev/null 2>&1 & echo $!"],
                              capture_output=True, text=True, env=harness.clean_environment(self.directory), timeout=60)
        child = int(done.stdout)
        self.addCleanup(os.kill, child, harness.signal.SIGTERM)
        self.assertLess(time.monotonic() - begin, 60)
        with harness.Exporter(self.runtime, self.directory / "b.db", self.new_directory()) as exporter:
            alive = [process["pid"] for process in json.loads(exporter.get("/api/v1/processes")) if process["alive"]]
        self.assertEqual(alive, [child])


class Systemd(FaqTest):
    def drop_in(self):
        return re.search(r"```ini\n(.*?)```", FAQ.read_text(), re.DOTALL)[1]

    @need("systemd-analyze")
    def test_the_drop_in_is_valid(self):
        unit = self.directory / "my.service"
        unit.write_text(f"[Unit]\nDescription=mine\n\n[Service]\nExecStart=/bin/true\nProtectSystem=strict\n")
        drop_in = self.directory / "my.service.d" / "hakmem.conf"
        drop_in.parent.mkdir()
        drop_in.write_text(self.drop_in())
        done = subprocess.run(["systemd-analyze", "verify", unit], text=True, capture_output=True,
                              env=harness.clean_environment(self.directory, SYSTEMD_UNIT_PATH=f"{self.directory}:"))
        said = [line for line in (done.stdout + done.stderr).splitlines() if "my.service" in line or "hakmem" in line]
        self.assertEqual((done.returncode, said), (0, []))

    def test_the_drop_in_reaches_the_library(self):
        """Its variables, with the paths of this build."""
        variables = dict(re.findall(r"Environment=(\w+)=(.*)", self.drop_in()))
        self.assertEqual(os.path.basename(variables["LD_PRELOAD"]), harness.LIBRARIES["diag"].name)
        done = self.run_preloaded([self.compile(), "twice"], HAKMEM_OPTIONS=variables["HAKMEM_OPTIONS"])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "end\n", ""))
        self.assertTrue(self.watched())

    @unittest.skipUnless(ROOT, "needs root: mounts a folder read-only")
    def test_a_read_only_runtime_dir(self):
        """What a service with ProtectSystem=strict sees without ReadWritePaths."""
        script = f"mount --bind {self.runtime} {self.runtime} && mount -o remount,bind,ro {self.runtime} && exec \"$@\""
        program = self.compile()
        done = subprocess.run(["unshare", "-m", "bash", "-c", script, "bash", "env", f"LD_PRELOAD={self.library}", program, "twice"],
                              env=harness.clean_environment(self.directory, HAKMEM_RUNTIME_DIR=self.runtime), text=True,
                              capture_output=True, timeout=60)
        if "mount:" in done.stderr or "unshare:" in done.stderr:
            self.skipTest(f"no mount namespace here: {done.stderr.strip()}")
        self.assertEqual((done.returncode, done.stdout), (0, "end\n"), done.stderr)
        said = [line for line in done.stderr.splitlines() if "running without telemetry" in line]
        self.assertEqual(len(said), 1, done.stderr)
        self.assertFalse(self.watched())


@unittest.skipUnless(ROOT, "needs root: makes containers of namespaces and chroot")
class Containers(FaqTest):
    """Each container: a root folder with the program and the shared libraries it needs, and a common volume."""

    def setUp(self):
        super().setUp()
        possible = subprocess.run(["unshare", "-m", "-p", "-f", "true"], capture_output=True, text=True)
        if possible.returncode != 0:
            self.skipTest(f"no namespaces here: {possible.stderr.strip()}")

    def image(self, program):
        root = self.directory / "image"
        (root / "hakmem").mkdir(parents=True)
        (root / "proc").mkdir()
        shutil.copy(program, root / "program")
        needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for path in re.findall(r"(/\S+) \(0x", needed):
            (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / path.lstrip("/"))
        return root

    # The volume is mounted, then the program started, as a container's engine does it.
    CONTAINER = ('mount --bind "$1" "$2/hakmem" && mount -t proc proc "$2/proc" && cd "$2" && '
                 'exec env -i LD_PRELOAD=/hakmem/libhakmem-diag.so HAKMEM_RUNTIME_DIR=/hakmem /usr/sbin/chroot "$2" /program twice "$3"')

    def test_the_library_is_not_in_the_container(self):
        root = self.image(self.compile())
        done = subprocess.run(["unshare", "-m", "env", "-i", f"LD_PRELOAD={self.library}", "/usr/sbin/chroot", root, "/program"],
                              text=True, capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, "end\n"))
        self.assertIn("cannot be preloaded", done.stderr)

    def test_a_sidecar(self):
        """A pod: exporter and program in one PID namespace with a common volume, each in a mount namespace of its own."""
        root = self.image(self.compile())
        shutil.copy(self.library, self.runtime / "libhakmem-diag.so")  # what the init container does
        pod = ('unshare -m "$4" exporter --listen 127.0.0.1:0 --runtime-dir "$1" --store "$5" 2>"$6" & '
               f"unshare -m -n bash -c '{self.CONTAINER}' bash \"$1\" \"$2\" \"$3\" & wait -n; wait")
        log = self.directory / "exporter.log"
        log.touch()
        argv = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "bash", "-c", pod, "bash", self.runtime, root,
                "600", harness.COMMAND, self.directory / "incidents.db", log]
        with harness.running(argv, env=harness.clean_environment(self.directory), stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True) as process:
            url = harness.served_at(process, log.read_text)

            def get(path):
                with harness.urllib.request.urlopen(url + path, timeout=30) as answer:
                    return json.loads(answer.read())

            found = harness.wait_until(lambda: get("api/v1/incidents"), "the incident is there")
            self.assertEqual([(incident["kind"], incident["process"]) for incident in found], [("double_free", "program")])
            self.assertEqual([listed["alive"] for listed in get("api/v1/processes")], [True])
            process.kill()

    def test_another_pid_namespace(self):
        """Seen from outside, it has another number, and lives until it ends."""
        root = self.image(self.compile())
        shutil.copy(self.library, self.runtime / "libhakmem-diag.so")
        argv = ["unshare", "-m", "-p", "-f", "--kill-child", "bash", "-c", self.CONTAINER, "bash", self.runtime, root, "600"]
        with harness.Exporter(self.runtime, self.directory / "incidents.db", self.new_directory()) as exporter:
            def alive():
                return [listed["alive"] for listed in json.loads(exporter.get("/api/v1/processes"))]

            with harness.running(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                found = harness.wait_until(exporter.incidents, "the incident is there")
                self.assertEqual([incident["kind"] for incident in found], ["double_free"])
                self.assertEqual(alive(), [True])
                # By the number that reports and `hakmem ps` have: the program is the first of its container.
                changed = self.hakmem("set", found[0]["pid"], "level=verify", "--runtime-dir", self.runtime)
                self.assertEqual((found[0]["pid"], changed.status), (1, 0), changed)
                process.kill()
            harness.wait_until(lambda: alive() == [False], "its end is seen")

    def test_a_container_beside_the_exporters(self):
        """From a PID namespace that doesn't see it, its life is seen all the same, and its end."""
        root = self.image(self.compile())
        shutil.copy(self.library, self.runtime / "libhakmem-diag.so")

        def alive():
            seen = subprocess.run(["unshare", "-m", "-p", "-f", "--mount-proc", harness.COMMAND, "ps", "--json",
                                   "--runtime-dir", self.runtime], capture_output=True, text=True,
                                  env=harness.clean_environment(self.directory))
            return [listed["alive"] for listed in json.loads(seen.stdout)]

        argv = ["unshare", "-m", "-p", "-f", "--kill-child", "bash", "-c", self.CONTAINER, "bash", self.runtime, root, "600"]
        with harness.running(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            harness.wait_until(lambda: alive() == [True], "the segment is there, of a process that runs")
            process.kill()
        harness.wait_until(lambda: alive() == [False], "it was killed, and its segment says so")


if __name__ == "__main__":
    harness.main()
