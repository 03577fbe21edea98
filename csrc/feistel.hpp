// The bijection behind a shuffled order; order.hpp says where it comes from and what it promises.
//
// Everything is inline and nothing names an instruction set: each kernel compiles it for its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "inline.hpp"

namespace mnist_sgd {

// A generalised Feistel network over the pairs [0, left) x [0, right), which hold [0, count): it
// sends each position to a sample.
class Feistel {
public:
    static constexpr int ROUNDS = 8;

    std::uint64_t count;
    std::uint32_t left;   // a
    std::uint32_t right;  // b
    std::uint32_t keys[ROUNDS];

    // Writes the samples at the positions start, ..., start + n - 1, all below count, to `out`.
    MNIST_SGD_INLINE void fill(std::uint64_t start, std::size_t n, std::int64_t* out) const {
        std::size_t done = 0;
        for (; done + BLOCK <= n; done += BLOCK) {
            fill_block<BLOCK>(start + done, BLOCK, out + done);
        }
        for (; done < n; done += SMALL_BLOCK) {
            fill_block<SMALL_BLOCK>(start + done, std::min(SMALL_BLOCK, n - done), out + done);
        }
    }

private:
    // Positions whose rounds run side by side, in vector registers where the compiler can: one
    // position's rounds wait for each other, so one at a time takes 24 ns each; 64 together take
    // 1.7 ns each with AVX-512, 2.5 with AVX2, 7 without.
    static constexpr std::size_t BLOCK = 64;
    static constexpr std::size_t SMALL_BLOCK = 16;  // for what is left after blocks

    // As fill, of at most `size` positions.
    template <std::size_t size>
    MNIST_SGD_INLINE void fill_block(std::uint64_t start, std::size_t n, std::int64_t* out) const {
        std::uint32_t l[size];
        std::uint32_t r[size];
        split<size>(start, l, r);
        rounds<size>(l, r);
        bool outside = false;
        for (std::size_t i = 0; i < n; ++i) {
            const std::uint64_t sample = joined(l[i], r[i]);
            out[i] = static_cast<std::int64_t>(sample);
            outside |= sample >= count;
        }
        if (outside) {
            walk(l, r, n, out);
        }
    }

    // A number in [0, modulus) that depends on every bit of `half` and `key`. The multipliers are
    // those of MurmurHash3's 32-bit finaliser (Appleby).
    static MNIST_SGD_INLINE std::uint32_t round_function(std::uint32_t half, std::uint32_t key, std::uint32_t modulus) {
        std::uint32_t h = (half + key) * 0x85ebca6bu;
        h = (h ^ (h >> 15)) * 0xc2b2ae35u;
        h ^= h >> 16;
        return static_cast<std::uint32_t>((static_cast<std::uint64_t>(h) * modulus) >> 32);
    }

    // x + y modulo a modulus below 2^31 that exceeds both.
    static MNIST_SGD_INLINE std::uint32_t add(std::uint32_t x, std::uint32_t y, std::uint32_t modulus) {
        const std::uint32_t sum = x + y;
        return std::min(sum, sum - modulus);  // the difference wraps to a huge number when sum < modulus
    }

    // The pairs of `size` positions from `start` on; past the last pair, anything.
    template <std::size_t size>
    MNIST_SGD_INLINE void split(std::uint64_t start, std::uint32_t* l, std::uint32_t* r) const {
        const std::uint32_t high = static_cast<std::uint32_t>(start / right);
        const std::uint32_t low = static_cast<std::uint32_t>(start % right);
        if (right < size) {
            for (std::uint32_t i = 0; i < size; ++i) {
                l[i] = (high + (low + i) / right) % left;
                r[i] = (low + i) % right;
            }
            return;
        }
        for (std::uint32_t i = 0; i < size; ++i) {  // at most one wrap in so few
            const bool wraps = low + i >= right;
            l[i] = high + (wraps ? 1 : 0);
            r[i] = low + i - (wraps ? right : 0);
        }
    }

    // The network, in place, on `size` pairs.
    template <std::size_t size>
    MNIST_SGD_INLINE void rounds(std::uint32_t* l, std::uint32_t* r) const {
        for (int round = 0; round < ROUNDS; round += 2) {
            for (std::size_t i = 0; i < size; ++i) {
                l[i] = add(l[i], round_function(r[i], keys[round], left), left);
            }
            for (std::size_t i = 0; i < size; ++i) {
                r[i] = add(r[i], round_function(l[i], keys[round + 1], right), right);
            }
        }
    }

    // Walks the cycle of every pair whose result is outside, which is rare: see order.hpp.
    void walk(std::uint32_t* l, std::uint32_t* r, std::size_t n, std::int64_t* out) const {
        for (std::size_t i = 0; i < n; ++i) {
            while (joined(l[i], r[i]) >= count) {
                rounds<1>(&l[i], &r[i]);
            }
            out[i] = static_cast<std::int64_t>(joined(l[i], r[i]));
        }
    }

    MNIST_SGD_INLINE std::uint64_t joined(std::uint32_t l, std::uint32_t r) const {
        return static_cast<std::uint64_t>(l) * right + r;
    }
};

}  // namespace mnist_sgd
