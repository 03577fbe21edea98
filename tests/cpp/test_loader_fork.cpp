// Forks: a child of a process in the middle of an epoch goes on with it, and so does the parent.
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

Plan plan(std::size_t threads) { return {4, true, false, 3, 0, 1, threads}; }
Treatment plain() { return {std::nullopt, Normalization(0.0f, 1.0f), Dtype::float32, default_kernel()}; }

// Whether the epoch goes on as the naive loop from batch `given` on.
void check_rest(Epoch& epoch, const std::vector<Held>& whole, std::size_t given) {
    for (std::size_t i = given; i < whole.size(); ++i) {
        epoch.survive_fork();
        const Batch batch = epoch.next();
        CHECK(batch.slot != nullptr);
        CHECK(held(batch) == whole[i]);
    }
    CHECK(epoch.next().slot == nullptr);
}

}  // namespace

TEST(a_child_has_another_generation_than_its_parent_and_its_children) {
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

TEST(a_fork_after_any_batch_goes_on_in_both_processes) {
    Dataset data(36);
    for (std::size_t threads = 1; threads <= MOST_FORKED_THREADS; ++threads) {
        const std::vector<Held> whole = naive(data.samples(), plan(threads), 0, plain());
        const std::vector<Held> second = naive(data.samples(), plan(threads), 1, plain());
        Loader loader(data.samples(), plan(threads), plain());
        const auto epoch = loader.epoch(0, 0);
        std::vector<Batch> batches;
        for (std::size_t given = 0; given <= whole.size(); ++given) {
            in_child([&] {
                batches.clear();  // what the parent holds is let go here
                epoch->survive_fork();
                check_rest(*epoch, whole, given);
                check_rest(*loader.epoch(1, 0), second, 0);
            });
            Batch batch = epoch->next();
            if (given < whole.size()) CHECK(held(batch) == whole[given]);
            batches.push_back(std::move(batch));
        }
        check_rest(*loader.epoch(1, 0), second, 0);
    }
}

TEST(a_grandchild_goes_on_too) {
    Dataset data(36);
    for (std::size_t threads = 1; threads <= MOST_FORKED_THREADS; ++threads) {
        const std::vector<Held> whole = naive(data.samples(), plan(threads), 0, plain());
        Loader loader(data.samples(), plan(threads), plain());
        const auto epoch = loader.epoch(0, 0);
        epoch->next();
        in_child([&] {
            epoch->survive_fork();
            epoch->next();
            in_child([&] { check_rest(*epoch, whole, 2); });
            check_rest(*epoch, whole, 2);
        });
        check_rest(*epoch, whole, 1);
    }
}

TEST(a_child_that_only_lets_go_ends) {
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
        CHECK(epoch->next().slot != nullptr);
    }
}
