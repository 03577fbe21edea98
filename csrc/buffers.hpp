// Reusable memory for batches.
//
// A buffer belongs to the holders of its shared_ptr. It returns to its pool when the last of them
// releases it, so a batch that is still in use is never overwritten. The pool hands out the most
// recently returned buffer, which is the likeliest to be in cache, and allocates one if none is free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace mnist_sgd {

// The memory of one batch: `values`, 64-byte aligned, and `labels`.
class Buffer {
public:
    // Throws std::bad_alloc.
    Buffer(std::size_t bytes, std::size_t labels);
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void* values() { return values_; }
    std::int64_t* labels() { return labels_.data(); }

private:
    std::vector<std::int64_t> labels_;
    void* values_;  // initialized last: nothing after it can throw and leak it
};

class BufferPool : public std::enable_shared_from_this<BufferPool> {
public:
    // A pool of buffers with `bytes` bytes and `labels` labels each, which keeps at most `keep` free ones.
    BufferPool(std::size_t bytes, std::size_t labels, std::size_t keep);

    // A buffer that nobody else holds, with unspecified contents. Any thread may call this, and any
    // thread may release the buffer. Throws std::bad_alloc.
    std::shared_ptr<Buffer> acquire();

private:
    void release(std::unique_ptr<Buffer> buffer);

    const std::size_t bytes_;
    const std::size_t labels_;
    const std::size_t keep_;
    const std::uint64_t fork_generation_;  // of the process that made the pool
    std::mutex mutex_;
    std::vector<std::unique_ptr<Buffer>> free_;
};

}  // namespace mnist_sgd
