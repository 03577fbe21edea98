// Loader without memory: whichever allocation fails, on any thread, next() throws, nothing leaks, and
// the loader can be used again.
#include <chrono>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include "check.hpp"
#include "failing_new.hpp"
#include "loader.hpp"
#include "samples.hpp"

using namespace mnist_sgd;

namespace {

// Takes all batches of an epoch and holds them. Returns whether an allocation failed.
bool fails(Loader& loader, std::vector<Batch>& batches) {
    try {
        const auto epoch = loader.epoch(0, 0);
        for (Batch batch = epoch->next(); batch.buffer != nullptr; batch = epoch->next()) {
            batches.push_back(batch);
        }
    } catch (const std::bad_alloc&) {
        return true;
    }
    return false;
}

// Makes a new loader for each failure, because a used one allocates less.
void check_every_failure(const Samples& samples, const BatchPlan& plan, const BatchTransform& transform) {
    const std::vector<BatchContents> whole = reference_batches(samples, plan, 0, transform);
    bool failed = true;
    for (long first = 0; failed; ++first) {
        Loader loader(samples, plan, transform);
        std::vector<Batch> batches;
        batches.reserve(whole.size());
        memory::until_failure = first;
        failed = fails(loader, batches);
        memory::until_failure = -1;
        CHECK(failed || batches.size() == whole.size());
        for (std::size_t i = 0; i < batches.size(); ++i) CHECK(contents(batches[i]) == whole[i]);
        batches.clear();
        CHECK(!fails(loader, batches));
        CHECK_EQ(batches.size(), whole.size());
        CHECK(!failed || first < 1000);
    }
}

}  // namespace

TEST(any_failed_allocation_throws_bad_alloc_and_the_loader_remains_usable) {
    Dataset data(24);
    const Kernel& kernel = default_kernel();  // allocates the list of kernels, which is kept
    const BatchTransform transform{std::nullopt, Normalization(0.0f, 1.0f), Dtype::float32, kernel};
    const long before = memory::living;
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        for (int turn = 0; turn < 5; ++turn) {  // threads interleave differently each time
            check_every_failure(data.samples(), {4, true, false, 1, 0, 1, threads}, transform);
        }
    }
    // A thread that is about to end may still hold its worker pool.
    for (int i = 0; i < 1000 && memory::living != before; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK_EQ(memory::living, before);
}
