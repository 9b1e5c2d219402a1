"""The catalogue: every buggy program with what is promised for it at each level, and the correct ones beside them.

Plain data. bugs_test.py runs it; tables in the docs are made from it.
"""

import dataclasses

LEVELS = ["count", "verify", "trace", "guard"]


@dataclasses.dataclass(frozen=True)
class Case:
    program: str  # a program of this folder
    case: str  # its first argument
    kind: tuple = ()  # the incident that is promised, any of these; empty for a correct program
    size: int | None = None
    thread: bool = False  # the bug is made in a second thread while the first allocates
    since: str = "count"  # the lowest level that promises it; below, nothing is promised and nothing is run
    until: str = "guard"  # the highest where the bug can be set up
    region: tuple = ()  # of a foreign_pointer
    guard_kind: tuple = ()  # at level guard, where it differs
    mark: str = "free"  # the mark of the line that the free stack must name, None where nobody frees
    guard_mark: str | None = None
    guard_also: tuple = ()  # at level guard, further incidents that the program's bug gives rise to
    options: tuple = ()  # further HAKMEM_OPTIONS
    dies: bool = False  # the program can't go on after this bug
    production: bool = True  # the production library promises to see it too
    unreadable: bool = False  # the address can't be read: production ends by SIGSEGV there, like any allocator

    @property
    def name(self):
        parts = [self.program, self.case]
        if self.size is not None:
            parts.append(str(self.size))
        if self.thread:
            parts.append("thread")
        return ".".join(parts)

    @property
    def arguments(self):
        arguments = [self.case]
        if self.size is not None or self.thread:
            arguments.append(str(self.size if self.size is not None else 100))
        if self.thread:
            arguments.append("thread")
        return arguments

    @property
    def output(self):
        return f"{self.case}: every block intact\n"

    def kinds_at(self, level):
        if not LEVELS.index(self.since) <= LEVELS.index(level) <= LEVELS.index(self.until):
            return ()
        return self.guard_kind if level == "guard" and self.guard_kind else self.kind

    def marks_at(self, level):
        if self.mark is None:
            return ()
        if level == "guard":
            # Slack shows an overflow when the block that was written past its end is freed, which may come first.
            return (self.guard_mark or self.mark, "left")
        return (self.mark,)


def _double_free():
    kind = ("double_free",)
    for size in (15, 24, 500, 1040, 5000, 8100, 20000, 300000):
        yield Case("double_free", "immediate", kind, size)
    for size in (24, 5000, 20000):
        yield Case("double_free", "immediate", kind, size, thread=True)
    # Given back to the kernel, it is nobody's memory any more.
    for size in (5 << 20, 64 << 20):
        yield Case("double_free", "immediate", ("double_free", "foreign_pointer"), size, unreadable=size > 32 << 20)
    for case in ("of_calloc", "after_others", "after_flush", "after_release"):
        yield Case("double_free", case, kind, 100)
    yield Case("double_free", "after_flush", kind, 2000)
    yield Case("double_free", "after_flush", kind, 40, thread=True)
    yield Case("double_free", "after_release", kind, 2000)
    for case in ("after_realloc_moved", "after_realloc_zero", "by_realloc"):
        yield Case("double_free", case, kind, 100)
    yield Case("double_free", "by_realloc", kind, 20000)
    for case in ("of_aligned", "of_page_aligned"):
        yield Case("double_free", case, kind, 100)
        yield Case("double_free", case, kind, 20000)
    yield Case("double_free", "of_huge_aligned", ("double_free", "foreign_pointer"), 100)
    yield Case("double_free", "stale", kind, 100, guard_mark="stale_free")
    for size in (100, 20000):
        yield Case("double_free", "other_thread", kind, size)
        yield Case("double_free", "from_other_thread", kind, size)


