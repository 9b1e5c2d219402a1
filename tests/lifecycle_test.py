"""From first to last allocation: forks, threads, signals, loading, lost rights, scarce resources; at every level.

The program of tests/lifecycle/ checks its own results; here: that it ends as it does without the library, that nothing
is said but what must be, and that there is no false incident (report=stderr would print it).
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import harness

PROGRAM = harness.BUILD / "tests" / "lifecycle" / "lifecycle"
PLUGIN = harness.BUILD / "tests" / "lifecycle" / "liblifecycle_plugin.so"
# Every option that makes the library do more, with the levels: samples of all allocations, many guard pages.
VARIANTS = [("production", None, {}), ("diag", "count", {}), ("diag", "verify", {}),
            ("diag", "trace", {"sample_bytes": 1}), ("diag", "guard", {"guard_sample": 50})]
# Names of cases by class; every case of the program must be in one.
CASES = {
    "Processes": ["fork_thousand", "fork_from_many_threads", "fork_among_files", "fork_of_forks", "vfork_spawn_exec",
                  "exec_among_threads", "daemonise", "no_descriptor_is_kept", "descriptors_are_the_programs",
                  "exit_frees", "blocks_of_glibc"],
    "Threads": ["ten_thousand_threads", "five_hundred_at_once", "threads_end_in_every_way", "first_block_is_aligned",
                "first_call_is_realloc", "statistics_are_not_cancelled", "small_stacks", "coroutines",
                "load_and_unload", "handlers_allocate_and_jump", "stack_overflow_on_alternate_stack",
                "own_faults_end_the_process", "interval_timer", "short"],
    "Rights": ["drop_rights", "change_root", "seccomp_later", "seccomp_from_the_start", "after_seccomp", "limits",
               "short_of_address_space", "waves", "much_to_tell"],
}
# Memory for a program that holds 12 MiB at a time: trace notes each of its blocks here, guard keeps 16 MiB of what was
# freed, slack and both stacks of each block, and pages for one in 50.
PLAIN_MIB, WATCHED_MIB, GUARDED_MIB = 56, 80, 192
ROOT = os.geteuid() == 0
NO_TELEMETRY = r"hakmem: running without telemetry: [^\n]+\n"
ONE_BAD_FREE = r"hakmem: bad free of 0x[0-9a-f]+: foreign_pointer, left alone; [^\n]+\n"


class LifecycleTest(harness.HakmemTest):
    def each_variant(self, case, argument=None, said="", variants=VARIANTS, **more):
        """`said`: what stderr may consist of."""
        argv = [PROGRAM, case] + ([argument] if argument is not None else [])
        expected = self.preload(argv, library=None, **more)
        self.assertEqual(expected.status, 0, expected)
        for library, level, options in variants:
            with self.subTest(case=case, library=library, level=level):
                result = self.preload(argv, library=library, level=level, **more,
                                      options=options | ({"report": "stderr"} if library == "diag" else {}))
                self.assert_same_output(result, expected)
                self.assertRegex(result.err, rf"\A(?:{said})*\Z")


def add_plain(class_, names):
    for name in names:
        setattr(class_, f"test_{name}", lambda self, name=name: self.each_variant(name))


class Processes(LifecycleTest):
    def test_every_case_is_here(self):
        listed = subprocess.run([PROGRAM], capture_output=True, text=True).stdout.split()
        self.assertEqual(sorted(listed), sorted(sum(CASES.values(), [])))

    def test_descriptors_and_a_bad_free(self):
        """Backtraces are taken while the program has files of its own under every low number."""
        for library, level, options in VARIANTS[1:]:
            result = self.preload([PROGRAM, "descriptors_are_the_programs", "bad_free"], library=library, level=level,
                                  options=options)
            self.assertEqual((result.status, result.out, result.err), (0, "ok\n", ""), level)


class Threads(LifecycleTest):
    def test_first_block_is_aligned(self):
        """Every one between guard pages, and none: as slots, pages and a thread's first steps meet here."""
        self.each_variant("first_block_is_aligned",
                          variants=VARIANTS + [("diag", "guard", {"guard_sample": n}) for n in (0, 1)])

    def test_load_and_unload(self):
        self.each_variant("load_and_unload", PLUGIN)


add_plain(Processes, CASES["Processes"])
add_plain(Threads, [name for name in CASES["Threads"] if name not in ("load_and_unload", "first_block_is_aligned")])


