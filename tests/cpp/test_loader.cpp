// The loader: its batches are a naive loop's, whoever fills them and however they are taken.
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
const Treatment PLAIN{std::nullopt, Normalization(0.0f, 1.0f), Dtype::float32, KERNEL};

Plan plan(std::size_t batch_size, std::size_t threads) { return {batch_size, true, false, 7, 0, 1, threads}; }

std::vector<Held> rest(Epoch& epoch, Dtype dtype = Dtype::float32) {
    std::vector<Held> batches;
    for (Batch batch = epoch.next(); batch.slot != nullptr; batch = epoch.next()) {
        batches.push_back(held(batch, dtype));
    }
    CHECK(epoch.next().slot == nullptr);
    return batches;
}

// Whether every epoch of a plan, from every first batch on, is the naive loop's.
void check_plan(const Samples& samples, const Plan& wanted, const Treatment& treatment) {
    Loader loader(samples, wanted, treatment);
    for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
        const std::vector<Held> whole = naive(samples, wanted, epoch, treatment);
        CHECK_EQ(loader.batches(), whole.size());
        for (std::size_t first = 0; first <= whole.size() + 1; ++first) {
            const std::size_t skipped = std::min(first, whole.size());
            const std::vector<Held> wanted_rest(whole.begin() + static_cast<std::ptrdiff_t>(skipped), whole.end());
            CHECK(rest(*loader.epoch(epoch, first), treatment.dtype) == wanted_rest);
        }
    }
}

}  // namespace

TEST(every_batch_is_the_naive_loops_for_any_plan) {
    std::mt19937_64 random(1);
    for (int turn = 0; turn < 120; ++turn) {
        const std::size_t count = 1 + random() % 40;
        Dataset data(count);
        const std::size_t world_size = 1 + random() % 5;
        const Plan wanted{1 + random() % 20, random() % 4 > 0, random() % 2 > 0, random(), random() % world_size,
                          world_size,        1 + static_cast<std::size_t>(turn) % 4};
        const Normalization normalization = random() % 2 > 0 ? Normalization(0.25f, 0.5f) : Normalization(0.0f, 1.0f);
        const Dtype dtype = static_cast<Dtype>(random() % 3);
        std::optional<Augmentation> augmentation;
        if (random() % 3 == 0) augmentation.emplace(30.0, 0.2, 0.7, 1.4, 20.0);
        check_plan(data.samples(), wanted, {augmentation, normalization, dtype, kernels()[random() % kernels().size()]});
    }
}

TEST(every_kernel_and_dtype_stays_within_the_dataset_for_any_threads) {
    Dataset data(50);
    for (const Kernel& kernel : kernels()) {
        for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::uint8}) {
            for (std::size_t threads = 1; threads <= 4; ++threads) {
                check_plan(data.samples(), plan(16, threads), {std::nullopt, Normalization(0.1307f, 0.3081f), dtype, kernel});
            }
        }
    }
}

TEST(labels_of_a_byte_are_widened_and_not_read_beyond) {
    Dataset data(23);
    Guarded memory(23);
    Samples samples = data.samples();
    std::transform(samples.labels_i64, samples.labels_i64 + 23, memory.back(23),
                   [](std::int64_t label) { return static_cast<std::uint8_t>(label); });
    samples.labels_u8 = memory.back(23);
    samples.labels_i64 = nullptr;
    for (std::size_t threads = 1; threads <= 4; ++threads) check_plan(samples, plan(4, threads), PLAIN);
}

TEST(progress_counts_the_batches_given_and_says_when_one_too_many_was_asked_for) {
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

TEST(an_epoch_may_end_after_any_batch) {
    Dataset data(64);
    std::mt19937_64 random(2);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        Loader loader(data.samples(), plan(4, threads), PLAIN);
        const std::vector<Held> whole = naive(data.samples(), plan(4, threads), 0, PLAIN);
        for (int turn = 0; turn < 10; ++turn) {
            for (std::size_t taken = 0; taken <= whole.size() + 1; ++taken) {
                Batch last{};
                {
                    const auto epoch = loader.epoch(0, 0);
                    for (std::size_t i = 0; i < taken; ++i) last = epoch->next();
                    std::this_thread::sleep_for(std::chrono::microseconds(random() % 50));
                }
                if (taken >= 1 && taken <= whole.size()) CHECK(held(last) == whole[taken - 1]);
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
        std::vector<Held> kept;
        for (const Batch& batch : batches) kept.push_back(held(batch));
        CHECK(kept == naive(data.samples(), plan(8, threads), 0, PLAIN));
    }
}

TEST(epochs_of_one_loader_run_side_by_side) {
    Dataset data(90);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        Loader loader(data.samples(), plan(8, threads), PLAIN);
        std::vector<std::unique_ptr<Epoch>> epochs;
        for (std::uint64_t i = 0; i < 4; ++i) epochs.push_back(loader.epoch(i, 0));
        run_together(4, [&](std::size_t i) { CHECK(rest(*epochs[i]) == naive(data.samples(), plan(8, threads), i, PLAIN)); });
    }
}

TEST(consumers_that_share_an_epoch_get_each_batch_once_and_all_come_home) {
    Dataset data(300);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        const std::vector<Held> whole = naive(data.samples(), plan(4, threads), 0, PLAIN);
        for (int turn = 0; turn < 20; ++turn) {
            Loader loader(data.samples(), plan(4, threads), PLAIN);
            const auto epoch = loader.epoch(0, 0);
            std::vector<std::vector<Held>> got(4);
            run_together(4, [&](std::size_t i) { got[i] = rest(*epoch); });
            std::size_t number = 0;
            for (const Held& wanted : whole) {
                for (const auto& batches : got) {
                    number += static_cast<std::size_t>(std::count(batches.begin(), batches.end(), wanted));
                }
            }
            CHECK_EQ(number, whole.size());
            CHECK_EQ(got[0].size() + got[1].size() + got[2].size() + got[3].size(), whole.size());
        }
    }
}

TEST(batches_held_by_many_are_not_overwritten_by_those_that_follow) {
    Dataset data(120);
    for (std::size_t threads = 1; threads <= 4; ++threads) {
        const std::vector<Held> whole = naive(data.samples(), plan(3, threads), 0, PLAIN);
        Loader loader(data.samples(), plan(3, threads), PLAIN);
        std::vector<std::pair<std::size_t, Batch>> kept;
        for (int turn = 0; turn < 10; ++turn) {
            const auto epoch = loader.epoch(0, 0);
            for (std::size_t i = 0; i < whole.size(); ++i) {
                kept.emplace_back(i, epoch->next());
                if (kept.size() > 7) {
                    const auto oldest = kept.begin() + static_cast<std::ptrdiff_t>((i * 5) % 7);
                    CHECK(held(oldest->second) == whole[oldest->first]);
                    kept.erase(oldest);
                }
            }
        }
    }
}

TEST(a_plan_out_of_range_makes_no_loader) {
    Dataset data(3);
    CHECK_THROWS_WITH(std::invalid_argument, "num_threads must lie in 1 to 256, got 257",
                      Loader(data.samples(), plan(1, 257), PLAIN));
}
