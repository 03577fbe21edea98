// Memory between two inaccessible pages: any access out of bounds ends the process, with or without a
// sanitizer.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <new>

class Guarded {
public:
    // Allocates `size` bytes, all zero.
    explicit Guarded(std::size_t size)
        : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), inner_((size + page_ - 1) / page_ * page_) {
        void* const whole = mmap(nullptr, inner_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (whole == MAP_FAILED) throw std::bad_alloc();
        first_ = static_cast<std::uint8_t*>(whole) + page_;
        if (inner_ > 0 && mprotect(first_, inner_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    }
    ~Guarded() { munmap(first_ - page_, inner_ + 2 * page_); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

    // The start of the memory, right after a guard page.
    std::uint8_t* front() { return first_; }
    // The start of the last `size` bytes before the other guard page.
    std::uint8_t* back(std::size_t size) { return first_ + inner_ - size; }

private:
    const std::size_t page_;
    const std::size_t inner_;
    std::uint8_t* first_;
};
