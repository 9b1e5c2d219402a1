// What each kind of incident means, in plain words, and what to do about it. The terminal, the web page and the
// documents take their words from here.
#pragma once

#include <array>

#include "incident/incident.h"
#include "segment/layout.h"

namespace hakmem {

// Steps may hold `commands`; PID, FINGERPRINT, PROCESS and KIND in those stand for the incident's own.
inline constexpr std::size_t kMaxSteps = 4;

struct KindText {
    segment::Kind kind;
    const char *title;
    const char *what;                          // what happened
    const char *why;                           // what that means, and what it usually comes from
    const char *free_title;                    // what the incident's own stack is
    std::array<const char *, kMaxSteps> next;  // steps, null behind the last
};

inline constexpr KindText kKindTexts[] = {
    {segment::Kind::double_free,
     "Double free",
     "a block was freed that was free already",
     "Two owners believe that the block is theirs. Had the allocator taken it back twice, two later allocations would "
     "have shared one piece of memory. Usual causes: an error path that frees what its caller frees as well, a copied "
     "struct with a raw pointer in it, a pointer kept after the free.",
     "Freed again here",
     {"Compare the two free stacks: one of the two functions must stop owning the block.",
      "If the first free is not shown, turn tracing up and let it happen again: `hakmem set PID level=trace "
      "sample_bytes=1`.",
      "Give the block one owner (in C++ a std::unique_ptr), or set the pointer to null where it is freed first.",
      "Deploy the fix, then watch this fingerprint: `hakmem incidents list --fingerprint FINGERPRINT`."}},
    {segment::Kind::header_overwritten,
     "Header overwritten",
     "the header byte in front of a block was overwritten",
     "Somebody wrote to the byte right before this block. In most cases that is the owner of the block in front of it, "
     "who wrote past its end: a string's final NUL, a loop that runs one step too far, a size computed too small. The "
     "code that freed the block is innocent.",
     "Found when the block was freed here",
     {"Look at the suspect, not at the free: the block in front is where the write came from.",
      "If its allocation is not shown, turn tracing up: `hakmem set PID level=trace sample_bytes=1`.",
      "Catch the writer in the act, in the running process: `hakmem hunt PID FINGERPRINT`.",
      "Where the suspect is allocated, compare the size asked for with what is written: a string of n letters needs "
      "n + 1 bytes."}},
    {segment::Kind::interior_pointer,
     "Free of an interior pointer",
     "a pointer into the middle of a block was freed",
     "The block exists, but what was passed to free is not its start. Usual causes: a pointer that was moved on while "
     "parsing, the address of a member, a base class without a virtual destructor, an array freed by its first element "
     "after a cookie.",
     "Freed here",
     {"The offset says how far into the block the pointer was: look for the member or the loop that moves it so far.",
      "Keep the pointer that malloc returned, and free that one.",
      "The block is still allocated: the process leaks it each time."}},
    {segment::Kind::foreign_pointer,
     "Free of a foreign pointer",
     "a pointer was freed that no allocator handed out",
     "The address belongs to no block: a local variable, static data, a mapping, or a pointer that was overwritten.",
     "Freed here",
     {"The region tells what it is: on a stack, a local variable's address; static, a literal or a global; a mapping, "
      "something from mmap; unmapped, an uninitialized or overwritten pointer.",
      "Go up the stack to where the pointer was set, and free only what was allocated.",
      "If the value looks like text or a small number, the pointer itself was overwritten: look for other incidents of "
      "this process around this time: `hakmem incidents list --process PROCESS`."}},
    {segment::Kind::large_header_corrupt,
     "Large header corrupt",
     "the 16-byte header in front of a block fails its checksum",
     "The bytes right before a large or aligned block were overwritten: by its own owner writing before the start, or "
     "by the owner of what lies in front.",
     "Found when the block was freed here",
     {"Look for writes at negative offsets from this block, and for the end of the one in front of it.",
      "See who allocated the block, and how large: `hakmem set PID level=trace sample_bytes=1`.",
      "The bytes below show what was written: text, numbers or pointers often tell whose they are."}},
    {segment::Kind::redzone_overwritten,
     "Write past the end",
     "bytes past the end of a block were overwritten",
     "The program wrote behind the size that it had asked for, into bytes that the allocator fills and checks, or into "
     "the guard page behind them: then the writer's stack is the instruction that did it.",
     "Found when the block was freed here",
     {"The allocation stack shows where the size was chosen: compare it with what is written.",
      "The first bad byte's distance past the end tells how much is missing; 0 is most often a string's NUL.",
      "Catch the writer in the act: `hakmem hunt PID FINGERPRINT`."}},
    {segment::Kind::use_after_free_write,
     "Write after free",
     "a block was written to after it was freed",
     "Somebody kept a pointer to the block and wrote through it after the free. Where a writer's stack is shown, the "
     "block lay between guard pages, and that is the instruction that wrote; else the write was found later, when the "
     "block was about to be used again.",
     "Found here",
     {"The previous free shows who gave the block up: find who still holds a pointer to it.",
      "The changed bytes show what was written, and at which offset: a member of which struct is that?",
      "If the stacks are missing, sample each allocation: `hakmem set PID level=guard sample_bytes=1`."}},
    {segment::Kind::guard_page_access,
     "Access to a guard page",
     "memory outside of a block, or of a freed one, was accessed",
     "The block was one of those that lie between pages without access: the instruction that went wrong is the first "
     "frame of this stack.",
     "Accessed here",
     {"The first frame of the stack is the guilty line itself.",
      "Behind the end of the block: check the size and the loop's bound. In a block that was freed: see the previous "
      "free for who gave it up."}},
    {segment::Kind::header_write_caught,
     "Writer caught",
     "the write that overwrites a block's header was caught in the act",
     "A watchpoint, or a guard page, behind a block of the suspect's allocation site was written to: the writer's "
     "stack "
     "is the instruction that wrote past the end of that block.",
     "Caught here",
     {"The writer's first frame is the guilty line.",
      "Compare what is written there with the size of the suspect's allocation.",
      "Deploy the fix, then watch that the incident behind the hunt does not come back: `hakmem incidents list "
      "--process "
      "PROCESS`."}},
    {segment::Kind::alloc_dealloc_mismatch,
     "Mismatched deallocation",
     "a block was freed by a function that does not match its allocation",
     "For example new[] and delete, or malloc and delete. It works with some allocators and destructors, and corrupts "
     "with others.",
     "Freed here",
     {"The allocation stack shows which function made the block: use the one that belongs to it.",
      "Where a library hands out the block, free it by the library's own function."}},
    {segment::Kind::size_mismatch,
     "Mismatched size",
     "a block was freed with a size that is not its own",
     "A sized delete names another size than the allocation asked for: most often an object deleted through a pointer "
     "to its base class that has no virtual destructor.",
     "Freed here",
     {"Give the base class a virtual destructor, or delete through the right type.",
      "Compare the allocation stack's type with the one that is deleted here."}},
};

static_assert(
    []() {
        for (unsigned i = 0; i < segment::kKinds; ++i)
            if (static_cast<unsigned>(kKindTexts[i].kind) != i) return false;
        return std::size(kKindTexts) == segment::kKinds;
    }(),
    "one row a kind, in the order of the enumeration");

}  // namespace hakmem
