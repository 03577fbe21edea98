// The order of an epoch: a bijection, computable in any parts, that never changes.
#include "order.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "guarded.hpp"

using namespace mnist_sgd;

namespace {

using Samples = std::vector<std::int64_t>;

// The parameters of an order, for which every kernel must give the same samples.
struct Parameters {
    std::uint64_t count;
    std::uint64_t seed;
    std::uint64_t epoch;
    bool shuffle = true;
};

// The samples at n positions, from every kernel, written between guard pages.
Samples part(const Parameters& which, std::uint64_t start, std::size_t n) {
    Guarded memory(n * sizeof(std::int64_t));
    std::int64_t* const outs[] = {reinterpret_cast<std::int64_t*>(memory.front()),
                                  reinterpret_cast<std::int64_t*>(memory.back(n * sizeof(std::int64_t)))};
    Samples samples;
    for (const Kernel& kernel : kernels()) {
        for (std::int64_t* const out : outs) {
            std::fill_n(out, n, -1);
            Order(which.count, which.seed, which.epoch, which.shuffle, kernel).fill(start, n, out);
            if (samples.empty()) samples.assign(out, out + n);
            CHECK(std::equal(samples.begin(), samples.end(), out, out + n));
        }
    }
    return samples;
}

Samples whole(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch = 0) {
    return part({count, seed, epoch}, 0, count);
}

bool is_permutation(Samples samples) {
    std::sort(samples.begin(), samples.end());
    for (std::size_t i = 0; i < samples.size(); ++i) {
        if (samples[i] != static_cast<std::int64_t>(i)) return false;
    }
    return true;
}

std::uint64_t splitmix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// Version 1 of the order as order.hpp describes it, one position at a time.
class ReferenceOrder {
public:
    ReferenceOrder(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch) : count_(count) {
        while (a_ * a_ < count) ++a_;
        b_ = (count + a_ - 1) / a_;
        constexpr std::uint64_t increment = 0x9e3779b97f4a7c15u;
        std::uint64_t state = splitmix(seed + increment) ^ splitmix(splitmix(epoch + increment) + increment);
        for (std::uint32_t& key : keys_) {
            state += increment;
            key = static_cast<std::uint32_t>(splitmix(state) >> 32);
        }
    }

    std::int64_t sample(std::uint64_t position) const {
        do {
            std::uint64_t left = position / b_;
            std::uint64_t right = position % b_;
            for (int round = 0; round < 8; round += 2) {
                left = (left + hash(right, keys_[round], a_)) % a_;
                right = (right + hash(left, keys_[round + 1], b_)) % b_;
            }
            position = left * b_ + right;
        } while (position >= count_);
        return static_cast<std::int64_t>(position);
    }

private:
    static std::uint64_t hash(std::uint64_t half, std::uint32_t key, std::uint64_t modulus) {
        std::uint32_t h = static_cast<std::uint32_t>(half + key) * 0x85ebca6bu;
        h = (h ^ (h >> 15)) * 0xc2b2ae35u;
        h ^= h >> 16;
        return (h * modulus) >> 32;
    }

    std::uint64_t count_;
    std::uint64_t a_ = 1;
    std::uint64_t b_;
    std::uint32_t keys_[8];
};

}  // namespace

TEST(every_small_count_is_permuted) {
    for (std::uint64_t count = 1; count <= 600; ++count) {
        for (std::uint64_t seed = 0; seed < 3; ++seed) CHECK(is_permutation(whole(count, seed, count)));
    }
}

TEST(sampled_large_counts_are_permuted) {
    std::mt19937_64 random(1);
    for (int turn = 0; turn < 12; ++turn) CHECK(is_permutation(whole(1 + random() % 400000, random(), random())));
    for (const std::uint64_t root : {255u, 256u, 512u}) {  // around the squares, where a, b and the cycle walk change
        for (std::uint64_t count = root * root - 1; count <= root * root + 1; ++count) {
            CHECK(is_permutation(whole(count, root)));
        }
    }
}