def _overflow():
    kind = ("header_overwritten",)
    # With bytes behind the asked size under watch, the write may be seen there instead.
    guard = ("header_overwritten", "redzone_overwritten")
    for size in (8, 24, 60, 100, 500, 1000, 3000, 8000):
        yield Case("overflow", "strcpy_nul", kind, size, guard_kind=guard)
    yield Case("overflow", "strcpy_nul", kind, 100, thread=True, guard_kind=guard)
    for size in (24, 100, 1000, 8000):
        yield Case("overflow", "bytes16", kind, size, guard_kind=guard)
    yield Case("overflow", "bytes16", kind, 100, thread=True, guard_kind=guard)
    for case in ("off_by_one_loop", "all_ones", "pointer_past_end", "found_by_realloc", "threads_overflow"):
        yield Case("overflow", case, kind, 100, guard_kind=guard)
    yield Case("overflow", "from_freed_left", kind, 100, guard_kind=guard + ("use_after_free_write",))
    yield Case("overflow", "underflow", kind, 100, guard_kind=guard)
    yield Case("overflow", "into_other_class", kind, 100, since="verify", guard_kind=guard, production=False)
    yield Case("overflow", "into_free_form", ("header_overwritten", "double_free"), 100,
               guard_kind=guard + ("double_free",))
    yield Case("overflow", "never_freed", kind, 100, since="trace", guard_kind=guard, mark=None, production=False)
    for case in ("into_freed_right", "into_fresh_right"):
        for size in (24, 500):
            yield Case("overflow", case, kind, size, since="trace", guard_kind=guard, mark=None, production=False,
                       options=("sample_bytes=1", "guard_sample=0"))


def _large_header():
    kind = ("large_header_corrupt",)
    # Where nothing of its own lies in front of a block between guard pages, the write hits the one in front.
    page = kind + ("guard_page_access",)
    for size in (20000, 300000, 5 << 20):
        for case in ("flip_one_bit", "all_but_marker"):
            yield Case("large_header", case, kind, size, guard_kind=page if size % 4096 == 0 else ())
    yield Case("large_header", "flip_one_bit", kind, 20000, thread=True)
    for case in ("zeroed", "last_byte"):
        yield Case("large_header", case, kind + ("header_overwritten",), 20000)
    yield Case("large_header", "size_field_grown", kind, 300000)
    yield Case("large_header", "found_by_realloc", kind, 20000)
    yield Case("large_header", "of_aligned", kind, 100, guard_kind=page)
    yield Case("large_header", "of_aligned", kind, 20000, guard_kind=page)
    whole = kind + ("header_overwritten", "interior_pointer")
    yield Case("large_header", "of_aligned_whole", whole, 100, guard_kind=whole + page)


def _interior():
    kind = ("interior_pointer",)
    for size in (100, 5000, 20000, 300000, 5 << 20):
        yield Case("interior", "plus16", kind, size)
    yield Case("interior", "plus16", kind, 100, thread=True)
    yield Case("interior", "plus1", kind, 100)
    yield Case("interior", "plus8", kind, 100)
    yield Case("interior", "half", kind, 1000)
    yield Case("interior", "half", kind, 300000)
    yield Case("interior", "last_byte", kind, 100)
    yield Case("interior", "page_inside", kind, 20000)
    yield Case("interior", "page_inside", kind, 5 << 20)
    yield Case("interior", "by_realloc", kind, 100)
    yield Case("interior", "advanced_cursor", kind, 200)
    yield Case("interior", "advanced_cursor", kind, 20000)
    yield Case("interior", "of_aligned", kind, 1000)
    yield Case("interior", "forged_header", kind, 100, since="verify", production=False)


