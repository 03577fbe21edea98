#include "order.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "splitmix.hpp"

namespace mnist_sgd {

namespace {

// Positions whose rounds run side by side, in vector registers where the compiler can: one
// position's rounds wait for each other, so one at a time takes 24 ns each, 16 together 6.
constexpr std::size_t BLOCK = 16;

// A number in [0, modulus) that depends on every bit of `half` and `key`. The multipliers are those
// of MurmurHash3's 32-bit finaliser (Appleby).
std::uint32_t round_function(std::uint32_t half, std::uint32_t key, std::uint32_t modulus) {
    std::uint32_t h = (half + key) * 0x85ebca6bu;
    h = (h ^ (h >> 15)) * 0xc2b2ae35u;
    h ^= h >> 16;
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(h) * modulus) >> 32);
}

// x + y modulo a modulus below 2^31 that exceeds both.
std::uint32_t add(std::uint32_t x, std::uint32_t y, std::uint32_t modulus) {
    const std::uint32_t sum = x + y;
    return std::min(sum, sum - modulus);  // the difference wraps to a huge number when sum < modulus
}

std::uint32_t ceil_sqrt(std::uint64_t n) {
    std::uint64_t root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(n)));
    while (root * root < n) ++root;
    while (root > 0 && (root - 1) * (root - 1) >= n) --root;
    return static_cast<std::uint32_t>(root);
}

std::uint64_t checked(std::uint64_t count) {
    if (count < 1 || count > Order::MAX_COUNT) {
        throw std::invalid_argument("count must lie in 1 to 2^60, got " + std::to_string(count));
    }
    return count;
}

}  // namespace

Order::Order(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch, bool shuffle)
    : count_(checked(count)),
      left_(ceil_sqrt(count)),
      right_(static_cast<std::uint32_t>((count + left_ - 1) / left_)),
      shuffle_(shuffle) {
    std::uint64_t state = mix(seed + GOLDEN) ^ mix(mix(epoch + GOLDEN) + GOLDEN);
    for (std::uint32_t& key : keys_) {
        state += GOLDEN;
        key = static_cast<std::uint32_t>(mix(state) >> 32);
    }
}

void Order::rounds(std::uint32_t* left, std::uint32_t* right, std::size_t n) const {
    for (int round = 0; round < ROUNDS; round += 2) {
        for (std::size_t i = 0; i < n; ++i) {
            left[i] = add(left[i], round_function(right[i], keys_[round], left_), left_);
        }
        for (std::size_t i = 0; i < n; ++i) {
            right[i] = add(right[i], round_function(left[i], keys_[round + 1], right_), right_);
        }
    }
}

void Order::fill(std::uint64_t start, std::size_t n, std::int64_t* out) const {
    if (!shuffle_) {
        std::iota(out, out + n, static_cast<std::int64_t>(start));
        return;
    }
    std::uint32_t left[BLOCK];
    std::uint32_t right[BLOCK];
    for (std::size_t done = 0; done < n; done += BLOCK) {
        const std::size_t size = std::min(BLOCK, n - done);
        left[0] = static_cast<std::uint32_t>((start + done) / right_);
        right[0] = static_cast<std::uint32_t>((start + done) % right_);
        for (std::size_t i = 1; i < size; ++i) {
            const bool wraps = right[i - 1] + 1 == right_;
            left[i] = left[i - 1] + (wraps ? 1 : 0);
            right[i] = wraps ? 0 : right[i - 1] + 1;
        }
        rounds(left, right, size);
        for (std::size_t i = 0; i < size; ++i) {
            while (sample(left[i], right[i]) >= count_) {
                rounds(&left[i], &right[i], 1);
            }
            out[done + i] = static_cast<std::int64_t>(sample(left[i], right[i]));
        }
    }
}

}  // namespace mnist_sgd
