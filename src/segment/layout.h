// The segment file: what a process under the diagnostic allocator writes and what the readers interpret.
//
// Plain data with a version, one file a process, mapped MAP_SHARED by the writer. Nothing in it is a pointer into the
// file: sections are found by offset and stride from the header, so a reader can check every one against the file's
// size before it looks. Writers are in src/diag, readers go through segment/reader.h and trust nothing.
//
// All integers are in the host's byte order; a file never leaves the host. Sizes are bytes, times are nanoseconds since
// the Unix epoch unless a name says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hakmem::segment {

inline constexpr std::uint64_t kMagic = 0x31474553'4d4b4148;  // "HAKMSEG1"
inline constexpr std::uint32_t kVersion = 1;

inline constexpr unsigned kSizeClasses = 32;  // small size classes; index 32 of a counter row is "large"
inline constexpr unsigned kCounterRow = kSizeClasses + 1;
inline constexpr unsigned kMaxFrames = 64;
inline constexpr unsigned kMaxDump = 128;
inline constexpr unsigned kBuildIdBytes = 20;

// What bytes behind a block's asked size, and freed memory, are filled with: neither zero, ASCII, 0xFF nor a header
// byte of a block in use; eight of them are no address.
inline constexpr std::uint8_t kSlackFill = 0xFB;
inline constexpr std::uint8_t kFreedFill = 0xDB;

enum class Level : std::uint32_t { count, verify, trace, guard };
inline constexpr const char *kLevelNames[] = {"count", "verify", "trace", "guard"};

enum class OnError : std::uint32_t { keep_going, abort, stop };
inline constexpr const char *kOnErrorNames[] = {"continue", "abort", "stop"};

enum class Hunt : std::uint32_t { off, automatic };
inline constexpr const char *kHuntNames[] = {"off", "auto"};

// What a hunt that is on catches the writer by.
enum class HuntMeans : std::uint32_t { none, watchpoints, guard_pages };
inline constexpr const char *kHuntMeansNames[] = {"none", "watchpoints", "guard_pages"};

enum class FreePath : unsigned { header1, header16, slow };
inline constexpr const char *kFreePathNames[] = {"header1", "header16", "slow"};

enum class HeaderInvalid : unsigned { recovered, foreign, rejected };
inline constexpr const char *kHeaderInvalidNames[] = {"recovered", "foreign", "rejected"};

enum class SlowReason : unsigned { page_boundary, header_invalid, cache_empty, cache_full, large };
inline constexpr const char *kSlowReasonNames[] = {"page_boundary", "header_invalid", "cache_empty", "cache_full",
                                                   "large"};

enum class MincoreResult : unsigned { mapped, unmapped, error };
inline constexpr const char *kMincoreResultNames[] = {"mapped", "unmapped", "error"};

enum class BacktraceCause : unsigned { bad_free, sample };
inline constexpr const char *kBacktraceCauseNames[] = {"bad_free", "sample"};

enum class Kind : std::uint32_t {
    double_free,
    header_overwritten,
    interior_pointer,
    foreign_pointer,
    large_header_corrupt,
    redzone_overwritten,
    use_after_free_write,
    guard_page_access,
    header_write_caught,
    alloc_dealloc_mismatch,
    size_mismatch,
};
inline constexpr const char *kKindNames[] = {
    "double_free",          "header_overwritten",     "interior_pointer",     "foreign_pointer",
    "large_header_corrupt", "redzone_overwritten",    "use_after_free_write", "guard_page_access",
    "header_write_caught",  "alloc_dealloc_mismatch", "size_mismatch",
};
inline constexpr unsigned kKinds = sizeof kKindNames / sizeof *kKindNames;
static_assert(static_cast<unsigned>(Kind::size_mismatch) + 1 == kKinds);

// Where a foreign_pointer points to.
enum class AddressRegion : std::uint32_t { none, stack, static_data, mapping, unmapped };
inline constexpr const char *kAddressRegionNames[] = {"", "stack", "static", "mapping", "unmapped"};

enum class SlotState : std::uint32_t { unknown, in_use, free_slot, never_used };
inline constexpr const char *kSlotStateNames[] = {"unknown", "in_use", "free", "never_used"};

