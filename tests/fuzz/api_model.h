// Calls of the allocator, in several threads, beside what they must come to: each block's address is aligned, its
// contents stand until the program changes them, no other block shares a byte with it, its usable size stays, calloc's
// memory is zero, free keeps errno, and nothing is ever reported of a program that does nothing wrong.
//
// The allocator is linked as ordinary code, so that sanitizers see it, and the program's own malloc stays what it is.
// Blocks lie in slots that all threads take from and put into, so that nearly every block is freed by another thread
// than the one that asked for it.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "core/allocator.h"

namespace hakmem::test {

inline void require(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "api_model: %s\n", what);
    abort();
}

// What the policy under test can do beside allocating: `Calls::control(byte)` is called now and then, and
// `Calls::thread_ends()` in each thread that was started here.
template <class Allocator, class Calls>
class ApiModel {
  public:
    static constexpr std::size_t kMaxThreads = 4;

    // Four bytes a call. The threads share the calls out in equal parts and run them at the same time.
    static void run(const std::uint8_t *data, std::size_t size, std::size_t threads) {
        const std::size_t calls = size / kCallBytes / threads;
        std::vector<std::thread> others;
        for (std::size_t t = 1; t < threads; ++t)
            others.emplace_back([=] {
                run_lane(data + t * calls * kCallBytes, calls, t);
                Calls::thread_ends();
            });
        run_lane(data, calls, 0);
        for (std::thread &other : others) other.join();
        for (Slot &slot : slots_) {
            if (slot.block.memory != nullptr) give_back(slot.block, 0);
            slot.block = {};
        }
    }

  private:
    static constexpr std::size_t kCallBytes = 4;
    static constexpr std::size_t kSlots = 64;
    // Of a larger block only both ends and a byte a page are looked at.
    static constexpr std::size_t kWholeBytes = 8192, kEndBytes = 512, kStep = 4096;

    struct Block {
        unsigned char *memory = nullptr;
        std::size_t asked = 0, usable = 0;
        std::uint32_t id = 0;
        Family family = Family::malloc;
    };

    struct Slot {
        std::atomic<bool> taken{false};
        Block block;
    };

    static void run_lane(const std::uint8_t *data, std::size_t calls, std::size_t lane) {
        std::uint32_t next_id = static_cast<std::uint32_t>(lane) << 28;
        for (std::size_t i = 0; i < calls; ++i, data += kCallBytes) {
            const unsigned size_code = data[2] | data[3] << 8;
            if (data[0] >= 250) {
                elsewhere(data[0], data[1], size_code);
                continue;
            }
            Slot &slot = slots_[data[1] % kSlots];
            if (slot.taken.exchange(true, std::memory_order_acquire)) continue;
            call(data[0], data[1], size_code, slot.block, ++next_id);
            slot.taken.store(false, std::memory_order_release);
        }
    }

    static void elsewhere(std::uint8_t what, std::uint8_t how, unsigned size_code) {
        switch (what) {
            case 250:
                Allocator::trim();
                break;
            case 251:
                // More than there is.
                errno = 0;
                require(Allocator::allocate(SIZE_MAX - size_code) == nullptr && errno == ENOMEM, "SIZE_MAX was had");
                break;
            case 252:
                Allocator::deallocate(nullptr);
                break;
            default:
                Calls::control(how);
                break;
        }
    }

    static std::size_t bytes_of(unsigned code) {
        const std::size_t low = code & 0xFFF;
        switch (code >> 12) {
            case 15:
                return low == 0xFFF ? std::size_t{66} << 20 : low * 256;
            case 14:
            case 13:
                return low * 16;
            case 12:
                return low * 3;
            case 11:
            case 10:
                return low;
            default:
                return low & 0x1FF;
        }
    }

    static void call(std::uint8_t what, std::uint8_t how, unsigned size_code, Block &block, std::uint32_t id) {
        const std::size_t bytes = bytes_of(size_code);
        if (block.memory == nullptr) {
            block = make(what, how, bytes, id);
        } else if (what % 4 == 0 && block.family == Family::malloc) {
            look(block, block.asked);
            auto *memory = static_cast<unsigned char *>(Allocator::reallocate(block.memory, bytes));
            if (bytes == 0) {
                require(memory == nullptr, "realloc to nothing gave something");
                block = {};
                return;
            }
            require(memory != nullptr, "no memory");
            const std::size_t kept = bytes < block.asked ? bytes : block.asked;
            block.memory = memory;
            look(block, kept, true);
            settle(block, bytes, BlockHeader::kBytes, id);
        } else if (what % 4 == 1) {
            look(block, block.usable);
        } else {
            give_back(block, how);
            block = {};
        }
    }

    static Block make(std::uint8_t what, std::uint8_t how, std::size_t bytes, std::uint32_t id) {
        Block block;
        std::size_t alignment = size_classes::kGranule;
        void *memory = nullptr;
        if (what % 8 == 0) {
            alignment = std::size_t{1} << (how >> 4);
            if (alignment < size_classes::kGranule) alignment = size_classes::kGranule;
            block.family = static_cast<Family>(how % 3);
            memory = Allocator::allocate_aligned(alignment, bytes, block.family);
        } else if (what % 8 == 1) {
            memory = Allocator::allocate_zeroed(bytes);
            const auto *byte = static_cast<const unsigned char *>(memory);
            for_each_place(bytes, [&](std::size_t i) { require(byte[i] == 0, "calloc gave what is not zero"); });
        } else {
            block.family = what % 8 < 4 ? static_cast<Family>(how % 3) : Family::malloc;
            memory = Allocator::allocate(bytes, block.family);
        }
        require(memory != nullptr, "no memory");
        block.memory = static_cast<unsigned char *>(memory);
        settle(block, bytes, alignment, id);
        return block;
    }

    // A block as it was handed out: the program writes all that it may.
    static void settle(Block &block, std::size_t bytes, std::size_t alignment, std::uint32_t id) {
        require(address_of(block.memory) % alignment == 0, "not aligned");
        block.asked = bytes;
        block.usable = Allocator::usable_bytes(block.memory);
        block.id = id;
        require(block.usable >= bytes, "usable is less than was asked for");
        for_each_place(block.usable, [&](std::size_t i) { block.memory[i] = pattern(id, i); });
    }

    static void give_back(const Block &block, std::uint8_t how) {
        look(block, block.usable);
        errno = 77;
        Allocator::deallocate(block.memory, {block.family, how % 2 == 0 ? kAnyBytes : block.asked});
        require(errno == 77, "free changed errno");
    }

    static void look(const Block &block, std::size_t bytes, bool moved = false) {
        if (!moved) require(Allocator::usable_bytes(block.memory) == block.usable, "the usable size has changed");
        for_each_place(block.usable, [&](std::size_t i) {
            if (i < bytes) require(block.memory[i] == pattern(block.id, i), "a block has changed");
        });
    }

    static unsigned char pattern(std::uint32_t id, std::size_t i) {
        return static_cast<unsigned char>((id * 0x9E3779B1u + static_cast<std::uint32_t>(i) * 0x85EBCA6Bu) >> 24);
    }

    template <class F>
    static void for_each_place(std::size_t bytes, F f) {
        const std::size_t first = bytes <= kWholeBytes ? bytes : kEndBytes;
        for (std::size_t i = 0; i < first; ++i) f(i);
        if (first == bytes) return;
        for (std::size_t i = kStep; i < bytes - kEndBytes; i += kStep) f(i);
        for (std::size_t i = bytes - kEndBytes; i < bytes; ++i) f(i);
    }

    static inline std::array<Slot, kSlots> slots_{};
};

}  // namespace hakmem::test
