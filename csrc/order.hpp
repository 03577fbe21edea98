// The order in which an epoch visits the samples: a pure function of (count, seed, epoch).
//
// A shuffled order is a bijection of [0, count) that is computed per sample. It needs no memory or
// setup that grows with the dataset, and any part of it can be computed without the rest.
//
// The algorithm is part of the loader's contract; any change to it changes ORDER_VERSION:
// - Write the position as a pair (left, right) in [0, a) x [0, b), where a = ceil(sqrt(count)) and
//   b = ceil(count / a).
// - Apply 8 rounds of a generalised Feistel network over these two moduli (Black and Rogaway, "Ciphers
//   with Arbitrary Finite Domains", CT-RSA 2002, method 3). The round function is a multiply-xorshift
//   hash of the other half and the round's key. The keys are the high halves of SplitMix64's numbers
//   (splitmix.hpp), seeded with the seed and the epoch.
// - Repeat while the result is count or more ("cycle walking", method 2 of the paper), which happens
//   to fewer than one position in sqrt(count).
// It is a shuffle for training, not a cipher.
#pragma once

#include <cstddef>
#include <cstdint>

#include "feistel.hpp"
#include "kernels.hpp"

namespace mnist_sgd {

constexpr int ORDER_VERSION = 1;

class Order {
public:
    static constexpr std::uint64_t MAX_COUNT = std::uint64_t{1} << 60;

    // The order of `count` samples in an epoch; the identity if `shuffle` is false. The kernel affects
    // the speed, not the result. Throws std::invalid_argument unless count lies in 1 to MAX_COUNT.
    Order(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch, bool shuffle, const Kernel& kernel);

    // Writes the samples at the positions start, ..., start + n - 1, all below count, to `out`.
    void fill(std::uint64_t start, std::size_t n, std::int64_t* out) const;

private:
    Feistel network_;
    decltype(Kernel::shuffle) shuffle_;  // null for the identity
};

}  // namespace mnist_sgd