class Rights(LifecycleTest):
    def test_limits(self):
        self.each_variant("limits", said=NO_TELEMETRY)

    def test_short_of_address_space(self):
        self.each_variant("short_of_address_space")

    @unittest.skipUnless(ROOT, "not root: setuid, chroot")
    def test_drop_rights(self):
        self.each_variant("drop_rights", said=NO_TELEMETRY)

    @unittest.skipUnless(ROOT, "not root: setuid, chroot")
    def test_change_root(self):
        self.each_variant("change_root", self.new_directory(), said=NO_TELEMETRY)

    def test_seccomp(self):
        for case in ("seccomp_later", "seccomp_from_the_start"):
            self.each_variant(case, said=NO_TELEMETRY)

    def test_seccomp_and_a_bad_free(self):
        """What can't be looked at is left alone; where there is telemetry, it is in it."""
        for case in ("seccomp_later", "seccomp_from_the_start"):
            for library, level, options in VARIANTS:
                with self.subTest(case=case, library=library, level=level):
                    result = self.preload([PROGRAM, case, "bad_free"], library=library, level=level, options=options)
                    self.assertEqual((result.status, result.out), (0, "ok\n"), result)
                    said = ONE_BAD_FREE if library == "production" else NO_TELEMETRY
                    self.assertRegex(result.err, rf"\A(?:{said})*\Z")
                    if library == "diag" and case == "seccomp_later":
                        with self.exporter(result) as exporter:
                            kinds = exporter.metrics().by("hakmem_incidents_total", "kind")
                        self.assertEqual(kinds, {"foreign_pointer": 1})

    def test_limits_before_the_start(self):
        """Under limits that the program itself can live with, the library can too."""
        limits = [("--as", size << 20) for size in (8, 12, 16, 24, 32, 48, 64)]
        limits += [("--nofile", 3), ("--nofile", 4), ("--fsize", 0), ("--stack", 128 << 10), ("--memlock", 0),
                   ("--data", 2 << 20)]
        for limit, value in limits:
            argv = ["prlimit", f"{limit}={value}", "/usr/bin/env", "-i", "/bin/echo", "ok"]
            if self.preload(argv, library=None).status != 0:
                continue
            for library, level, options in VARIANTS:
                with self.subTest(limit=limit, value=value, library=library, level=level):
                    directory = self.new_directory()
                    environment = self.preload_environment(directory / "runtime", library, level, options)
                    settings = [f"{name}={text}" for name, text in environment.items()]
                    result = self.preload([*argv[:4], *settings, *argv[4:]], library=None)
                    # The loader itself may find no room for the library and its dependencies.
                    if re.search("cannot be preloaded|error while loading shared libraries", result.err):
                        continue
                    self.assertEqual((result.status, result.out), (0, "ok\n"), result)
                    # Nor for libunwind.
                    self.assertRegex(result.err, rf"\A(?:{NO_TELEMETRY}|hakmem: no backtraces: [^\n]+\n)*\Z")


@contextlib.contextmanager
def memory_limit(mib):
    """A cgroup for that much memory, of version 1 or 2; None where none can be made."""
    root = pathlib.Path("/sys/fs/cgroup")
    old = (root / "memory").is_dir()
    group = root / ("memory" if old else "") / f"hakmem-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(mib << 20))
        yield group
    except OSError:  # version 2, and nobody hands the controller down
        yield None
    finally:
        group.rmdir()


class Memory(LifecycleTest):
    def test_cgroup(self):
        """What a program gave back is there for it again: it is not ended for want of memory."""
        for library, level, options in [(None, None, {}), *VARIANTS]:
            with self.subTest(library=library, level=level), memory_limit(
                    GUARDED_MIB if level == "guard" else WATCHED_MIB if level == "trace" else PLAIN_MIB) as group:
                if group is None:
                    self.skipTest("not allowed: a cgroup with a memory limit")
                result = self.preload(["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', group, PROGRAM, "waves"],
                                      library=library, level=level, options=options)
                self.assertEqual((result.status, result.out, result.err), (0, "ok\n", ""), result)


def can_mount():
    if not ROOT or shutil.which("unshare") is None:
        return False
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"], capture_output=True)
    return probe.returncode == 0


@unittest.skipUnless(can_mount(), "not allowed: mount in a namespace of its own")
class FileSystems(LifecycleTest):
    """The runtime dir on a file system that is full, too small or read-only: never a SIGBUS in the program."""

    def run_on(self, mount_options, case, library, level, options, *arguments):
        directory = self.new_directory()
        environment = self.preload_environment(directory, library, level, options)
        settings = [f"{name}={text}" for name, text in environment.items()]
        script = f'mount -t tmpfs -o {mount_options} tmpfs {directory} && exec env "$@"'
        return self.preload(["unshare", "-m", "sh", "-c", script, "sh", *settings, PROGRAM, case, *arguments], library=None)

    def test_small(self):
        for kib in (4, 12, 24, 64, 256, 1024, 4096):
            for _, level, options in VARIANTS[1:]:
                with self.subTest(kib=kib, level=level):
                    result = self.run_on(f"size={kib}k,mode=700", "much_to_tell", "diag", level, options, "bad_free")
                    self.assertEqual((result.status, result.out), (0, "ok\n"), result)
                    self.assertRegex(result.err, rf"\A(?:{NO_TELEMETRY})*\Z")

    def test_no_inodes(self):
        for _, level, options in VARIANTS[1:]:
            for inodes in (1, 2, 3):
                result = self.run_on(f"nr_inodes={inodes},mode=700", "fork_from_many_threads", "diag", level, options)
                self.assertEqual((result.status, result.out), (0, "ok\n"), result)
                self.assertRegex(result.err, rf"\A(?:{NO_TELEMETRY})*\Z")

    def test_read_only(self):
        for _, level, options in VARIANTS[1:]:
            result = self.run_on("ro,mode=700", "short", "diag", level, options)
            self.assertEqual((result.status, result.out), (0, "ok\n"), result)
            self.assertRegex(result.err, rf"\A{NO_TELEMETRY}\Z")


if __name__ == "__main__":
    harness.main()
