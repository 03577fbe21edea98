#include "loader.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#ifdef __linux__
#include <pthread.h>
#endif

#include "fork.hpp"

namespace mnist_sgd {

Loader::Loader(const Samples& samples, const BatchPlan& plan, const BatchTransform& transform)
    : samples_(samples), plan_((plan.check(), plan)), transform_(transform) {}

std::unique_ptr<Epoch> Loader::epoch(std::uint64_t epoch, std::size_t first_batch) {
    return std::make_unique<Epoch>(*this, epoch, first_batch);
}

Loader::Pools Loader::pools() {
    if (pools_.empty() || pools_fork_generation_ != fork_generation()) {
        const std::size_t rows = std::min(plan_.batch_size, samples_.count) / plan_.world_size + 1;
        // As many as one thread may have filled: those ready, the training loop's and the one before it.
        const std::size_t keep = plan_.threads + 3;
        const std::size_t bytes = rows * PIXELS * item_size(transform_.dtype);
        Pools pools;  // all or none, should memory run out
        for (std::size_t i = 0; i < plan_.threads; ++i) {
            pools.push_back(std::make_shared<BufferPool>(bytes, rows + RowGather::FAR, keep));
        }
        pools_ = std::move(pools);
        pools_fork_generation_ = fork_generation();
    }
    return pools_;
}

Batch Loader::fill(const Order& order, std::uint64_t epoch, std::size_t batch, BufferPool& pool) const {
    std::size_t first = 0;
    std::size_t last = 0;
    plan_.part(batch, samples_.count, &first, &last);
    const std::size_t size = last - first;
    std::shared_ptr<Buffer> buffer = pool.acquire();
    // The memory of the labels first holds the samples' indices: each is read before it is replaced.
    std::int64_t* indices = buffer->labels();
    // A thread that also fills the next batch prefetches that batch's first rows.
    const bool fills_next = plan_.threads == 1 && plan_.world_size == 1;
    const std::size_t lookahead = fills_next ? std::min(RowGather::FAR, samples_.count - last) : 0;
    order.fill(first, size + lookahead, indices);
    transform_.apply({samples_.pixels, indices, size, lookahead}, plan_.seed, epoch, buffer->values());
    for (std::size_t i = 0; i < size; ++i) {
        const auto sample = static_cast<std::size_t>(indices[i]);
        indices[i] = samples_.labels_u8 != nullptr ? samples_.labels_u8[sample] : samples_.labels_i64[sample];
    }
    return {std::move(buffer), size};
}

// The threads of one epoch and the state that they share. Workers claim batches in order, at most
// `window` ahead of the last delivered one, so ready_[batch % window] has one owner at a time.
class Epoch::WorkerPool {
public:
    WorkerPool(const Loader& loader, const Order& order, std::uint64_t epoch, Loader::Pools pools,
               std::size_t first_batch)
        : loader_(loader),
          order_(order),
          epoch_(epoch),
          pools_(std::move(pools)),
          batches_(loader.batches()),
          window_(loader.plan_.threads == 1 ? SINGLE_THREADED : loader.plan_.threads + 1),
          ready_(window_),
          claimed_(first_batch),
          delivered_(first_batch) {}

    // Starts the background threads, each of which shares ownership of the pool. If one cannot be
    // started this throws std::runtime_error; stop() ends those that were.
    static void start(const std::shared_ptr<WorkerPool>& pool) {
        const std::size_t threads = pool->loader_.plan_.threads;
        for (std::size_t i = 1; i < threads; ++i) {
            try {
                std::thread worker([pool, i] { pool->work(i); });
#ifdef __linux__
                pthread_setname_np(worker.native_handle(), "mnist_sgd");  // for top and debuggers
#endif
                worker.detach();
            } catch (const std::system_error& error) {
                throw std::runtime_error("thread " + std::to_string(i + 1) + " of num_threads " +
                                         std::to_string(threads) + " could not be started (" + error.what() +
                                         "); choose a smaller num_threads");
            }
        }
    }

    // Waits until no thread uses the loader. The threads themselves, which keep the pool alive, end
    // slightly later: joining them would take as long as filling a batch.
    void stop() {
        std::unique_lock<std::mutex> lock(mutex_);
        stopping_ = true;
        can_produce_.notify_all();
        wait(lock, can_consume_, [this] { return filling_ == 0; });
    }