// A run of equal records inside the file.
struct Section {
    std::uint64_t offset;  // bytes from the file's start
    std::uint32_t stride;  // bytes from one record to the next
    std::uint32_t count;   // records
};

// What `hakmem set` and the other commands write and the process obeys. A writer takes the file's flock, if it can be
// had, fills the fields and then raises `generation`, but for an audit; the process compares generations in its slow
// paths.
struct Control {
    std::uint32_t generation;
    std::uint32_t level;     // Level
    std::uint32_t on_error;  // OnError
    std::uint32_t audit_interval_s;
    std::uint64_t sample_bytes;
    std::uint32_t audit_request;  // raised by one to ask for an audit
    std::uint32_t hunt_request;   // raised by one to arm the hunt for what the next two say
    std::uint64_t hunt_key;       // `key` of an incident of this process; 0: none, go by the class
    std::uint32_t hunt_slot_bytes;
    std::uint32_t reserved;
};

// State of the whole heap, written under the page heap's lock, but for the last. Gauges, in bytes.
struct HeapGauges {
    std::uint64_t mapped_bytes;         // address space obtained from the OS for blocks
    std::uint64_t block_bytes;          // of it: spans and runs cut for blocks, in use or free
    std::uint64_t resident_free_bytes;  // of it: whole pages free, not yet given back to the OS
    std::uint64_t quarantine_bytes;     // of block_bytes: freed, and held back from reuse
};

struct Header {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t header_bytes;  // sizeof(Header)
    std::uint64_t file_bytes;
    Section shards;     // CounterShard; record 0 is nobody's: it takes the counts of threads that found no record
    Section incidents;  // IncidentRecord
    Section modules;    // ModuleRecord
    Section stacks;     // StackRecord; record 0 is never used
    std::uint64_t pid;
    std::uint64_t start_ticks;    // /proc/PID/stat field 22, clock ticks since boot
    std::uint64_t pid_namespace;  // inode of /proc/self/ns/pid, in which `pid` counts; 0: unknown
    std::uint64_t start_time_ns;
    std::uint64_t ended_ns;      // 0 while the process runs; set by a clean exit
    std::uint32_t level;         // Level in force
    std::uint32_t control_seen;  // the Control generation that is in force
    std::uint32_t modules_used;
    std::uint32_t incidents_used;   // records claimed so far, at most incidents.count
    std::uint32_t audits_done;      // the audit_request that was last carried out
    std::uint32_t audit_corrupt;    // corrupt headers that audit found
    std::uint32_t shards_used;      // records of `shards` that were ever claimed, record 0 among them
    std::uint32_t stacks_used;      // records of `stacks` that were ever claimed, record 0 among them
    std::uint32_t nudge_signal;     // the signal that makes the process look at `control` at once; 0: none
    std::uint32_t child_untold;     // a forked child could make no segment and has said so: its siblings needn't
    std::uint32_t hunt_means;       // HuntMeans in use
    std::uint32_t hunt_seen;        // the hunt_request that was last looked at
    std::uint32_t hunt_armed;       // the hunt_request that was last granted
    std::uint32_t locked;           // 1: a write lock is on the file for as long as the process has it mapped
    alignas(64) HeapGauges gauges;  // on lines of their own: one is written and the other read by all threads
    alignas(64) Control control;
    std::uint32_t slot_bytes[kSizeClasses];  // slot size of each class
    char version_text[32];                   // of the library
    char process[64];                        // NUL-terminated: HAKMEM_PROCESS or the name that the program was run by
    char exe[1024];                          // NUL-terminated path of the executable
};
static_assert(sizeof(Header) <= 4096);