def _wild():
    def wild(case, *region, **more):
        return Case("wild", case, ("foreign_pointer",), region=region, **more)

    for case in ("stack_array", "stack_middle", "stack_page", "environment"):
        yield wild(case, "stack")
    yield wild("stack_array", "stack", "mapping", thread=True)
    yield wild("thread_stack", "stack", "mapping")
    yield wild("stack_forged_header", "stack", since="verify", production=False)
    for case in ("static_data", "static_bss", "static_page", "string_literal", "function"):
        yield wild(case, "static")
    yield wild("static_data", "static", thread=True)
    yield wild("thread_local_variable", "static", "mapping", "stack")
    for case in ("mapping_start", "mapping_middle", "mapping_second_page", "no_access_page"):
        yield wild(case, "mapping")
    yield wild("no_access_middle", "mapping", unreadable=True)
    for case in ("unmapped_page", "unmapped_behind_mapped", "first_page", "not_canonical_page"):
        yield wild(case, "unmapped")
    for case in ("unmapped_middle", "small_integer", "not_canonical", "minus_one"):
        yield wild(case, "unmapped", unreadable=True)
    yield wild("unmapped_page", "unmapped", thread=True)
    yield wild("by_realloc", "static")


def _cxx():
    double = ("double_free",)
    for case in ("delete_twice", "delete_array_twice", "sized_delete_twice", "nothrow_delete_twice",
                 "aligned_delete_twice", "unique_ptr_twice", "shared_ptr_twice", "vector_data_freed",
                 "string_data_deleted", "copied_handle", "in_unwinding", "in_container", "delete_in_two_threads"):
        mismatch = ("alloc_dealloc_mismatch",) if case in ("vector_data_freed", "string_data_deleted") else ()
        also = ("use_after_free_write", "size_mismatch") if case == "string_data_deleted" else ()
        yield Case("cxx_delete", case, double, guard_kind=mismatch and double + mismatch, guard_also=also)
    for size in (5000, 20000):
        yield Case("cxx_delete", "delete_array_twice", double, size)
        yield Case("cxx_delete", "copied_handle", double, size)
    yield Case("cxx_delete", "delete_array_twice", double, thread=True)
    for case in ("second_base", "scalar_delete_of_array", "delete_reference_element", "delete_map_value"):
        yield Case("cxx_delete", case, ("interior_pointer",))
    for case, region in (("short_string_deleted", "stack"), ("delete_stack_object", "stack"),
                         ("delete_static_object", "static"), ("placement_object", "static")):
        yield Case("cxx_delete", case, ("foreign_pointer",), region=(region,))
    guard = ("header_overwritten", "redzone_overwritten")
    for size in (40, 1000):
        yield Case("cxx_delete", "new_array_overflow", ("header_overwritten",), size, guard_kind=guard)
    yield Case("cxx_delete", "names_without_nul", ("header_overwritten",), guard_kind=guard)


