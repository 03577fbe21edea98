// Slots: whoever holds one holds it alone, and it goes back when the last holder lets go.
#include "slots.hpp"

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

std::shared_ptr<SlotPool> pool(std::size_t keep) { return std::make_shared<SlotPool>(BYTES, LABELS, keep); }

// Fills a slot to its last byte and label.
void mark(Slot& slot, int with) {
    std::memset(slot.values(), with % 256, BYTES);
    std::fill_n(slot.labels(), LABELS, with);
}

bool is_marked(Slot& slot, int with) {
    const auto* const values = static_cast<const std::uint8_t*>(slot.values());
    return std::count(values, values + BYTES, with % 256) == BYTES &&
           std::count(slot.labels(), slot.labels() + LABELS, with) == LABELS;
}

}  // namespace

TEST(a_held_slot_is_never_handed_out) {
    const auto slots = pool(2);
    std::vector<std::shared_ptr<Slot>> held;
    std::set<Slot*> distinct;
    for (int i = 0; i < 100; ++i) {
        held.push_back(slots->acquire());
        mark(*held.back(), i);
        CHECK(distinct.insert(held.back().get()).second);
    }
    for (int i = 0; i < 100; ++i) CHECK(is_marked(*held[static_cast<std::size_t>(i)], i));
}

TEST(a_slot_comes_back_when_its_last_holder_lets_go_and_not_before) {
    const auto slots = pool(3);
    std::shared_ptr<Slot> slot = slots->acquire();
    Slot* const address = slot.get();
    std::shared_ptr<Slot> other = slot;
    slot.reset();
    CHECK(slots->acquire().get() != address);
    other.reset();
    CHECK_EQ(slots->acquire().get(), address);
}

TEST(the_slot_that_came_back_last_is_handed_out_first) {
    const auto slots = pool(3);
    std::shared_ptr<Slot> first = slots->acquire();
    std::shared_ptr<Slot> second = slots->acquire();
    Slot* const addresses[] = {first.get(), second.get()};
    first.reset();
    second.reset();
    first = slots->acquire();
    second = slots->acquire();
    CHECK_EQ(first.get(), addresses[1]);
    CHECK_EQ(second.get(), addresses[0]);
}

TEST(no_more_free_slots_are_kept_than_was_said) {
    for (const std::size_t keep : {0u, 1u, 4u}) {
        const auto slots = pool(keep);
        const long before = memory::living;
        slots->acquire().reset();
        const long one = memory::living - before;  // the allocations of a free slot
        CHECK_EQ(one > 0, keep > 0);
        {
            std::vector<std::shared_ptr<Slot>> held;
            for (int i = 0; i < 10; ++i) held.push_back(slots->acquire());
        }
        CHECK_EQ(memory::living - before, one * static_cast<long>(keep));
    }
}

TEST(a_slot_outlives_its_pool) {
    std::shared_ptr<Slot> held;
    {
        const auto slots = pool(3);
        slots->acquire().reset();  // a free one, which dies with the pool
        held = slots->acquire();
    }
    mark(*held, 7);
    CHECK(is_marked(*held, 7));
}

TEST(values_begin_on_a_cache_line) {
    for (std::size_t bytes = 0; bytes < 200; ++bytes) {
        CHECK_EQ(reinterpret_cast<std::uintptr_t>(Slot(bytes, 1).values()) % 64, 0u);
    }
}

TEST(threads_never_hold_the_same_slot) {
    const auto slots = pool(4);
    run_together(8, [&](std::size_t worker) {
        std::mt19937_64 random(worker);
        std::vector<std::pair<std::shared_ptr<Slot>, int>> held;
        for (int turn = 0; turn < 4000; ++turn) {
            const int token = static_cast<int>(worker) * 10000 + turn;
            if (held.size() < 1 + random() % 5) {
                held.emplace_back(slots->acquire(), token);
                mark(*held.back().first, token);
            } else {
                std::swap(held[random() % held.size()], held.back());
                CHECK(is_marked(*held.back().first, held.back().second));
                held.pop_back();
            }
        }
    });
}

TEST(any_thread_may_let_a_slot_go_also_while_its_pool_dies) {
    for (int turn = 0; turn < 200; ++turn) {
        auto slots = pool(4);
        std::vector<std::shared_ptr<Slot>> held(4);
        for (auto& slot : held) slot = slots->acquire();
        run_together(5, [&](std::size_t worker) {
            if (worker == 4) {
                slots.reset();
            } else {
                mark(*held[worker], turn);
                held[worker].reset();
            }
        });
    }
}

TEST(an_allocation_that_fails_is_bad_alloc_and_loses_nothing) {
    const long before = memory::living;
    bool failed = true;
    for (long first = 0; failed; ++first) {
        failed = false;
        const auto slots = pool(2);
        slots->acquire().reset();  // a free one, so that the first of the three below makes none
        std::shared_ptr<Slot> held[3];
        memory::until_failure = first;
        try {
            for (auto& slot : held) slot = slots->acquire();
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        memory::until_failure = -1;
        CHECK(failed || first > 3);
        for (auto& slot : held) {
            slot = slots->acquire();
            mark(*slot, 3);
        }
    }
    CHECK_EQ(memory::living, before);
}

TEST(a_forked_child_lets_go_what_its_parent_holds) {
    const auto slots = pool(2);
    std::shared_ptr<Slot> held = slots->acquire();
    mark(*held, 1);
    in_child([&] {
        CHECK(is_marked(*held, 1));
        mark(*held, 2);
        held.reset();
    });
    CHECK(is_marked(*held, 1));
}
