// Replaces operator new, so that a test can make the n-th allocation fail and count live allocations.
// Memory still comes from the C library, so sanitizers see it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace memory {

inline std::atomic<long> until_failure{-1};  // number of allocations before one fails; -1: none fails
inline std::atomic<long> living{0};

inline void* allocate(std::size_t size, std::size_t alignment) {
    // Exactly one allocation fails: the counter passes 0 once and stays negative.
    if (until_failure.load() >= 0 && until_failure.fetch_sub(1) == 0) throw std::bad_alloc();
    if (size > PTRDIFF_MAX) throw std::bad_alloc();
    void* const block = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (block == nullptr) throw std::bad_alloc();
    ++living;
    return block;
}

inline void release(void* block) {
    if (block != nullptr) --living;
    std::free(block);
}

}  // namespace memory

void* operator new(std::size_t size) { return memory::allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t to) {
    return memory::allocate(size, static_cast<std::size_t>(to));
}
void operator delete(void* block) noexcept { memory::release(block); }
void operator delete(void* block, std::size_t) noexcept { memory::release(block); }
void operator delete(void* block, std::align_val_t) noexcept { memory::release(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { memory::release(block); }