def _guard():
    def guard(program, case, kind, size=100, **more):
        return Case(program, case, (kind,), size, since="guard", production=False, **more)

    for size in (20, 100, 1500, 7000, 30000, 400000):
        yield guard("guard", "redzone_one_byte", "redzone_overwritten", size)
    for case in ("redzone_nul", "redzone_of_calloc", "redzone_of_realloc", "redzone_found_by_realloc",
                 "redzone_of_aligned"):
        yield guard("guard", case, "redzone_overwritten")
    yield guard("guard", "redzone_one_byte", "redzone_overwritten", thread=True)
    yield guard("guard", "redzone_never_freed", "redzone_overwritten", mark=None)
    for size in (20, 100, 1500, 7000, 30000):
        yield guard("guard", "write_after_free", "use_after_free_write", size, mark=None)
    for case in ("write_after_free_first_bytes", "write_after_realloc", "write_after_free_threads"):
        yield guard("guard", case, "use_after_free_write", mark=None)
    # It reads before it writes, which only guard pages see.
    yield guard("guard", "write_after_free_struct", "guard_page_access", mark="write")
    yield Case("guard", "write_after_free_struct", ("use_after_free_write",), 48, since="guard", production=False,
               mark=None, options=("guard_sample=0",))
    # Found when it goes out of quarantine, or at the end; and caught in the act.
    for size in (20, 30000):
        yield Case("guard", "write_after_free_first_bytes", ("use_after_free_write",), size, since="guard",
                   production=False, mark=None, options=("guard_sample=0",))
    yield Case("guard", "write_after_free_in_the_middle", ("use_after_free_write",), 400000, since="guard",
               production=False, mark=None, options=("guard_sample=0",))
    for case in ("redzone_of_grown", "redzone_of_shrunk", "redzone_found_by_growth"):
        for size in (100, 20000):
            yield guard("guard", case, "redzone_overwritten", size, options=("guard_sample=0",))
    for size in (16, 4096, 400000, 3 << 20):
        yield guard("guard", "redzone_nul", "redzone_overwritten", size)
    yield guard("guard", "redzone_long", "redzone_overwritten")
    yield guard("guard", "redzone_long", "redzone_overwritten", 5 << 20)
    for case in ("read_past_end", "read_before_start", "read_after_free", "write_far_past_end"):
        yield guard("guard", case, "guard_page_access", 4096, mark="write", options=("guard_sample=1",), dies=True)
    for case, sizes in (("read_after_free", (20, 1000, 30000, 400000, 5 << 20)), ("read_after_free_late", (100, 30000)),
                        ("read_after_free_of_aligned", (20, 30000)), ("read_after_realloc", (100, 30000, 2 << 20)),
                        ("read_past_end", (1, 100, 8000, 30000, 3 << 20)), ("read_by_strlen", (20, 4000)),
                        ("read_zero_bytes", (0,)), ("read_zero_bytes_of_calloc", (0,)),
                        ("copy_past_end", (4096, 8192, 1 << 19)), ("copy_far_past_end", (100, 100000)),
                        ("read_before_start", (1 << 19, 8 << 20)), ("read_before_second", (50, 20000))):
        for size in sizes:
            yield guard("guard", case, "guard_page_access", size, mark="write")
    yield guard("guard", "write_far_past_end", "redzone_overwritten", mark="write")
    for case in ("read_vector_past_end", "read_deleted"):
        yield guard("cxx_guard", case, "guard_page_access", mark="write")
    # Between guard pages a block lies against either end, by chance.
    for case, kind in (("write_before_start", "header_overwritten"),
                       ("write_before_start_never_freed", "header_overwritten"),
                       ("write_far_before_start", "redzone_overwritten"),
                       ("write_far_before_start_never_freed", "redzone_overwritten")):
        for size in (50, 30000):
            yield Case("guard", case, (kind, "guard_page_access"), size, since="guard", mark=None, production=False,
                       options=("guard_sample=1",))
    yield guard("guard", "write_before_aligned_never_freed", "large_header_corrupt", mark=None,
                options=("guard_sample=0",))
    for case in ("new_free", "new_array_free", "malloc_delete", "malloc_delete_array", "new_array_delete",
                 "new_delete_array", "new_realloc"):
        yield guard("cxx_guard", case, "alloc_dealloc_mismatch")
    for case in ("sized_delete_wrong", "delete_by_base"):
        yield guard("cxx_guard", case, "size_mismatch")
    yield guard("cxx_guard", "vector_past_end", "redzone_overwritten")
    for case in ("stale_reference", "stale_c_str"):
        yield guard("cxx_guard", case, "use_after_free_write", mark=None)


