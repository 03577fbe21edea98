#include "slots.hpp"

#include <new>
#include <utility>

#include "fork.hpp"

namespace mnist_sgd {

namespace {

constexpr std::align_val_t ALIGNMENT{64};  // a cache line, and the widest vector register

}  // namespace

Slot::Slot(std::size_t bytes, std::size_t labels) : labels_(labels), values_(::operator new(bytes, ALIGNMENT)) {}

Slot::~Slot() { ::operator delete(values_, ALIGNMENT); }

SlotPool::SlotPool(std::size_t bytes, std::size_t labels, std::size_t keep)
    : bytes_(bytes), labels_(labels), keep_(keep), birth_(fork_generation()) {
    free_.reserve(keep);
}

std::shared_ptr<Slot> SlotPool::acquire() {
    std::unique_ptr<Slot> slot;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!free_.empty()) {
            slot = std::move(free_.back());
            free_.pop_back();
        }
    }
    if (slot == nullptr) {
        slot = std::make_unique<Slot>(bytes_, labels_);
    }
    return {slot.release(), [pool = weak_from_this()](Slot* used) {
                std::unique_ptr<Slot> owned(used);
                if (const std::shared_ptr<SlotPool> home = pool.lock()) {
                    home->release(std::move(owned));
                }
            }};
}

void SlotPool::release(std::unique_ptr<Slot> slot) {
    // In a forked child the mutex may have been copied while another thread held it: free instead.
    if (birth_ != fork_generation()) {
        return;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.size() < keep_) {
        free_.push_back(std::move(slot));
    }
}

}  // namespace mnist_sgd