// Counters of one thread: one writer at a time, plain stores. They only ever grow: when the thread ends its counts stay
// where they are and the next thread that claims the record counts on from there. So nothing is ever moved, and the sum
// over the records [0, shards_used), whatever their `tid`, is right at any instant, also after kill -9.
struct alignas(64) CounterShard {
    std::uint64_t allocations[kCounterRow];
    std::uint64_t frees[kCounterRow];
    std::uint64_t large_allocated_bytes;
    std::uint64_t large_freed_bytes;
    std::uint64_t free_header16;  // frees that went by a 16-byte header
    std::uint64_t free_slow;      // frees that no header could answer; header1 = all frees minus these two
    std::uint64_t header_invalid[3];
    std::uint64_t slow_path[5];
    std::uint64_t mincore_calls[3];
    std::uint64_t incidents[kKinds];
    std::uint64_t incidents_dropped;
    std::uint64_t headers_audited;
    std::uint64_t audits;
    std::uint64_t backtraces[2];
    std::uint64_t last_incident_ns[kKinds];
    std::uint32_t tid;  // 0: no thread counts here now; the counts stand all the same
    std::uint32_t reserved;
};
static_assert(sizeof(CounterShard) % 64 == 0 && sizeof(CounterShard) <= 1024);

// A stack: return addresses, innermost first, each with the module it lay in when it was captured.
struct Stack {
    std::uint32_t frames;
    std::uint32_t reserved;
    std::uint64_t pc[kMaxFrames];
    std::uint16_t module[kMaxFrames];  // index into `modules`, or kNoModule
};
inline constexpr std::uint16_t kNoModule = 0xFFFF;

// One distinct stack that allocated a sampled or guarded block, and the heap profile's sums for it: estimates of what
// all allocations of this stack come to, made unbiased by each sample's weight. Written once and then published by
// `key`; the sums change by single atomic additions.
struct alignas(64) StackRecord {
    std::uint64_t key;  // hash of the frames; 0 until the record may be read
    std::uint32_t frames;
    std::uint32_t reserved;
    std::uint64_t allocated_objects;  // fixed point: 1/256 allocations
    std::uint64_t allocated_bytes;
    std::uint64_t freed_objects;
    std::uint64_t freed_bytes;
    std::uint64_t pc[kMaxFrames];
    std::uint16_t module[kMaxFrames];
};
inline constexpr unsigned kObjectFractionBits = 8;
static_assert(sizeof(StackRecord) == 704);

// One distinct incident of this process: equal kind and equal raw free stack raise `count` of the same record, so a
// bug in a loop can't crowd others out. `sequence` is a seqlock: odd while being written. `count` and `last_ns` change
// after that by single stores.
struct IncidentRecord {
    std::uint32_t sequence;
    std::uint32_t kind;  // Kind
    std::uint64_t key;   // hash of kind and raw stack, never 0 once used
    std::uint64_t count;
    std::uint64_t first_ns;
    std::uint64_t last_ns;
    std::uint64_t address;      // what was freed
    std::uint64_t block;        // start of the block it belongs to, 0 if none
    std::int64_t offset;        // address - block; for a redzone: first bad byte's distance past the asked size
    std::uint64_t slot_bytes;   // slot size (small) or the block's size (large); 0 unknown
    std::uint64_t asked_bytes;  // 0 unknown
    std::uint32_t region;       // AddressRegion
    std::uint32_t outcome;      // HeaderInvalid, or kNoOutcome
    std::uint32_t level;        // Level then in force
    std::uint32_t tid;
    char thread[16];
    std::uint8_t header_found;
    std::uint8_t header_expected;
    std::uint8_t header_known;      // 0: the header could not be read
    std::uint8_t dump_bytes;        // bytes used of `dump`
    std::uint32_t suspect_state;    // SlotState
    std::uint64_t suspect_address;  // 0: no suspect
    std::uint64_t suspect_slot_bytes;
    std::uint64_t dump_address;
    std::uint8_t dump[kMaxDump];
    Stack free;  // where the bad free (or the audit) happened
    Stack alloc;
    Stack previous_free;
    Stack suspect_alloc;
    Stack writer;
};
inline constexpr std::uint32_t kNoOutcome = 0xFFFFFFFF;
static_assert(sizeof(IncidentRecord) <= 4096);

// A loaded object, appended when an incident or a sample first needs it; entries are never changed or removed.
struct ModuleRecord {
    std::uint64_t begin;  // lowest mapped address
    std::uint64_t end;    // one past the highest
    std::uint64_t bias;   // what to subtract from an address to get the file's own virtual address
    std::uint32_t build_id_bytes;
    std::uint8_t build_id[kBuildIdBytes];
    char path[464];  // NUL-terminated
};
static_assert(sizeof(ModuleRecord) == 512);

}  // namespace hakmem::segment