def _short_lived():
    """Programs that end right after their bug: what no free trips over is found in the last look at exit."""
    def short(case, kind, size=100, **more):
        return Case("short_lived", case, (kind,), size, **more)

    guard = ("redzone_overwritten",)
    slots = ("guard_sample=0",)  # what lies behind the block is to be a slot, no guard page
    for size in (10, 100, 5000):
        yield short("overflow_and_exit", "header_overwritten", size, guard_kind=guard, mark=None)
    yield short("overflow_and_exit", "redzone_overwritten", 20000, since="guard", mark=None, production=False)
    for size in (24, 1000):
        yield short("word_past_end", "header_overwritten", size, guard_kind=guard, mark=None)
        yield short("long_overflow", "header_overwritten", size, mark=None, guard_also=guard, options=slots)
    yield short("long_overflow", "redzone_overwritten", 20000, since="guard", mark="free", production=False)
    yield short("byte_before_start", "header_overwritten", mark=None)
    yield short("run_into_next", "large_header_corrupt", 20000, mark=None, until="trace")
    yield short("poison_null_byte", "header_overwritten", guard_kind=guard)
    yield short("overlapping_chunks", "header_overwritten")
    yield short("unsafe_unlink", "header_overwritten", guard_also=guard)
    yield short("fastbin_dup", "double_free")
    yield short("twice_with_use_between", "double_free", guard_also=("use_after_free_write",))
    for size in (100, 300000):
        yield short("delayed", "double_free", size)
    # A sampled block stays in quarantine, and its pages with it.
    yield short("of_a_part_of_another", "interior_pointer", 20000, until="trace", options=("sample_bytes=1073741824",))
    yield short("house_of_spirit", "foreign_pointer", region=("stack",))
    yield short("forged_on_stack", "foreign_pointer", region=("stack",), mark=None)
    yield short("forged_in_block", "interior_pointer", mark=None)
    yield short("never_handed_out", "interior_pointer", options=slots)
    yield short("behind_the_heap", "double_free")
    for size in (0, 8192):
        yield short("protected_page", "foreign_pointer", size, region=("mapping",))
    for size in (0, 16, 100, 4096):
        yield short("plain_page", "foreign_pointer", size, region=("mapping",))
    yield short("size_of_freed", "double_free")
    yield short("size_of_inner", "interior_pointer")
    yield short("size_of_stack", "foreign_pointer", region=("stack",))


def _correct():
    for case in ("zero_sizes", "free_null", "realloc_null", "realloc_to_zero", "realloc_same_size",
                 "realloc_of_aligned", "usable_bytes", "usable_bytes_of_aligned", "huge_alignments", "bad_alignments",
                 "overflowing_sizes", "errno_is_kept", "calloc_is_zero", "libc_blocks", "stdio_blocks",
                 "header_like_contents", "lifo_fifo_random", "fork_and_free", "vfork_and_exec", "at_exit",
                 "early_constructor", "signals_while_allocating", "raise_and_allocate", "address_space_limit",
                 "very_large", "trim_and_info", "plugin", "second_namespace"):
        yield Case("tricky", case)
    for case, size in (("realloc_up_and_down", 4 << 20), ("every_size", 20000), ("page_aligned_by_chance", 31),
                       ("page_aligned_by_chance", 500), ("large_neighbours", 9000), ("large_neighbours", 1 << 20),
                       ("realloc_same_size", 100000), ("header_like_contents", 1000), ("calloc_is_zero", 5000),
                       ("lifo_fifo_random", 3000), ("fork_and_free", 9000), ("errno_without_memory", 100)):
        yield Case("tricky", case, size=size)
    for case in ("freed_by_another", "realloc_by_another", "producer_consumer", "thread_churn", "detached_threads",
                 "thread_exit_destructors", "fork_among_threads", "cancelled_threads", "many_threads",
                 "main_thread_exits"):
        yield Case("tricky_threads", case)
    for case in ("freed_by_another", "producer_consumer"):
        yield Case("tricky_threads", case, size=9000)
    for case in ("every_new", "overaligned_types", "bad_alloc", "new_handler", "virtual_second_base", "array_cookies",
                 "constructor_throws", "containers", "streams", "shared_between_threads", "futures",
                 "memory_resources", "static_destructors"):
        yield Case("cxx_tricky", case)


BUGGY = [*_double_free(), *_overflow(), *_large_header(), *_interior(), *_wild(), *_cxx(), *_guard(), *_short_lived()]
CORRECT = list(_correct())