TEST(parts_of_the_largest_orders_have_no_duplicates) {
    for (const std::uint64_t count : {std::uint64_t{1} << 32, (std::uint64_t{1} << 32) + 1, Order::MAX_COUNT - 1,
                                      Order::MAX_COUNT}) {
        const Parameters order{count, 3, 4};
        std::set<std::int64_t> seen;
        for (const std::uint64_t start : {std::uint64_t{0}, count / 2, count - 5000}) {
            for (const std::int64_t sample : part(order, start, 5000)) {
                CHECK(sample >= 0 && static_cast<std::uint64_t>(sample) < count);
                CHECK(seen.insert(sample).second);
            }
        }
    }
}

TEST(every_part_is_a_slice_of_the_whole) {
    for (const std::uint64_t count : {1u, 2u, 17u, 64u, 83u, 150u}) {
        for (const bool shuffle : {false, true}) {
            const Parameters order{count, 5, 6, shuffle};
            const Samples all = part(order, 0, count);
            for (std::size_t start = 0; start <= count; ++start) {
                for (std::size_t stop = start; stop <= count; ++stop) {
                    const Samples slice(all.begin() + static_cast<std::ptrdiff_t>(start),
                                        all.begin() + static_cast<std::ptrdiff_t>(stop));
                    CHECK(part(order, start, stop - start) == slice);
                }
            }
        }
    }
}

TEST(the_order_is_the_described_algorithm) {
    std::mt19937_64 random(2);
    for (int turn = 0; turn < 400; ++turn) {
        const std::uint64_t count = 1 + random() % (std::uint64_t{1} << (1 + turn % 40));
        const std::uint64_t seed = random();
        const std::uint64_t epoch = random();
        const ReferenceOrder reference(count, seed, epoch);
        const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(count, 250));
        const std::uint64_t start = random() % (count - n + 1);
        const Samples ours = part({count, seed, epoch}, start, n);
        for (std::size_t i = 0; i < n; ++i) CHECK_EQ(ours[i], reference.sample(start + i));
    }
}

TEST(version_1_of_the_order_never_changes) {
    constexpr std::uint64_t last = ~std::uint64_t{0};
    constexpr std::uint64_t tera = 1000000000000;
    CHECK_EQ(ORDER_VERSION, 1);
    CHECK(whole(10, 0) == (Samples{0, 3, 5, 1, 4, 7, 6, 9, 8, 2}));
    CHECK(whole(10, 0, 1) == (Samples{3, 5, 2, 6, 9, 1, 4, 0, 8, 7}));
    CHECK(whole(10, last) == (Samples{6, 5, 4, 0, 1, 8, 3, 7, 9, 2}));
    CHECK(part({12396, 42, 3}, 12388, 8) ==
          (Samples{2113, 10758, 10220, 4042, 4893, 4551, 9530, 4246}));
    CHECK(part({tera, 7, last}, tera / 2, 4) ==
          (Samples{497867986880, 492273528353, 843197681366, 637413074101}));
    CHECK(part({Order::MAX_COUNT, 1, 2}, Order::MAX_COUNT - 3, 3) ==
          (Samples{107710885694510279, 712338407261664406, 681474018775790311}));
}

TEST(without_shuffling_the_order_is_the_identity) {
    const Parameters order{Order::MAX_COUNT, 1, 2, false};
    CHECK(part(order, 0, 3) == (Samples{0, 1, 2}));
    CHECK(part(order, Order::MAX_COUNT - 2, 2) == (Samples{(1LL << 60) - 2, (1LL << 60) - 1}));
}

TEST(a_count_out_of_range_is_rejected) {
    CHECK_THROWS_WITH(std::invalid_argument, "count must lie in 1 to 2^60, got 0",
                      Order(0, 0, 0, true, default_kernel()));
    CHECK_THROWS_WITH(std::invalid_argument, "count must lie in 1 to 2^60, got 1152921504606846977",
                      Order(Order::MAX_COUNT + 1, 0, 0, true, default_kernel()));
    CHECK_THROWS_WITH(std::invalid_argument, "count must lie in 1 to 2^60, got 18446744073709551615",
                      Order(~std::uint64_t{0}, 0, 0, false, default_kernel()));
}
