// The loader: makes the batches of an epoch, in order, on any number of threads.
//
// What a batch holds is a pure function of (dataset, plan, epoch, batch index); threads decide only
// when it is filled. The calling thread is one of them: with one thread nothing runs in the
// background, with more the others work ahead while the caller does something else, and the caller
// fills batches itself rather than wait for one that nobody has begun.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "order.hpp"
#include "slots.hpp"
#include "treatment.hpp"

namespace mnist_sgd {

// The samples, in memory that outlives every loader over it: `pixels` is [count, PIXELS] and the
// labels are one of two arrays [count], the other is null.
struct Samples {
    const std::uint8_t* pixels;
    const std::uint8_t* labels_u8;
    const std::int64_t* labels_i64;
    std::size_t count;
};

// How an epoch is cut into batches, and which part of each batch this process takes.
struct Plan {
    std::size_t batch_size;
    bool shuffle;
    bool drop_last;
    std::uint64_t seed;
    std::size_t rank;
    std::size_t world_size;
    std::size_t threads;

    // Throws std::invalid_argument, which names the value that is out of range.
    void check() const;
    std::size_t batches(std::size_t count) const;
    // The positions [first, last) in the epoch's order of this rank's part of a batch: ranks take
    // contiguous parts that differ by one sample at most, so a part can be empty in a last batch
    // with fewer samples than ranks.
    void part(std::size_t batch, std::size_t count, std::size_t* first, std::size_t* last) const;
};

struct Batch {
    std::shared_ptr<Slot> slot;  // values [size, PIXELS] of the treatment's type, labels [size]
    std::size_t size;
};

// How far an epoch has come; whoever shares it may read it at any time.
struct Progress {
    std::atomic<std::size_t> delivered;  // index of the next batch to deliver
    std::atomic<bool> exhausted{false};  // whether somebody asked for a batch after the last

    explicit Progress(std::size_t first_batch) : delivered(first_batch) {}
};

class Epoch;

class Loader {
public:
    // Throws std::invalid_argument if the plan is out of range.
    Loader(const Samples& samples, const Plan& plan, const Treatment& treatment);

    std::size_t batches() const { return plan_.batches(samples_.count); }

    // The batches of an epoch from `first_batch` on. The loader must outlive the result. Throws
    // std::runtime_error if the plan's threads cannot be had.
    std::unique_ptr<Epoch> epoch(std::uint64_t epoch, std::size_t first_batch);

private:
    friend class Epoch;

    Batch fill(const Order& order, std::uint64_t epoch, std::size_t batch, SlotPool& pool) const;
    // One a thread, so that it writes where it wrote before: memory that another processor has in its
    // cache must be fetched from there.
    using Pools = std::vector<std::shared_ptr<SlotPool>>;

    // The pools, made anew in a forked child.
    Pools pools();

    const Samples samples_;
    const Plan plan_;
    const Treatment treatment_;
    Pools pools_;
    std::uint64_t pools_birth_;
};

class Epoch {
public:
    Epoch(Loader& loader, std::uint64_t epoch, std::size_t first_batch);
    ~Epoch();  // waits for the batches being filled, microseconds each
    Epoch(const Epoch&) = delete;
    Epoch& operator=(const Epoch&) = delete;

    // In a forked child, replaces the threads that the fork did not copy; elsewhere does nothing.
    // One thread at a time may call this, for all the epochs of a loader. Throws as the constructor.
    void survive_fork();

    // The next batch; one with a null slot after the last. Several threads may share an epoch: each
    // batch goes to one of them. A forked child calls survive_fork() first. Throws std::bad_alloc.
    Batch next();

    std::shared_ptr<Progress> progress() const { return progress_; }

private:
    class Crew;

    std::shared_ptr<Crew> crew(std::size_t first_batch);
    // Keeps a crew from before a fork for ever: its threads do not exist here, and its locks may be
    // held by them.
    void abandon_crew();

    Loader& loader_;
    const std::uint64_t epoch_;
    const Order order_;
    std::uint64_t birth_;
    const std::shared_ptr<Progress> progress_;  // outlives a fork
    std::shared_ptr<Crew> crew_;
};

}  // namespace mnist_sgd
