// Facts about the process we live in, read without allocating and, at start, before libc's own constructors ran.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace hakmem::process {

// Where the kernel put argc, argv and the environment, as the dynamic loader tells: right above what the main thread
// has on its stack. 0 if it does not.
std::uintptr_t main_stack_end();

// The environment: libc's, or before libc has set it the one on the initial stack. Null if neither is there.
char **environment();

// The value of NAME in `environment`, or null.
const char *variable(char *const *environment, const char *name);

// Whether programs that this one starts, and its forks, are to be watched.
bool watches_children(char *const *environment);

// True for a program that runs with more rights than its caller: no environment, no files.
bool is_secure();

// Clock ticks since boot at which this process started: /proc/self/stat field 22. 0 if /proc can't say.
std::uint64_t start_ticks();

// The same out of the file's text; 0 if it isn't there.
std::uint64_t start_ticks_of_stat(const char *stat, std::size_t length);

// The PID namespace that this process is in: the inode of /proc/self/ns/pid. 0 if /proc can't say.
std::uint64_t pid_namespace();

// The path of the executable, cut to the buffer; empty if unknown.
void executable(char *buffer, std::size_t capacity);

const char *base_name(const char *path);

// The path that exec was called with; null if unknown. Of a script it is the script's.
const char *called_as();

// What users know the program by: the base name of the path it was called by where that is its executable, be it
// through a link, as redis-server is one to redis-check-rdb; else the executable's. A script is its interpreter.
const char *name(const char *called, const char *executable);

std::uint64_t realtime_ns();

pid_t thread_id();

// Takes the entry with the base name `library` out of LD_PRELOAD in `environment`, in place, so that programs started
// from here are not watched.
void remove_from_preload(char **environment, const char *library);

}  // namespace hakmem::process
