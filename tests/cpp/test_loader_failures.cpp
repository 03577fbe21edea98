// A loader without memory: whichever allocation fails, on whichever thread, the caller learns of it,
// nothing is lost, and the loader goes on.
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

// Takes an epoch, batch by batch, holding all; whether an allocation failed on the way.
bool fails(Loader& loader, std::vector<Batch>& batches) {
    try {
        const auto epoch = loader.epoch(0, 0);
        for (Batch batch = epoch->next(); batch.slot != nullptr; batch = epoch->next()) {
            batches.push_back(batch);
        }
    } catch (const std::bad_alloc&) {
        return true;
    }
    return false;
}

// A new loader for each failure, since what one made before, it need not make again.
void check_every_failure(const Samples& samples, const Plan& plan, const Treatment& treatment) {
    const std::vector<Held> whole = naive(samples, plan, 0, treatment);
    bool failed = true;
    for (long first = 0; failed; ++first) {
        Loader loader(samples, plan, treatment);
        std::vector<Batch> batches;
        batches.reserve(whole.size());
        memory::until_failure = first;
        failed = fails(loader, batches);
        memory::until_failure = -1;
        CHECK(failed || batches.size() == whole.size());
        for (std::size_t i = 0; i < batches.size(); ++i) CHECK(held(batches[i]) == whole[i]);
        batches.clear();
        CHECK(!fails(loader, batches));
        CHECK_EQ(batches.size(), whole.size());
        CHECK(!failed || first < 1000);
    }
}

}  // namespace

TEST(any_allocation_that_fails_is_bad_alloc_and_the_loader_goes_on) {
    Dataset data(24);
    const Kernel& kernel = default_kernel();  // makes the list of kernels, which stays
    const Treatment treatment{std::nullopt, Normalization(0.0f, 1.0f), Dtype::float32, kernel};
    const long before = memory::living;
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        for (int turn = 0; turn < 5; ++turn) {  // threads meet differently each time
            check_every_failure(data.samples(), {4, true, false, 1, 0, 1, threads}, treatment);
        }
    }
    // A thread that has just ended may not have let go of its crew yet.
    for (int i = 0; i < 1000 && memory::living != before; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK_EQ(memory::living, before);
}
