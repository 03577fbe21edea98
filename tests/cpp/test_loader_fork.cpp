// Forks: after a fork in the middle of an epoch, both the child and the parent can continue it.
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "check.hpp"
#include "fork.hpp"
#include "loader.hpp"
#include "samples.hpp"
#include "together.hpp"

using namespace mnist_sgd;

namespace {

BatchPlan plan(std::size_t threads) { return {4, true, false, 3, 0, 1, threads}; }
BatchTransform plain() { return {std::nullopt, Normalization(0.0f, 1.0f), Dtype::float32, default_kernel()}; }

// Compares the rest of the epoch, from batch `given` on, with the reference batches.
void check_rest(Epoch& epoch, const std::vector<BatchContents>& whole, std::size_t given) {
    for (std::size_t i = given; i < whole.size(); ++i) {
        epoch.after_fork_in_child();
        const Batch batch = epoch.next();
        CHECK(batch.buffer != nullptr);
        CHECK(contents(batch) == whole[i]);
    }
    CHECK(epoch.next().buffer == nullptr);
}

}  // namespace

TEST(the_fork_generation_differs_between_parent_child_and_grandchild) {
    const std::uint64_t parents = fork_generation();
    in_child([&] {
        const std::uint64_t childs = fork_generation();
        CHECK(childs != parents);
        in_child([&] {
            CHECK(fork_generation() != childs);
            CHECK(fork_generation() != parents);
        });
        CHECK_EQ(fork_generation(), childs);
    });
    CHECK_EQ(fork_generation(), parents);
}

TEST(after_a_fork_at_any_batch_both_processes_continue) {
    Dataset data(36);
    for (std::size_t threads = 1; threads <= MOST_FORKED_THREADS; ++threads) {
        const std::vector<BatchContents> whole = reference_batches(data.samples(), plan(threads), 0, plain());
        const std::vector<BatchContents> second = reference_batches(data.samples(), plan(threads), 1, plain());
        Loader loader(data.samples(), plan(threads), plain());
        const auto epoch = loader.epoch(0, 0);
        std::vector<Batch> batches;
        for (std::size_t given = 0; given <= whole.size(); ++given) {
            in_child([&] {
                batches.clear();  // releases the child's copies of what the parent holds
                epoch->after_fork_in_child();
                check_rest(*epoch, whole, given);
                check_rest(*loader.epoch(1, 0), second, 0);
            });
            Batch batch = epoch->next();
            if (given < whole.size()) CHECK(contents(batch) == whole[given]);
            batches.push_back(std::move(batch));
        }
        check_rest(*loader.epoch(1, 0), second, 0);
    }
}

TEST(a_grandchild_continues_too) {
    Dataset data(36);
    for (std::size_t threads = 1; threads <= MOST_FORKED_THREADS; ++threads) {
        const std::vector<BatchContents> whole = reference_batches(data.samples(), plan(threads), 0, plain());
        Loader loader(data.samples(), plan(threads), plain());
        const auto epoch = loader.epoch(0, 0);
        epoch->next();
        in_child([&] {
            epoch->after_fork_in_child();
            epoch->next();
            in_child([&] { check_rest(*epoch, whole, 2); });
            check_rest(*epoch, whole, 2);
        });
        check_rest(*epoch, whole, 1);
    }
}

TEST(a_child_may_release_everything_and_exit) {
    Dataset data(36);
    for (std::size_t threads = 1; threads <= MOST_FORKED_THREADS; ++threads) {
        auto loader = std::make_unique<Loader>(data.samples(), plan(threads), plain());
        auto epoch = loader->epoch(0, 0);
        Batch batch = epoch->next();
        in_child([&] {
            batch = {};
            epoch.reset();
            loader.reset();
        });
        CHECK(epoch->next().buffer != nullptr);
    }
}
