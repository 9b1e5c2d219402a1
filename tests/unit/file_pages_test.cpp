// Unwind tables leave the memory of the process, come back as they were, and stay where they are not the file's own.
#include "diag/file_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>

namespace hakmem {
namespace {

constexpr std::uintptr_t kPage = 4096;

// A page of the unwind tables of the object that the address lies in; 0 if there is none.
std::uintptr_t page_of_tables(std::uintptr_t address) {
    struct Search {
        std::uintptr_t address, page = 0;
    } search{address};
    dl_iterate_phdr(
        [](dl_phdr_info *info, std::size_t, void *data) {
            auto &search = *static_cast<Search *>(data);
            std::uintptr_t tables = 0;
            bool here = false;
            for (unsigned i = 0; i < info->dlpi_phnum; ++i) {
                const ElfW(Phdr) &part = info->dlpi_phdr[i];
                const std::uintptr_t begin = info->dlpi_addr + part.p_vaddr;
                if (part.p_type == PT_GNU_EH_FRAME) tables = begin;
                if (part.p_type == PT_LOAD) here |= search.address - begin < part.p_memsz;
            }
            if (here && tables != 0) search.page = (tables + kPage - 1) & ~(kPage - 1);
            return here ? 1 : 0;
        },
        &search);
    return search.page;
}

bool is_in_memory(std::uintptr_t address) {
    std::uint64_t word = 0;
    const int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(pread(file, &word, sizeof word, static_cast<off_t>(address / kPage * sizeof word)), 8);
    close(file);
    return word >> 63 != 0;
}

void touch(std::uintptr_t address) { static_cast<void>(*reinterpret_cast<const volatile char *>(address)); }

[[gnu::noinline]] void throw_one() { throw std::runtime_error("one"); }

TEST(FilePages, TablesThatAStackPassedGoAndComeBack) {
    const auto here = reinterpret_cast<std::uintptr_t>(&throw_one);
    const std::uintptr_t page = page_of_tables(here);
    ASSERT_NE(page, 0u);
    file_pages::start(0);
    touch(page);
    ASSERT_TRUE(is_in_memory(page));
    file_pages::let_go({});
    EXPECT_TRUE(is_in_memory(page));
    file_pages::let_go({&here, 1});
    EXPECT_FALSE(is_in_memory(page));
    EXPECT_THROW(throw_one(), std::runtime_error);
}

TEST(FilePages, WhatSomebodyHasWrittenToStays) {
    const auto here = reinterpret_cast<std::uintptr_t>(&throw_one);
    const std::uintptr_t page = page_of_tables(here);
    ASSERT_NE(page, 0u);
    auto *byte = reinterpret_cast<unsigned char *>(page + 100);
    const unsigned char before = *byte;
    ASSERT_EQ(mprotect(reinterpret_cast<void *>(page), kPage, PROT_READ | PROT_WRITE), 0);
    *byte = static_cast<unsigned char>(before + 1);
    ASSERT_EQ(mprotect(reinterpret_cast<void *>(page), kPage, PROT_READ), 0);
    file_pages::start(0);
    file_pages::let_go({&here, 1});
    EXPECT_EQ(*byte, before + 1);
    ASSERT_EQ(mprotect(reinterpret_cast<void *>(page), kPage, PROT_READ | PROT_WRITE), 0);
    *byte = before;
}

}  // namespace
}  // namespace hakmem
