#include "buffers.hpp"

#include <new>
#include <utility>

#include "fork.hpp"

namespace mnist_sgd {

namespace {

constexpr std::align_val_t ALIGNMENT{64};  // a cache line, and the widest vector register

}  // namespace

Buffer::Buffer(std::size_t bytes, std::size_t labels) : labels_(labels), values_(::operator new(bytes, ALIGNMENT)) {}

Buffer::~Buffer() { ::operator delete(values_, ALIGNMENT); }

BufferPool::BufferPool(std::size_t bytes, std::size_t labels, std::size_t keep)
    : bytes_(bytes), labels_(labels), keep_(keep), fork_generation_(fork_generation()) {
    free_.reserve(keep);
}

std::shared_ptr<Buffer> BufferPool::acquire() {
    std::unique_ptr<Buffer> buffer;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!free_.empty()) {
            buffer = std::move(free_.back());
            free_.pop_back();
        }
    }
    if (buffer == nullptr) {
        buffer = std::make_unique<Buffer>(bytes_, labels_);
    }
    return {buffer.release(), [weak = weak_from_this()](Buffer* used) {
                std::unique_ptr<Buffer> owned(used);
                if (const std::shared_ptr<BufferPool> pool = weak.lock()) {
                    pool->release(std::move(owned));
                }
            }};
}

void BufferPool::release(std::unique_ptr<Buffer> buffer) {
    // In a forked child the mutex may have been copied while another thread held it: free instead.
    if (fork_generation_ != fork_generation()) {
        return;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.size() < keep_) {
        free_.push_back(std::move(buffer));
    }
}

}  // namespace mnist_sgd
