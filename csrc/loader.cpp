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

void Plan::check() const {
    if (batch_size < 1) {
        throw std::invalid_argument("batch_size must be at least 1, got 0");
    }
    if (world_size < 1) {
        throw std::invalid_argument("world_size must be at least 1, got 0");
    }
    if (rank >= world_size) {
        throw std::invalid_argument("rank must be below world_size, got rank " + std::to_string(rank) +
                                    " of world_size " + std::to_string(world_size));
    }
    if (threads < 1 || threads > 256) {
        throw std::invalid_argument("num_threads must lie in 1 to 256, got " + std::to_string(threads));
    }
}

std::size_t Plan::batches(std::size_t count) const {
    const std::size_t full = count / batch_size;
    return drop_last || count % batch_size == 0 ? full : full + 1;
}

void Plan::part(std::size_t batch, std::size_t count, std::size_t* first, std::size_t* last) const {
    const std::size_t start = batch * batch_size;
    const std::size_t size = std::min(batch_size, count - start);
    const std::size_t share = size / world_size;
    const std::size_t rest = size % world_size;  // the first `rest` ranks take one sample more
    *first = start + share * rank + std::min(rank, rest);
    *last = *first + share + (rank < rest ? 1 : 0);
}

Loader::Loader(const Samples& samples, const Plan& plan, const Treatment& treatment)
    : samples_(samples), plan_((plan.check(), plan)), treatment_(treatment), pools_birth_(0) {}

std::unique_ptr<Epoch> Loader::epoch(std::uint64_t epoch, std::size_t first_batch) {
    return std::make_unique<Epoch>(*this, epoch, first_batch);
}

Loader::Pools Loader::pools() {
    if (pools_.empty() || pools_birth_ != fork_generation()) {
        const std::size_t rows = std::min(plan_.batch_size, samples_.count) / plan_.world_size + 1;
        // As many as one thread may have filled: those ready, the loop's batch and the one before.
        const std::size_t keep = plan_.threads + 3;
        const std::size_t bytes = rows * PIXELS * item_size(treatment_.dtype);
        Pools pools;  // all or none, should memory run out
        for (std::size_t i = 0; i < plan_.threads; ++i) {
            pools.push_back(std::make_shared<SlotPool>(bytes, rows + Rows::FAR, keep));
        }
        pools_ = std::move(pools);
        pools_birth_ = fork_generation();
    }
    return pools_;
}

Batch Loader::fill(const Order& order, std::uint64_t epoch, std::size_t batch, SlotPool& pool) const {
    std::size_t first = 0;
    std::size_t last = 0;
    plan_.part(batch, samples_.count, &first, &last);
    const std::size_t size = last - first;
    std::shared_ptr<Slot> slot = pool.acquire();
    // The labels' memory first holds the samples' indices: each is read before it is replaced.
    std::int64_t* indices = slot->labels();
    // Where this thread will fill the next batch as well, its first rows are asked for already.
    const bool alone = plan_.threads == 1 && plan_.world_size == 1;
    const std::size_t known = alone ? std::min(size + Rows::FAR, samples_.count - first) : size;
    order.fill(first, known, indices);
    treatment_.apply({samples_.pixels, indices, size, known}, plan_.seed, epoch, slot->values());
    for (std::size_t i = 0; i < size; ++i) {
        const auto sample = static_cast<std::size_t>(indices[i]);
        indices[i] = samples_.labels_u8 != nullptr ? samples_.labels_u8[sample] : samples_.labels_i64[sample];
    }
    return {std::move(slot), size};
}

// The threads of one epoch and what they share. Batches are claimed in order; a claim may run at
// most `window` ahead of what was delivered, so ready_[batch % window] has one owner at a time.
class Epoch::Crew {
public:
    Crew(const Loader& loader, const Order& order, std::uint64_t epoch, Loader::Pools pools,
         std::size_t first_batch)
        : loader_(loader),
          order_(order),
          epoch_(epoch),
          pools_(std::move(pools)),
          batches_(loader.batches()),
          window_(loader.plan_.threads == 1 ? ALONE : loader.plan_.threads + 1),
          ready_(window_),
          claimed_(first_batch),
          delivered_(first_batch) {}

