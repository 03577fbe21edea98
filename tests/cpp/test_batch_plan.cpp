// BatchPlan: how an epoch is divided into batches, and batches into the parts of ranks.
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>

#include "check.hpp"
#include "batch_plan.hpp"

using namespace mnist_sgd;

namespace {

constexpr std::size_t MOST = std::numeric_limits<std::size_t>::max();

BatchPlan plan(std::size_t batch_size, std::size_t world_size = 1, bool drop_last = false) {
    return {batch_size, false, drop_last, 0, 0, world_size, 1};
}

// Checks that the batches are contiguous from 0 on, and the parts of the ranks within each.
void check_cut(BatchPlan cut, std::size_t count) {
    std::size_t position = 0;
    for (std::size_t batch = 0; batch < cut.batches(count); ++batch) {
        const std::size_t begin = position;
        std::size_t smallest = MOST;
        std::size_t largest = 0;
        for (cut.rank = 0; cut.rank < cut.world_size; ++cut.rank) {
            std::size_t first = 0;
            std::size_t last = 0;
            cut.part(batch, count, &first, &last);
            CHECK_EQ(first, position);
            CHECK(first <= last);
            position = last;
            smallest = std::min(smallest, last - first);
            largest = std::max(largest, last - first);
        }
        CHECK(largest - smallest <= 1);
        CHECK_EQ(position - begin, std::min(cut.batch_size, count - begin));
    }
    CHECK_EQ(position, cut.drop_last ? count - count % cut.batch_size : count);
}

}  // namespace

TEST(batches_and_parts_together_are_the_epoch) {
    for (std::size_t count = 1; count <= 40; ++count) {
        for (std::size_t batch_size = 1; batch_size <= 45; ++batch_size) {
            for (const std::size_t world_size : {1u, 2u, 3u, 7u, 50u}) {
                check_cut(plan(batch_size, world_size), count);
                check_cut(plan(batch_size, world_size, true), count);
            }
        }
    }
}

TEST(the_largest_numbers_do_not_overflow) {
    CHECK_EQ(plan(MOST).batches(5), 1u);
    CHECK_EQ(plan(MOST, 1, true).batches(5), 0u);
    CHECK_EQ(plan(1).batches(MOST), MOST);
    CHECK_EQ(plan(2).batches(MOST), MOST / 2 + 1);
    check_cut(plan(MOST), 5);
    std::size_t first = 0;
    std::size_t last = 0;
    for (const std::size_t rank : {std::size_t{0}, std::size_t{4}, std::size_t{5}, MOST - 1}) {
        BatchPlan cut = plan(MOST, MOST);
        cut.rank = rank;
        cut.part(0, 5, &first, &last);
        CHECK_EQ(first, std::min<std::size_t>(rank, 5));
        CHECK_EQ(last - first, rank < 5 ? 1u : 0u);
    }
    plan(MOST / 2).part(2, MOST, &first, &last);
    CHECK_EQ(first, MOST - 1);
    CHECK_EQ(last, MOST);
}

TEST(a_plan_out_of_range_is_rejected_by_name) {
    const auto check = [](std::size_t batch_size, std::size_t rank, std::size_t world_size, std::size_t threads) {
        BatchPlan{batch_size, false, false, 0, rank, world_size, threads}.check();
    };
    check(1, 0, 1, 1);
    check(MOST, MOST - 1, MOST, 256);
    CHECK_THROWS_WITH(std::invalid_argument, "batch_size must be at least 1, got 0", check(0, 0, 1, 1));
    CHECK_THROWS_WITH(std::invalid_argument, "world_size must be at least 1, got 0", check(1, 0, 0, 1));
    CHECK_THROWS_WITH(std::invalid_argument, "rank must be below world_size, got rank 3 of world_size 3",
                      check(1, 3, 3, 1));
    CHECK_THROWS_WITH(std::invalid_argument, "num_threads must lie in 1 to 256, got 0", check(1, 0, 1, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "num_threads must lie in 1 to 256, got 257", check(1, 0, 1, 257));
}
