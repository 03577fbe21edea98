// Loader: its batches equal the reference implementation's, whatever the threads and the consumers.
#include "loader.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.hpp"
#include "samples.hpp"
#include "together.hpp"

using namespace mnist_sgd;

namespace {

const Kernel& KERNEL = default_kernel();
const BatchTransform PLAIN{std::nullopt, Normalization(0.0f, 1.0f), Dtype::float32, KERNEL};

BatchPlan plan(std::size_t batch_size, std::size_t threads) { return {batch_size, true, false, 7, 0, 1, threads}; }

std::vector<BatchContents> rest(Epoch& epoch, Dtype dtype = Dtype::float32) {
    std::vector<BatchContents> batches;
    for (Batch batch = epoch.next(); batch.buffer != nullptr; batch = epoch.next()) {
        batches.push_back(contents(batch, dtype));
    }
    CHECK(epoch.next().buffer == nullptr);
    return batches;
}

// Compares every epoch of a plan, from every first batch on, with the reference implementation.
void check_plan(const Samples& samples, const BatchPlan& wanted, const BatchTransform& transform) {
    Loader loader(samples, wanted, transform);
    for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
        const std::vector<BatchContents> whole = reference_batches(samples, wanted, epoch, transform);
        CHECK_EQ(loader.batches(), whole.size());
        for (std::size_t first = 0; first <= whole.size() + 1; ++first) {
            const std::size_t skipped = std::min(first, whole.size());
            const std::vector<BatchContents> left(whole.begin() + static_cast<std::ptrdiff_t>(skipped), whole.end());
            CHECK(rest(*loader.epoch(epoch, first), transform.dtype) == left);
        }
    }
}

}  // namespace

TEST(every_batch_equals_the_reference_for_any_plan) {
    std::mt19937_64 random(1);
    for (int turn = 0; turn < 120; ++turn) {
        const std::size_t count = 1 + random() % 40;
        Dataset data(count);
        const std::size_t world_size = 1 + random() % 5;
        const BatchPlan wanted{1 + random() % 20, random() % 4 > 0,      random() % 2 > 0, random(),
                               random() % world_size, world_size, 1 + static_cast<std::size_t>(turn) % 4};
        const Normalization normalization = random() % 2 > 0 ? Normalization(0.25f, 0.5f) : Normalization(0.0f, 1.0f);
        const Dtype dtype = static_cast<Dtype>(random() % 3);
        std::optional<Augmentation> augmentation;
        if (random() % 3 == 0) augmentation.emplace(30.0, 0.2, 0.7, 1.4, 20.0);
        const Kernel& kernel = kernels()[random() % kernels().size()];
        check_plan(data.samples(), wanted, {augmentation, normalization, dtype, kernel});
    }
}

TEST(every_kernel_and_dtype_is_right_for_any_number_of_threads) {
    Dataset data(50);
    for (const Kernel& kernel : kernels()) {
        for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::uint8}) {
            for (std::size_t threads = 1; threads <= 4; ++threads) {
                check_plan(data.samples(), plan(16, threads),
                           {std::nullopt, Normalization(0.1307f, 0.3081f), dtype, kernel});
            }
        }
    }
}

TEST(uint8_labels_are_widened_and_not_read_out_of_bounds) {
    Dataset data(23);
    Guarded memory(23);
    Samples samples = data.samples();
    std::transform(samples.labels_i64, samples.labels_i64 + 23, memory.back(23),
                   [](std::int64_t label) { return static_cast<std::uint8_t>(label); });
    samples.labels_u8 = memory.back(23);
    samples.labels_i64 = nullptr;
    for (std::size_t threads = 1; threads <= 4; ++threads) check_plan(samples, plan(4, threads), PLAIN);
}

TEST(progress_counts_delivered_batches_and_tells_when_the_epoch_is_exhausted) {
    Dataset data(10);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        Loader loader(data.samples(), plan(4, threads), PLAIN);
        auto epoch = loader.epoch(0, 1);
        const std::shared_ptr<Progress> progress = epoch->progress();
        CHECK_EQ(progress->delivered.load(), 1u);
        epoch->next();
        epoch->next();
        CHECK_EQ(progress->delivered.load(), 3u);
        CHECK(!progress->exhausted);
        epoch->next();
        epoch.reset();
        CHECK_EQ(progress->delivered.load(), 3u);
        CHECK(progress->exhausted);
    }
}