    // Starts the threads that work ahead, each of which holds the crew. Where one cannot be had this
    // throws std::runtime_error; stop() ends those that did start.
    static void start(const std::shared_ptr<Crew>& crew) {
        const std::size_t threads = crew->loader_.plan_.threads;
        for (std::size_t i = 1; i < threads; ++i) {
            try {
                std::thread ahead([crew, i] { crew->work_ahead(i); });
#ifdef __linux__
                pthread_setname_np(ahead.native_handle(), "mnist_sgd");  // as top and debuggers show it
#endif
                ahead.detach();
            } catch (const std::system_error& error) {
                throw std::runtime_error("thread " + std::to_string(i + 1) + " of num_threads " +
                                         std::to_string(threads) + " could not be started (" + error.what() +
                                         "); choose a smaller num_threads");
            }
        }
    }

    // Waits until nothing of the loader is in use any more. The threads, which hold the crew, end a
    // little later: to wait for that as well takes as long as to fill a batch.
    void stop() {
        std::unique_lock<std::mutex> lock(mutex_);
        stopping_ = true;
        room_.notify_all();
        wait(lock, filled_, [this] { return filling_ == 0; });
    }

    Batch next() {
        std::unique_lock<std::mutex> lock(mutex_);
        if (window_ == ALONE) {
            return fill_alone(lock);
        }
        while (delivered_ < batches_) {
            if (failure_ != nullptr) {
                std::rethrow_exception(failure_);
            }
            Batch& ready = ready_[delivered_ % window_];
            if (ready.slot != nullptr) {
                Batch batch = std::move(ready);
                ready = {};
                ++delivered_;
                lock.unlock();
                room_.notify_one();
                filled_.notify_all();
                return batch;
            }
            if (can_claim()) {
                fill_one(lock, 0);
            } else {
                const std::size_t mine = delivered_;
                wait(lock, filled_, [this, mine] {
                    return delivered_ != mine || ready_[mine % window_].slot != nullptr || failure_ != nullptr;
                });
            }
        }
        return {};
    }

private:
    static constexpr std::size_t ALONE = 0;  // the window of a single thread, which hands over nothing

    // Waits for a change, at first awake: a batch is filled in a few microseconds, and to be woken
    // takes longer than that.
    template <typename Condition>
    static void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& change, Condition condition) {
        const auto patience = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
        while (!condition()) {
            if (std::chrono::steady_clock::now() < patience) {
                lock.unlock();
                std::this_thread::yield();
                lock.lock();
            } else {
                change.wait(lock, condition);
            }
        }
    }

    bool can_claim() const { return claimed_ < std::min(batches_, delivered_ + window_); }

    // The next batch where nobody works ahead, so that nothing is handed over and nobody is woken.
    Batch fill_alone(std::unique_lock<std::mutex>& lock) {
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

    // Claims a batch and fills it with the lock released; thread 0 is whichever one calls next().
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
        filled_.notify_all();
    }

    void work_ahead(std::size_t thread) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wait(lock, room_, [this] { return stopping_ || failure_ != nullptr || can_claim(); });
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
    std::condition_variable room_;    // a batch can be claimed, or it is time to stop
    std::condition_variable filled_;  // a batch is ready or was delivered, or one failed
    std::vector<Batch> ready_;
    std::size_t claimed_;
    std::size_t delivered_;
    bool stopping_ = false;
    std::exception_ptr failure_;
    std::size_t filling_ = 0;  // batches that are being filled, not counting those of a single thread
};

Epoch::Epoch(Loader& loader, std::uint64_t epoch, std::size_t first_batch)
    : loader_(loader),
      epoch_(epoch),
      order_(loader.samples_.count, loader.plan_.seed, epoch, loader.plan_.shuffle, loader.treatment_.kernel),
      birth_(fork_generation()),
      progress_(std::make_shared<Progress>(first_batch)),
      crew_(crew(first_batch)) {}

std::shared_ptr<Epoch::Crew> Epoch::crew(std::size_t first_batch) {
    auto crew = std::make_shared<Crew>(loader_, order_, epoch_, loader_.pools(), first_batch);
    try {
        Crew::start(crew);
    } catch (...) {
        crew->stop();
        throw;
    }
    return crew;
}

Epoch::~Epoch() {
    if (birth_ == fork_generation()) {
        crew_->stop();
    } else {
        abandon_crew();
    }
}

void Epoch::survive_fork() {
    if (birth_ != fork_generation()) {
        abandon_crew();
        crew_ = crew(progress_->delivered);
        birth_ = fork_generation();
    }
}

void Epoch::abandon_crew() { static_cast<void>(new std::shared_ptr<Crew>(std::move(crew_))); }

Batch Epoch::next() {
    Batch batch = crew_->next();
    if (batch.slot != nullptr) {
        ++progress_->delivered;
    } else {
        progress_->exhausted = true;
    }
    return batch;
}

}  // namespace mnist_sgd