    Batch next() {
        std::unique_lock<std::mutex> lock(mutex_);
        if (window_ == SINGLE_THREADED) {
            return fill_single_threaded(lock);
        }
        while (delivered_ < batches_) {
            if (failure_ != nullptr) {
                std::rethrow_exception(failure_);
            }
            Batch& ready = ready_[delivered_ % window_];
            if (ready.buffer != nullptr) {
                Batch batch = std::move(ready);
                ready = {};
                ++delivered_;
                lock.unlock();
                can_produce_.notify_one();
                can_consume_.notify_all();
                return batch;
            }
            if (can_claim()) {
                fill_one(lock, 0);
            } else {
                const std::size_t mine = delivered_;
                wait(lock, can_consume_, [this, mine] {
                    return delivered_ != mine || ready_[mine % window_].buffer != nullptr || failure_ != nullptr;
                });
            }
        }
        return {};
    }

private:
    static constexpr std::size_t SINGLE_THREADED = 0;  // the window of one thread, which hands nothing over

    // Spins for 20 us, then blocks: a batch takes a few microseconds, and waking up takes longer.
    template <typename Condition>
    static void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& change, Condition condition) {
        const auto spin_limit = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
        while (!condition()) {
            if (std::chrono::steady_clock::now() < spin_limit) {
                lock.unlock();
                std::this_thread::yield();
                lock.lock();
            } else {
                change.wait(lock, condition);
            }
        }
    }

    bool can_claim() const { return claimed_ < std::min(batches_, delivered_ + window_); }

    // The next batch without background threads: nothing is handed over and nobody is woken.
    Batch fill_single_threaded(std::unique_lock<std::mutex>& lock) {
        if (failure_ != nullptr) {
            std::rethrow_exception(failure_);
        }
        if (claimed_ >= batches_) {
            return {};
        }
        const std::size_t batch = claimed_++;
        lock.unlock();
        try {
            return loader_.fill(order_, epoch_, batch, *pools_[0]);
        } catch (...) {
            lock.lock();
            failure_ = std::current_exception();
            throw;
        }
    }

    // Claims a batch and fills it with the lock released. Thread 0 is whichever one calls next().
    void fill_one(std::unique_lock<std::mutex>& lock, std::size_t thread) {
        const std::size_t batch = claimed_++;
        ++filling_;
        lock.unlock();
        Batch filled{};
        std::exception_ptr failure;
        try {
            filled = loader_.fill(order_, epoch_, batch, *pools_[thread]);
        } catch (...) {
            failure = std::current_exception();
        }
        lock.lock();
        --filling_;
        if (failure != nullptr) {
            failure_ = failure;
        }
        ready_[batch % window_] = std::move(filled);
        can_consume_.notify_all();
    }

    void work(std::size_t thread) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wait(lock, can_produce_, [this] { return stopping_ || failure_ != nullptr || can_claim(); });
            if (stopping_ || failure_ != nullptr) {
                return;
            }
            fill_one(lock, thread);
        }
    }

    const Loader& loader_;
    const Order& order_;
    const std::uint64_t epoch_;
    const Loader::Pools pools_;
    const std::size_t batches_;
    const std::size_t window_;

    std::mutex mutex_;  // guards everything below
    std::condition_variable can_produce_;  // a batch can be claimed, or it is time to stop
    std::condition_variable can_consume_;  // a batch became ready, was delivered or failed
    std::vector<Batch> ready_;
    std::size_t claimed_;
    std::size_t delivered_;
    bool stopping_ = false;
    std::exception_ptr failure_;
    std::size_t filling_ = 0;  // batches being filled; unused with a single thread
};

Epoch::Epoch(Loader& loader, std::uint64_t epoch, std::size_t first_batch)
    : loader_(loader),
      epoch_(epoch),
      order_(loader.samples_.count, loader.plan_.seed, epoch, loader.plan_.shuffle, loader.transform_.kernel),
      fork_generation_(fork_generation()),
      progress_(std::make_shared<Progress>(first_batch)),
      workers_(start_workers(first_batch)) {}

std::shared_ptr<Epoch::WorkerPool> Epoch::start_workers(std::size_t first_batch) {
    auto workers = std::make_shared<WorkerPool>(loader_, order_, epoch_, loader_.pools(), first_batch);
    try {
        WorkerPool::start(workers);
    } catch (...) {
        workers->stop();
        throw;
    }
    return workers;
}

Epoch::~Epoch() {
    if (fork_generation_ == fork_generation()) {
        workers_->stop();
    } else {
        leak_workers();
    }
}

void Epoch::after_fork_in_child() {
    if (fork_generation_ != fork_generation()) {
        leak_workers();
        workers_ = start_workers(progress_->delivered);
        fork_generation_ = fork_generation();
    }
}

void Epoch::leak_workers() { static_cast<void>(new std::shared_ptr<WorkerPool>(std::move(workers_))); }

Batch Epoch::next() {
    Batch batch = workers_->next();
    if (batch.buffer != nullptr) {
        ++progress_->delivered;
    } else {
        progress_->exhausted = true;
    }
    return batch;
}

}  // namespace mnist_sgd
