// The loader: makes the batches of an epoch, in order, on any number of threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "batch_plan.hpp"
#include "batch_transform.hpp"
#include "buffers.hpp"
#include "order.hpp"

namespace mnist_sgd {

// The dataset, in memory that outlives every loader of it: `pixels` is [count, PIXELS]; the labels
// are one of two arrays [count], and the other is null.
struct Samples {
    const std::uint8_t* pixels;
    const std::uint8_t* labels_u8;
    const std::int64_t* labels_i64;
    std::size_t count;
};

struct Batch {
    std::shared_ptr<Buffer> buffer;  // values [size, PIXELS] of the transform's dtype, labels [size]
    std::size_t size;
};

// The progress of an epoch; any thread may read it at any time.
struct Progress {
    std::atomic<std::size_t> delivered;  // index of the next batch to deliver
    std::atomic<bool> exhausted{false};  // whether a batch after the last was asked for

    explicit Progress(std::size_t first_batch) : delivered(first_batch) {}
};

class Epoch;

// Makes batches from samples:
//
//     Samples       Order            workers                    Buffers             Batches
//     pixels   -->  sample at   -->  gather, augment and   -->  up to a window -->  handed out
//     labels        a position       convert into a buffer      ahead               in order
//                                         ^                                             |
//                                         +-- BufferPool <-- last holder releases it ---+
//
// A batch's contents are a pure function of (samples, plan, transform, epoch, batch index); threads only
// affect when it is made. The thread that calls next() is one of the workers: a single thread starts
// no others, and with more, the caller makes a batch itself rather than wait for one nobody has begun.
class Loader {
public:
    // Throws std::invalid_argument if the plan is out of range.
    Loader(const Samples& samples, const BatchPlan& plan, const BatchTransform& transform);

    std::size_t batches() const { return plan_.batches(samples_.count); }

    // The batches of an epoch from `first_batch` on. The loader must outlive the result. Throws
    // std::runtime_error if the plan's threads cannot be started.
    std::unique_ptr<Epoch> epoch(std::uint64_t epoch, std::size_t first_batch);

private:
    friend class Epoch;

    // One per thread, so that a thread writes where it wrote before: fetching memory from another
    // core's cache is slow.
    using Pools = std::vector<std::shared_ptr<BufferPool>>;

    Batch fill(const Order& order, std::uint64_t epoch, std::size_t batch, BufferPool& pool) const;

    // The pools, which a forked child replaces.
    Pools pools();

    const Samples samples_;
    const BatchPlan plan_;
    const BatchTransform transform_;
    Pools pools_;
    std::uint64_t pools_fork_generation_ = 0;
};

class Epoch {
public:
    Epoch(Loader& loader, std::uint64_t epoch, std::size_t first_batch);
    ~Epoch();  // waits for the batches that are being filled
    Epoch(const Epoch&) = delete;
    Epoch& operator=(const Epoch&) = delete;

    // Replaces the threads in a forked child, which has none of its parent's; a no-op otherwise. Only
    // one thread at a time may call this, counting all epochs of a loader. Throws as the constructor.
    void after_fork_in_child();

    // The next batch, or one with a null buffer after the last. Several threads may share an epoch:
    // each batch goes to one of them. A forked child must call after_fork_in_child() first. Throws
    // std::bad_alloc.
    Batch next();

    std::shared_ptr<Progress> progress() const { return progress_; }

private:
    class WorkerPool;

    std::shared_ptr<WorkerPool> start_workers(std::size_t first_batch);
    // Leaks the parent's workers on purpose after a fork: their threads do not exist in the child and
    // may have held their locks.
    void leak_workers();

    Loader& loader_;
    const std::uint64_t epoch_;
    const Order order_;
    std::uint64_t fork_generation_;
    const std::shared_ptr<Progress> progress_;
    std::shared_ptr<WorkerPool> workers_;
};

}  // namespace mnist_sgd