TEST(an_epoch_may_be_destroyed_after_any_batch) {
    Dataset data(64);
    std::mt19937_64 random(2);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        Loader loader(data.samples(), plan(4, threads), PLAIN);
        const std::vector<BatchContents> whole = reference_batches(data.samples(), plan(4, threads), 0, PLAIN);
        for (int turn = 0; turn < 10; ++turn) {
            for (std::size_t taken = 0; taken <= whole.size() + 1; ++taken) {
                Batch last{};
                {
                    const auto epoch = loader.epoch(0, 0);
                    for (std::size_t i = 0; i < taken; ++i) last = epoch->next();
                    std::this_thread::sleep_for(std::chrono::microseconds(random() % 50));
                }
                if (taken >= 1 && taken <= whole.size()) CHECK(contents(last) == whole[taken - 1]);
            }
        }
    }
}

TEST(batches_outlive_their_epoch_and_their_loader) {
    Dataset data(64);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        std::vector<Batch> batches;
        {
            Loader loader(data.samples(), plan(8, threads), PLAIN);
            const auto epoch = loader.epoch(0, 0);
            for (int i = 0; i < 8; ++i) batches.push_back(epoch->next());
        }
        std::vector<BatchContents> kept;
        for (const Batch& batch : batches) kept.push_back(contents(batch));
        CHECK(kept == reference_batches(data.samples(), plan(8, threads), 0, PLAIN));
    }
}

TEST(epochs_of_one_loader_run_concurrently) {
    Dataset data(90);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        Loader loader(data.samples(), plan(8, threads), PLAIN);
        std::vector<std::unique_ptr<Epoch>> epochs;
        for (std::uint64_t i = 0; i < 4; ++i) epochs.push_back(loader.epoch(i, 0));
        run_together(4, [&](std::size_t i) {
            CHECK(rest(*epochs[i]) == reference_batches(data.samples(), plan(8, threads), i, PLAIN));
        });
    }
}

TEST(consumers_that_share_an_epoch_get_each_batch_exactly_once) {
    Dataset data(300);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        const std::vector<BatchContents> whole = reference_batches(data.samples(), plan(4, threads), 0, PLAIN);
        for (int turn = 0; turn < 20; ++turn) {
            Loader loader(data.samples(), plan(4, threads), PLAIN);
            const auto epoch = loader.epoch(0, 0);
            std::vector<std::vector<BatchContents>> got(4);
            run_together(4, [&](std::size_t i) { got[i] = rest(*epoch); });
            std::size_t number = 0;
            for (const BatchContents& wanted : whole) {
                for (const auto& batches : got) {
                    number += static_cast<std::size_t>(std::count(batches.begin(), batches.end(), wanted));
                }
            }
            CHECK_EQ(number, whole.size());
            CHECK_EQ(got[0].size() + got[1].size() + got[2].size() + got[3].size(), whole.size());
        }
    }
}

TEST(held_batches_are_not_overwritten_by_later_ones) {
    Dataset data(120);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        const std::vector<BatchContents> whole = reference_batches(data.samples(), plan(3, threads), 0, PLAIN);
        Loader loader(data.samples(), plan(3, threads), PLAIN);
        std::vector<std::pair<std::size_t, Batch>> kept;
        for (int turn = 0; turn < 10; ++turn) {
            const auto epoch = loader.epoch(0, 0);
            for (std::size_t i = 0; i < whole.size(); ++i) {
                kept.emplace_back(i, epoch->next());
                if (kept.size() > 7) {
                    const auto oldest = kept.begin() + static_cast<std::ptrdiff_t>((i * 5) % 7);
                    CHECK(contents(oldest->second) == whole[oldest->first]);
                    kept.erase(oldest);
                }
            }
        }
    }
}

TEST(a_plan_out_of_range_is_rejected) {
    Dataset data(3);
    CHECK_THROWS_WITH(std::invalid_argument, "num_threads must lie in 1 to 256, got 257",
                      Loader(data.samples(), plan(1, 257), PLAIN));
}
