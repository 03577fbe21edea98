// The bijection behind a shuffled order; order.hpp describes the algorithm and its guarantees.
//
// All functions are inline and use no intrinsics, so that each kernel compiles them for its own
// instruction set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "macros.hpp"

namespace mnist_sgd {

// A generalised Feistel network over the pairs [0, left) x [0, right), which cover [0, count). It maps
// each position to a sample.
class Feistel {
public:
    struct PlainBlock;

    static constexpr int ROUNDS = 8;
    // From the 32-bit finaliser of MurmurHash3 (Appleby).
    static constexpr std::uint32_t MULTIPLIER_1 = 0x85ebca6bu;
    static constexpr std::uint32_t MULTIPLIER_2 = 0xc2b2ae35u;

    std::uint64_t count;
    std::uint32_t left;   // a
    std::uint32_t right;  // b
    std::uint32_t keys[ROUNDS];

    // Writes the samples at the positions start, ..., start + n - 1, all below count, to `out`. A
    // kernel may pass its own implementation of PlainBlock.
    template <typename Block = PlainBlock>
    MNIST_SGD_INLINE void fill(std::uint64_t start, std::size_t n, std::int64_t* out) const {
        std::size_t done = 0;
        for (; done + BLOCK <= n; done += BLOCK) {
            if (Block::template run<BLOCK>(*this, start + done, out + done)) {
                walk(out + done, BLOCK);
            }
        }
        for (; done < n; done += SMALL_BLOCK) {
            const std::size_t size = std::min(SMALL_BLOCK, n - done);
            std::int64_t samples[SMALL_BLOCK];
            if (Block::template run<SMALL_BLOCK>(*this, start + done, samples)) {
                walk(samples, size);
            }
            std::copy(samples, samples + size, out + done);
        }
    }

    // Encrypts `size` consecutive positions into `out`; outputs past the last position are unspecified.
    // Returns whether one of them is count or more, and so must go through the network again.
    struct PlainBlock {
        template <std::size_t size>
        static MNIST_SGD_INLINE bool run(const Feistel& network, std::uint64_t start, std::int64_t* out) {
            std::uint32_t l[size];
            std::uint32_t r[size];
            split<size>(network, start, l, r);
            for (int round = 0; round < ROUNDS; round += 2) {
                half_round<size>(l, r, network.keys[round], network.left);
                half_round<size>(r, l, network.keys[round + 1], network.right);
            }
            bool outside = false;
            for (std::size_t i = 0; i < size; ++i) {
                const std::uint64_t sample = static_cast<std::uint64_t>(l[i]) * network.right + r[i];
                out[i] = static_cast<std::int64_t>(sample);
                outside |= sample >= network.count;
            }
            return outside;
        }
    };

private:
    // Positions that go through the network together, in vector registers if the compiler can. The
    // rounds of a single position depend on each other, so one at a time is many times slower.
    static constexpr std::size_t BLOCK = 64;
    static constexpr std::size_t SMALL_BLOCK = 16;  // for the remainder

    // Splits positions into pairs; `l` is the high half.
    template <std::size_t size>
    static MNIST_SGD_INLINE void split(const Feistel& network, std::uint64_t start, std::uint32_t* l,
                                       std::uint32_t* r) {
        const std::uint32_t high = static_cast<std::uint32_t>(start / network.right);
        const std::uint32_t low = static_cast<std::uint32_t>(start % network.right);
        for (std::uint32_t i = 0; i < size; ++i) {
            if (network.right < size) {
                l[i] = (high + (low + i) / network.right) % network.left;
                r[i] = (low + i) % network.right;
            } else {  // at most one wraparound in a block
                const bool wraps = low + i >= network.right;
                l[i] = high + (wraps ? 1 : 0);
                r[i] = low + i - (wraps ? network.right : 0);
            }
        }
    }

    // Adds a hash of the other half and the round's key to one half of each pair.
    template <std::size_t size>
    static MNIST_SGD_INLINE void half_round(std::uint32_t* changed, const std::uint32_t* other, std::uint32_t key,
                                            std::uint32_t modulus) {
        for (std::size_t i = 0; i < size; ++i) {
            std::uint32_t h = (other[i] + key) * MULTIPLIER_1;
            h = (h ^ (h >> 15)) * MULTIPLIER_2;
            h ^= h >> 16;
            const auto scaled = static_cast<std::uint32_t>((static_cast<std::uint64_t>(h) * modulus) >> 32);
            // The sum modulo a modulus below 2^31: if it is smaller, the difference wraps to a huge number.
            const std::uint32_t sum = changed[i] + scaled;
            changed[i] = std::min(sum, sum - modulus);
        }
    }

    // Walks the cycle of each sample that is count or more, which is rare: see order.hpp.
    void walk(std::int64_t* samples, std::size_t n) const {
        for (std::size_t i = 0; i < n; ++i) {
            while (static_cast<std::uint64_t>(samples[i]) >= count) {
                PlainBlock::run<1>(*this, static_cast<std::uint64_t>(samples[i]), &samples[i]);
            }
        }
    }
};

}  // namespace mnist_sgd
