"""Symbols wherever they are: inlined functions, names of C++ and Rust, debug files apart, by debuginfod, in a container;
and where they are not, that is said and nothing is guessed."""

import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import unittest

import harness
from harness import need

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static inline __attribute__((always_inline)) void release(void *p) {
    free(p);  // @inlined
}
__attribute__((noinline)) void give_back(void *p) {
    release(p);  // @first
    __asm__ volatile("");
    release(p);  // @second
    __asm__ volatile("");
}
int main(int argc, char **argv) {
    give_back(malloc(10));
    puts("ready");
    fflush(stdout);
    if (argc > 1) pause();
    return 0;
}
"""
CXX_SOURCE = r"""
#include <cstdlib>
namespace shop { template <class T> struct Order {
    __attribute__((noinline)) void cancel(T *p) { std::free(p); __asm__ volatile(""); }
}; }
int main() { shop::Order<unsigned long> order; auto *p = static_cast<unsigned long *>(std::malloc(10)); order.cancel(p);
    order.cancel(p); }
"""
RUST_SOURCE = r"""
mod shop { pub struct Order<T>(pub T);
    impl<T> Order<T> { #[inline(never)] pub fn cancel(&self, p: *mut u8) { unsafe { super::free(p); } std::hint::black_box(()); } } }
extern "C" { fn free(p: *mut u8); fn malloc(n: usize) -> *mut u8; }
fn main() { let p = unsafe { malloc(10) }; let order = shop::Order(1u64); order.cancel(p); order.cancel(p); }
"""
# push rbp; mov rbp, rsp; call rsi; pop rbp; ret
JIT_SOURCE = r"""
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
int main(void) {
    static const unsigned char kCode[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd6, 0x5d, 0xc3};
    void *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, kCode, sizeof kCode);
    void (*jitted)(void *, void (*)(void *)) = (void (*)(void *, void (*)(void *)))code;
    void *volatile p = malloc(10);
    jitted(p, free);
    jitted(p, free);
    return 0;
}
"""
C_OPTIONS = ["-O2", "-g", "-fno-builtin", "-fno-optimize-sibling-calls", "-Wl,--build-id", "-w"]
DEBUG = pathlib.Path("/usr/lib/debug/.build-id")


def line_of(mark):
    return next(number for number, line in enumerate(SOURCE.splitlines(), 1) if line.endswith(f"// @{mark}"))


@need("gcc", "objcopy", "strip")
class SymbolsTest(harness.HakmemTest):
    def compile(self, source=SOURCE, name="program.c", options=(), compiler="gcc"):
        folder = self.new_directory()
        (folder / name).write_text(source)
        program = folder / "program"
        subprocess.run([compiler, *C_OPTIONS, *options, "-o", program, name], cwd=folder, check=True)
        return program

    def split(self, program):
        """Takes the debug information out of the program; returns the file that has it."""
        debug = program.with_name("debug-file")
        subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
        subprocess.run(["strip", "--strip-all", program], check=True)
        return debug

    def build_id(self, program):
        notes = subprocess.run(["readelf", "-n", program], text=True, capture_output=True, check=True).stdout
        return re.search(r"Build ID: ([0-9a-f]+)", notes)[1]

    def run_once(self, *argv):
        """Runs a program to its end and returns its segment."""
        result = self.preload(argv)
        return next(result.runtime_dir.glob("*.hakmem"))

    @contextlib.contextmanager
    def running(self, *argv, environment=None, runtime_dir=None, **more):
        """Runs a program that makes an incident and waits; yields its segment."""
        runtime_dir = runtime_dir or self.new_directory() / "runtime"
        environment = environment or self.preload_environment(runtime_dir)
        with harness.running(argv, env=harness.clean_environment(self.directory, **environment), stdout=subprocess.PIPE,
                             text=True, **more) as process:
            self.assertEqual(process.stdout.readline(), "ready\n")
            yield next(runtime_dir.glob(f"{process.pid}-*.hakmem"))
            process.stdout.close()

    def frames(self, segment, **environment):
        """The stack of the segment's only incident."""
        inspected = self.hakmem("inspect", "--json", segment, environment=environment)
        self.assertEqual(inspected.status, 0, inspected)
        incident, = json.loads(inspected.out)["incidents"]
        return incident["stacks"]["free"]

    def assert_symbolized(self, frames, program=None):
        self.assertEqual([(frame["function"], frame["line"], frame.get("inlined", False)) for frame in frames[:2]],
                         [("release", line_of("inlined"), True), ("give_back", line_of("second"), False)], frames)
        self.assertEqual(frames[2]["function"], "main")
        if program is not None:
            self.assertEqual(frames[0]["file"], str(program.parent / "program.c"))

