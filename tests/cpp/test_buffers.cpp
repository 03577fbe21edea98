// Buffers: nobody else gets a held one, and it returns to the pool when the last holder releases it.
#include "buffers.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "check.hpp"
#include "failing_new.hpp"
#include "together.hpp"

using namespace mnist_sgd;

namespace {

constexpr std::size_t BYTES = 133;
constexpr std::size_t LABELS = 5;

std::shared_ptr<BufferPool> pool(std::size_t keep) { return std::make_shared<BufferPool>(BYTES, LABELS, keep); }

// Fills a buffer to its last byte and label.
void mark(Buffer& buffer, int with) {
    std::memset(buffer.values(), with % 256, BYTES);
    std::fill_n(buffer.labels(), LABELS, with);
}

bool is_marked(Buffer& buffer, int with) {
    const auto* const values = static_cast<const std::uint8_t*>(buffer.values());
    return std::count(values, values + BYTES, with % 256) == BYTES &&
           std::count(buffer.labels(), buffer.labels() + LABELS, with) == LABELS;
}

}  // namespace

TEST(a_held_buffer_is_never_handed_out) {
    const auto buffers = pool(2);
    std::vector<std::shared_ptr<Buffer>> held;
    std::set<Buffer*> distinct;
    for (int i = 0; i < 100; ++i) {
        held.push_back(buffers->acquire());
        mark(*held.back(), i);
        CHECK(distinct.insert(held.back().get()).second);
    }
    for (int i = 0; i < 100; ++i) CHECK(is_marked(*held[static_cast<std::size_t>(i)], i));
}

TEST(a_buffer_returns_when_its_last_holder_releases_it) {
    const auto buffers = pool(3);
    std::shared_ptr<Buffer> buffer = buffers->acquire();
    Buffer* const address = buffer.get();
    std::shared_ptr<Buffer> other = buffer;
    buffer.reset();
    CHECK(buffers->acquire().get() != address);
    other.reset();
    CHECK_EQ(buffers->acquire().get(), address);
}

TEST(the_buffer_returned_last_is_handed_out_first) {
    const auto buffers = pool(3);
    std::shared_ptr<Buffer> first = buffers->acquire();
    std::shared_ptr<Buffer> second = buffers->acquire();
    Buffer* const addresses[] = {first.get(), second.get()};
    first.reset();
    second.reset();
    first = buffers->acquire();
    second = buffers->acquire();
    CHECK_EQ(first.get(), addresses[1]);
    CHECK_EQ(second.get(), addresses[0]);
}

TEST(a_pool_keeps_a_limited_number_of_free_buffers) {
    for (const std::size_t keep : {0u, 1u, 4u}) {
        const auto buffers = pool(keep);
        const long before = memory::living;
        buffers->acquire().reset();
        const long one = memory::living - before;  // the allocations of a free buffer
        CHECK_EQ(one > 0, keep > 0);
        {
            std::vector<std::shared_ptr<Buffer>> held;
            for (int i = 0; i < 10; ++i) held.push_back(buffers->acquire());
        }
        CHECK_EQ(memory::living - before, one * static_cast<long>(keep));
    }
}

TEST(a_buffer_outlives_its_pool) {
    std::shared_ptr<Buffer> held;
    {
        const auto buffers = pool(3);
        buffers->acquire().reset();  // a free one, which is deleted with the pool
        held = buffers->acquire();
    }
    mark(*held, 7);
    CHECK(is_marked(*held, 7));
}

TEST(values_are_aligned_to_a_cache_line) {
    for (std::size_t bytes = 0; bytes < 200; ++bytes) {
        CHECK_EQ(reinterpret_cast<std::uintptr_t>(Buffer(bytes, 1).values()) % 64, 0u);
    }
}

TEST(threads_never_hold_the_same_buffer) {
    const auto buffers = pool(4);
    run_together(8, [&](std::size_t worker) {
        std::mt19937_64 random(worker);
        std::vector<std::pair<std::shared_ptr<Buffer>, int>> held;
        for (int turn = 0; turn < 4000; ++turn) {
            const int token = static_cast<int>(worker) * 10000 + turn;
            if (held.size() < 1 + random() % 5) {
                held.emplace_back(buffers->acquire(), token);
                mark(*held.back().first, token);
            } else {
                std::swap(held[random() % held.size()], held.back());
                CHECK(is_marked(*held.back().first, held.back().second));
                held.pop_back();
            }
        }
    });
}

TEST(any_thread_may_release_a_buffer_even_while_the_pool_is_destroyed) {
    for (int turn = 0; turn < 200; ++turn) {
        auto buffers = pool(4);
        std::vector<std::shared_ptr<Buffer>> held(4);
        for (auto& buffer : held) buffer = buffers->acquire();
        run_together(5, [&](std::size_t worker) {
            if (worker == 4) {
                buffers.reset();
            } else {
                mark(*held[worker], turn);
                held[worker].reset();
            }
        });
    }
}

TEST(a_failed_allocation_throws_bad_alloc_and_leaks_nothing) {
    const long before = memory::living;
    bool failed = true;
    for (long first = 0; failed; ++first) {
        failed = false;
        const auto buffers = pool(2);
        buffers->acquire().reset();  // a free one, so that the first of the three below allocates nothing
        std::shared_ptr<Buffer> held[3];
        memory::until_failure = first;
        try {
            for (auto& buffer : held) buffer = buffers->acquire();
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        memory::until_failure = -1;
        CHECK(failed || first > 3);
        for (auto& buffer : held) {
            buffer = buffers->acquire();
            mark(*buffer, 3);
        }
    }
    CHECK_EQ(memory::living, before);
}

TEST(a_forked_child_releases_what_its_parent_holds) {
    const auto buffers = pool(2);
    std::shared_ptr<Buffer> held = buffers->acquire();
    mark(*held, 1);
    in_child([&] {
        CHECK(is_marked(*held, 1));
        mark(*held, 2);
        held.reset();
    });
    CHECK(is_marked(*held, 1));
}
