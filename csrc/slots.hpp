// Memory for batches, handed out and taken back.
//
// A slot belongs to whoever holds its shared_ptr; when the last holder lets go it returns to the
// pool, so a batch that somebody still looks at is never overwritten. The pool gives out the slot
// that came back last (the likeliest to be in cache) and makes a new one when none is free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace mnist_sgd {

// One batch's memory: `values`, so many bytes, 64-byte aligned, and `labels`.
class Slot {
public:
    // Throws std::bad_alloc.
    Slot(std::size_t bytes, std::size_t labels);
    ~Slot();
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

    void* values() { return values_; }
    std::int64_t* labels() { return labels_.data(); }

private:
    std::vector<std::int64_t> labels_;
    void* values_;  // made last: nothing can fail after it and leak it
};

class SlotPool : public std::enable_shared_from_this<SlotPool> {
public:
    // Slots of so many bytes and labels; at most `keep` free ones stay allocated.
    SlotPool(std::size_t bytes, std::size_t labels, std::size_t keep);

    // A slot that nobody else holds; its contents are undefined. Any thread may call this, and any
    // thread may let the slot go. Throws std::bad_alloc.
    std::shared_ptr<Slot> acquire();

private:
    void release(std::unique_ptr<Slot> slot);

    const std::size_t bytes_;
    const std::size_t labels_;
    const std::size_t keep_;
    const std::uint64_t birth_;  // fork_generation() when the pool was made
    std::mutex mutex_;
    std::vector<std::unique_ptr<Slot>> free_;
};

}  // namespace mnist_sgd