    def assert_unknown(self, frame, program, note):
        """Module and offset only, and why."""
        self.assertEqual((frame["module"], frame["note"]), (str(program), note))
        self.assertNotIn("function", frame)
        self.assertNotIn("file", frame)


class Names(SymbolsTest):
    def test_inlined_functions(self):
        program = self.compile()
        self.assert_symbolized(self.frames(self.run_once(program)), program)

    @need("g++")
    def test_cxx(self):
        program = self.compile(CXX_SOURCE, "program.cc", compiler="g++")
        self.assertEqual(self.frames(self.run_once(program))[0]["function"],
                         "shop::Order<unsigned long>::cancel(unsigned long*)")
        # The symbol table alone has the same names.
        subprocess.run(["strip", "--strip-debug", program], check=True)
        frame = self.frames(self.run_once(program))[0]
        self.assertRegex(frame["function"], r"^shop::Order<unsigned long>::cancel\(unsigned long\*\)")
        self.assertNotIn("file", frame)

    @need("rustc")
    def test_rust(self):
        folder = self.new_directory()
        (folder / "program.rs").write_text(RUST_SOURCE)
        subprocess.run(["rustc", "-g", "-O", "program.rs"], cwd=folder, check=True)
        frame = self.frames(self.run_once(folder / "program"))[0]
        self.assertRegex(frame["function"], r"^program::shop::Order<T>::cancel$")
        self.assertEqual(frame["file"], str(folder / "program.rs"))


class Missing(SymbolsTest):
    def test_stripped(self):
        program = self.compile()
        whole = self.frames(self.run_once(program))[1]
        self.split(program)
        segment = self.run_once(program)
        frame = self.frames(segment)[0]
        self.assert_unknown(frame, program, "no symbols")
        self.assertEqual(frame["offset"], whole["offset"])
        build_id = self.build_id(program)
        debug_file = DEBUG / build_id[:2] / f"{build_id[2:]}.debug"
        self.assertEqual(frame["debug_file"], str(debug_file))
        report = self.hakmem("inspect", segment).out
        self.assertIn(f"(program+{frame['offset']}) [no symbols]", report)
        self.assertIn(f"    program: {debug_file}\n", report)

    def test_replaced(self):
        program = self.compile()
        segment = self.run_once(program)
        self.assert_symbolized(self.frames(segment))
        other = self.compile(SOURCE.replace("argc > 1", "argc > 2"))
        shutil.copy(other, program)
        self.assert_unknown(self.frames(segment)[0], program, "the file was replaced since (its build-id differs)")
        program.write_text("#!/bin/sh\n")
        self.assert_unknown(self.frames(segment)[0], program, "not an ELF file")
        program.unlink()
        self.assert_unknown(self.frames(segment)[0], program, "the file is not there any more")
        os.mkfifo(program)
        self.assert_unknown(self.frames(segment)[0], program, "the file is not there any more")

    def test_replaced_while_it_runs(self):
        """The process still has the old file."""
        program = self.compile()
        other = self.compile(SOURCE.replace("argc > 1", "argc > 2"))
        with self.running(program, "wait") as segment:
            os.replace(other, program)
            self.assert_symbolized(self.frames(segment))
            program.unlink()
            self.assert_symbolized(self.frames(segment))

    @unittest.skipUnless(platform.machine() == "x86_64", "the machine code is x86-64's")
    def test_jit(self):
        segment = self.run_once(self.compile(JIT_SOURCE))
        frame = self.frames(segment)[0]
        self.assertEqual((frame["module"], frame["build_id"]), ("", ""))
        for key in ("function", "file", "line"):
            self.assertNotIn(key, frame)
        self.assertIn(f"    #0  {frame['pc']} (no module)\n", self.hakmem("inspect", segment).out)


class Apart(SymbolsTest):
    @unittest.skipUnless(os.access(DEBUG.parent.parent, os.W_OK), f"cannot write below {DEBUG.parent.parent}")
    def test_debug_file_by_build_id(self):
        program = self.compile()
        build_id = self.build_id(program)
        debug = self.split(program)
        segment = self.run_once(program)
        self.assert_unknown(self.frames(segment)[0], program, "no symbols")
        installed = DEBUG / build_id[:2] / f"{build_id[2:]}.debug"
        made = [folder for folder in (DEBUG.parent, DEBUG, installed.parent) if not folder.exists()]
        installed.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy(debug, installed)
            self.assert_symbolized(self.frames(segment), program)
            # It tells nearly as much where the program is gone.
            program.unlink()
            self.assert_symbolized(self.frames(segment), program)
        finally:
            installed.unlink()
            for folder in reversed(made):
                folder.rmdir()

