#include "core/heap.h"

#include <bit>

#include "core/guarded_pages.h"
#include "core/header_byte.h"
#include "core/page_map.h"
#include "os/pages.h"

namespace hakmem {

constinit Heaps heaps;
// Nothing but lists and a lock: its stacks are never used and never touched.
constinit Heap Heaps::central;

// ---- demand ----

unsigned Heap::take_from(Span *span, void **to, unsigned wanted) {
    unsigned taken = 0;
    if (span->free_count != 0) {
        for (std::uint32_t word = 0; word < span->words && taken < wanted; ++word) {
            std::uint64_t bits = span->free_bits()[word];
            if (bits == 0) continue;
            while (bits != 0 && taken < wanted) {
                const unsigned bit = static_cast<unsigned>(std::countr_zero(bits));
                bits &= bits - 1;
                to[taken++] = pointer_to(span->slot(word * 64 + bit));
            }
            span->free_bits()[word] = bits;
        }
        span->free_count -= taken;
    }
    if (taken < wanted && span->carved < span->slots) {
        // Fresh slots get their header here, so that every carved slot carries one at all times, and so does the place
        // behind the last: an overrun of the last block shows there. It stays as it is when its slot's turn comes, for
        // the same reason.
        const std::uint32_t room = span->slots - span->carved;
        const std::uint32_t count = wanted - taken < room ? wanted - taken : room;
        const std::uint8_t header = header_byte::free(span->size_class);
        std::uintptr_t block = span->slot(span->carved);
        if (span->carved == 0) header_byte::store(pointer_to(block), header);
        for (std::uint32_t i = 0; i < count; ++i) {
            to[taken++] = pointer_to(block);
            block += span->slot_bytes();
            header_byte::store(pointer_to(block), header);
        }
        // Whoever sweeps over the span expects a header wherever this says so.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        span->carved += count;
    }
    return taken;
}

unsigned Heap::take(unsigned size_class, void **to, unsigned wanted) {
    LockGuard guard(lock_);
    unsigned taken = 0;
    while (taken < wanted) {
        Span *span = partial_[size_class].head;
        if (span == nullptr) {
            // Some is enough rather than start another span.
            if (taken != 0) break;
            span = span_with_room(size_class);
            if (span == nullptr) break;
        }
        taken += take_from(span, to + taken, wanted - taken);
        if (span->free_count == 0 && span->carved == span->slots) {
            partial_[size_class].remove(span);
            span->in_partial = false;
        }
    }
    return taken;
}

Span *Heap::span_with_room(unsigned size_class) {
    if (remote_.load(std::memory_order_relaxed) != nullptr) {
        collect_remote();
        if (Span *span = partial_[size_class].head) return span;
    }
    if (Span *span = reserve_[size_class]) {
        reserve_[size_class] = nullptr;
        partial_[size_class].push_front(span);
        span->in_partial = true;
        return span;
    }
    if (Span *span = adopt(size_class)) return span;
    return fresh_span(size_class);
}

void Heap::own(Span *span) {
    span->owner.store(this, std::memory_order_seq_cst);
    all_.push_front(span);
    partial_[span->size_class].push_front(span);
    span->in_partial = true;
}

Span *Heap::fresh_span(unsigned size_class) {
    Span *span = page_heap.allocate_small(size_class);
    if (span != nullptr) own(span);
    return span;
}

// A span of an ended thread.
Span *Heap::adopt(unsigned size_class) {
    Heap &central = Heaps::central;
    if (this == &central || central.all_.head == nullptr) return nullptr;
    LockGuard guard(central.lock_);
    if (central.remote_.load(std::memory_order_relaxed) != nullptr) central.collect_remote();
    Span *span = central.partial_[size_class].head;
    if (span != nullptr) {
        central.partial_[size_class].remove(span);
    } else {
        span = central.reserve_[size_class];
        if (span == nullptr) return nullptr;
        central.reserve_[size_class] = nullptr;
    }
    central.all_.remove(span);
    own(span);
    // A post that came in before it could see the new owner.
    if (central.remote_.load(std::memory_order_seq_cst) != nullptr) central.forward_remote();
    return span;
}

// ---- the way home ----

unsigned Heap::give(unsigned size_class, void *const *blocks, unsigned count, Misfits &misfits) {
    LockGuard guard(lock_);
    Span *remote_span = nullptr;  // bits gathered for one word of one foreign span
    std::uint32_t remote_word = 0;
    std::uint64_t remote_mask = 0;
    unsigned let_go = 0;
    for (unsigned i = 0; i < count; ++i) {
        const std::uintptr_t block = address_of(blocks[i]);
        Span *span = page_map.span_of(block);
        std::uint32_t index = 0;
        if (span == nullptr || span->kind != SpanKind::small || span->size_class != size_class ||
            !span->slot_start(block, index)) [[unlikely]] {
            if (misfits.count < Misfits::kRoom) misfits.blocks[misfits.count] = block;
            ++misfits.count;
            continue;
        }
        const std::uint32_t word = index / 64;
        const std::uint64_t mask = std::uint64_t{1} << (index % 64);
        if (span->owner.load(std::memory_order_relaxed) == this) [[likely]] {
            if ((span->free_bits()[word] & mask) != 0) continue;  // free twice behind a repaired header: keep one
            span->free_bits()[word] |= mask;
            span->free_count += 1;
            let_go += after_gain(span);
        } else {
            if (span != remote_span || word != remote_word) {
                if (remote_span != nullptr) give_remote(remote_span, remote_word, remote_mask);
                remote_span = span;
                remote_word = word;
                remote_mask = 0;
            }
            remote_mask |= mask;
        }
    }
    if (remote_span != nullptr) give_remote(remote_span, remote_word, remote_mask);
    return let_go;
}

// An own span got blocks back: list it, or let it go if all of it is free.
bool Heap::after_gain(Span *span) {
    const unsigned size_class = span->size_class;
    if (!span->idle()) {
        if (!span->in_partial) {
            partial_[size_class].push_front(span);
            span->in_partial = true;
        }
        return false;
    }
    if (span->in_partial) {
        partial_[size_class].remove(span);
        span->in_partial = false;
    }
    if (reserve_[size_class] == nullptr) {
        reserve_[size_class] = span;
        return false;
    }
    release(span);
    return true;
}

void Heap::release(Span *span) {
    all_.remove(span);
    span->owner.store(nullptr, std::memory_order_relaxed);
    page_heap.release(span);
}

void Heap::give_remote(Span *span, std::uint32_t word, std::uint64_t mask) {
    // Until the bits are set the blocks still count as out, so the span can't go before it is pinned. The bits count
    // from here on: the owner, who takes off what it finds, would eat into the pin otherwise.
    span->remote_count.fetch_add(Span::kRemotePin + static_cast<std::uint32_t>(std::popcount(mask)),
                                 std::memory_order_relaxed);
    const std::uint64_t before = span->remote_bits[word].fetch_or(mask, std::memory_order_seq_cst);
    const std::uint32_t twice = static_cast<std::uint32_t>(std::popcount(mask & before));
    if (!span->remote_posted.load(std::memory_order_seq_cst) &&
        !span->remote_posted.exchange(true, std::memory_order_seq_cst))
        post(span);
    const std::uint32_t blocks = span->carved - span->free_count;
    const std::uint32_t count = span->remote_count.fetch_sub(Span::kRemotePin + twice, std::memory_order_acq_rel);
    // All of it free, perhaps: its owner may sleep for long, so let it go for them.
    if ((count - twice) % Span::kRemotePin >= blocks) {
        Heap *owner = span->owner.load(std::memory_order_acquire);
        if (owner != nullptr && owner->lock_.try_lock()) {
            owner->collect_remote();
            owner->lock_.unlock();
        }
    }
}

void Heap::post(Span *span) {
    Heap *owner = span->owner.load(std::memory_order_seq_cst);
    Span *head = owner->remote_.load(std::memory_order_relaxed);
    do {
        span->next_remote = head;
    } while (!owner->remote_.compare_exchange_weak(head, span, std::memory_order_seq_cst));
    // If the span changed hands meanwhile, its old owner may never look here again: send it on.
    if (span->owner.load(std::memory_order_seq_cst) != owner) owner->forward_remote();
}

void Heap::forward_remote() {
    Span *span = remote_.exchange(nullptr, std::memory_order_seq_cst);
    while (span != nullptr) {
        Span *next = span->next_remote;
        post(span);
        span = next;
    }
}

void Heap::merge_remote(Span *span) {
    span->remote_posted.store(false, std::memory_order_seq_cst);
    std::uint32_t gained = 0;
    for (std::uint32_t word = 0; word < span->words; ++word) {
        if (span->remote_bits[word].load(std::memory_order_seq_cst) == 0) continue;
        const std::uint64_t bits = span->remote_bits[word].exchange(0, std::memory_order_acquire);
        gained += static_cast<std::uint32_t>(std::popcount(bits & ~span->free_bits()[word]));
        span->free_bits()[word] |= bits;
        span->remote_count.fetch_sub(static_cast<std::uint32_t>(std::popcount(bits)), std::memory_order_relaxed);
    }
    span->free_count += gained;
    if (gained != 0) after_gain(span);
}

void Heap::collect_remote() {
    Span *span = remote_.exchange(nullptr, std::memory_order_seq_cst);
    while (span != nullptr) {
        Span *next = span->next_remote;
        if (span->owner.load(std::memory_order_seq_cst) == this)
            merge_remote(span);
        else
            post(span);
        span = next;
    }
}

// ---- thread end, trimming, fork ----

void Heap::abandon_spans() {
    Heap &central = Heaps::central;
    LockGuard guard(lock_);
    collect_remote();
    LockGuard central_guard(central.lock_);
    // The next thread does what this one did, and finds the same pages touched.
    for (unsigned c = 0; c < size_classes::kCount; ++c) {
        Span *span = reserve_[c];
        if (span == nullptr) continue;
        reserve_[c] = nullptr;
        if (central.reserve_[c] == nullptr)
            central.reserve_[c] = span;
        else
            release(span);
    }
    while (Span *span = all_.pop_front()) {
        if (span->in_partial) partial_[span->size_class].remove(span);
        span->owner.store(&central, std::memory_order_seq_cst);
        central.all_.push_front(span);
        if (span->in_partial) central.partial_[span->size_class].push_front(span);
    }
    // Posts that came in before they could see the new owner. Under the lock, so that a fork finds none on its way.
    forward_remote();
}

void Heap::trim() {
    LockGuard guard(lock_);
    collect_remote();
    for (unsigned c = 0; c < size_classes::kCount; ++c) {
        for (Span *span = partial_[c].head; span != nullptr;) {
            Span *next = span->partial.next;
            if (span->idle()) {
                partial_[c].remove(span);
                release(span);
            }
            span = next;
        }
        if (Span *span = reserve_[c]) {
            reserve_[c] = nullptr;
            release(span);
        }
    }
}

Heap *Heaps::acquire() {
    LockGuard guard(lock_);
    Heap *heap = idle_;
    if (heap != nullptr) {
        idle_ = heap->next_idle;
        return heap;
    }
    heap = static_cast<Heap *>(os::map(sizeof(Heap)));
    if (heap == nullptr) return nullptr;
    heap->next_made = made_.load(std::memory_order_relaxed);
    made_.store(heap, std::memory_order_release);
    return heap;
}

void Heaps::release(Heap *heap) {
    heap->abandon_spans();
    LockGuard guard(lock_);
    heap->next_idle = idle_;
    idle_ = heap;
}

void Heaps::trim_all() {
    for_each([](Heap &heap) { heap.trim(); });
}

void Heaps::lock_all() {
    lock_.lock();
    for (Heap *heap = made_.load(std::memory_order_relaxed); heap != nullptr; heap = heap->next_made)
        heap->lock_.lock();
    central.lock_.lock();
    page_heap.lock().lock();
    guarded_pages.lock().lock();
}

void Heaps::unlock_all() {
    guarded_pages.lock().unlock();
    page_heap.lock().unlock();
    central.lock_.unlock();
    for (Heap *heap = made_.load(std::memory_order_relaxed); heap != nullptr; heap = heap->next_made)
        heap->lock_.unlock();
    lock_.unlock();
}

void Heaps::reset_locks() {
    page_heap.lock().reset();
    guarded_pages.lock().reset();
    central.lock_.reset();
    lock_.reset();
    for (Heap *heap = made_.load(std::memory_order_relaxed); heap != nullptr; heap = heap->next_made)
        heap->lock_.reset();
}

void Heaps::adopt_after_fork(Heap *current) {
    // The other threads do not exist here. What lay in their caches is lost to this process, their spans are not.
    idle_ = nullptr;
    for (Heap *heap = made_.load(std::memory_order_relaxed); heap != nullptr; heap = heap->next_made) {
        if (heap == current) continue;
        heap->abandon_spans();
        heap->next_idle = idle_;
        idle_ = heap;
    }
}

}  // namespace hakmem