    @need("debuginfod")
    def test_debuginfod(self):
        program = self.compile()
        debug = self.split(program)
        served = self.new_directory()
        shutil.move(debug, served / "program.debug")
        segment = self.run_once(program)
        port = harness.free_port()
        log = open(served / "log", "w")
        self.addCleanup(log.close)
        server = ["debuginfod", "-d", ":memory:", "-p", str(port), "-F", str(served)]
        with harness.running(server, stdout=log, stderr=log, env=harness.clean_environment(served)):
            # Symbols come once the server has looked through its folder.
            cache = self.new_directory()
            frames = harness.wait_until(
                lambda: (lambda seen: seen if "function" in seen[0] else None)(self.frames(
                    segment, DEBUGINFOD_URLS=f"http://127.0.0.1:{port}", DEBUGINFOD_CACHE_PATH=str(cache / "cache"),
                    DEBUGINFOD_TIMEOUT="5", DEBUGINFOD_RETRY_LIMIT="0") if not shutil.rmtree(cache / "cache", True) else None),
                "debuginfod has the symbols")
            self.assert_symbolized(frames, program)
        # Not configured: nobody is asked.
        self.assert_unknown(self.frames(segment)[0], program, "no symbols")


def can_make_mounts():
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@unittest.skipUnless(can_make_mounts(), "may not have mounts of its own")
class Container(SymbolsTest):
    def container(self, *programs, with_unwinder=True):
        """A root of its own with these programs, the library, and what they need."""
        root = self.new_directory()
        (root / "run").mkdir(mode=0o700)
        (root / "proc").mkdir()
        library = harness.LIBRARIES["diag"]
        # The library loads libunwind by itself.
        cache = subprocess.run(["/sbin/ldconfig", "-p"], text=True, capture_output=True, check=True).stdout
        unwinder = re.search(r"libunwind\.so\.8 .* => (\S+)", cache)[1]
        if with_unwinder:
            (root / unwinder[1:]).parent.mkdir(parents=True)
            shutil.copy(unwinder, root / unwinder[1:])
        for file in (*programs, library, unwinder):
            listed = subprocess.run(["ldd", file], text=True, capture_output=True, check=True).stdout
            for needed in re.findall(r"(/\S+) \(0x", listed):
                if not (root / needed[1:]).exists():
                    (root / needed[1:]).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(needed, root / needed[1:])
        (root / "lib").mkdir(exist_ok=True)
        (root / "usr" / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / "lib" / library.name)
        return root, {"LD_PRELOAD": f"/lib/{library.name}", "HAKMEM_OPTIONS": "runtime_dir=/run"}

    @contextlib.contextmanager
    def running_in(self, root, environment):
        # Only the program runs under the library.
        enter = ('mount -t proc proc "$1/proc" && '
                 'exec chroot "$1" /usr/bin/env LD_PRELOAD="$2" HAKMEM_OPTIONS="$3" /opt/current/program wait')
        with self.running("unshare", "--mount", "sh", "-c", enter, "sh", root, environment["LD_PRELOAD"],
                          environment["HAKMEM_OPTIONS"], environment={"PATH": os.environ["PATH"]},
                          runtime_dir=root / "run") as segment:
            yield segment

    def test_without_an_unwinder(self):
        program = self.compile()
        root, environment = self.container(program, with_unwinder=False)
        shutil.copy(program, root / "program")
        done = subprocess.run(["/usr/sbin/chroot", root, "/program"], text=True, capture_output=True, env=environment, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("hakmem: no backtraces: libunwind.so.8 cannot be loaded\n", done.stderr)

    def test_files_are_the_processs_own(self):
        program = self.compile()
        debug = self.split(program)
        build_id = self.build_id(program)
        root, environment = self.container(program, "/usr/bin/env")
        shutil.copy("/usr/bin/env", root / "usr" / "bin" / "env")
        (root / "opt" / "v1").mkdir(parents=True)
        # A link that leads elsewhere from outside.
        (root / "opt" / "current").symlink_to("/opt/v1")
        shutil.copy(program, root / "opt" / "v1" / "program")
        with self.running_in(root, environment) as segment:
            self.assert_unknown(self.frames(segment)[0], pathlib.Path("/opt/v1/program"), "no symbols")
            installed = root / "usr" / "lib" / "debug" / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
            installed.parent.mkdir(parents=True)
            shutil.copy(debug, installed)
            self.assert_symbolized(self.frames(segment))
            process = int(segment.name.split("-")[0])
            os.kill(process, signal.SIGKILL)
            harness.wait_until(lambda: not os.path.exists(f"/proc/{process}/root/opt"), "the process is gone")
            self.assert_unknown(self.frames(segment)[0], pathlib.Path("/opt/v1/program"), "the file is not there any more")


if __name__ == "__main__":
    harness.main()
