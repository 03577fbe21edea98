// The order in which an epoch visits the samples: a pure function of (count, seed, epoch).
//
// A shuffled order is a bijection of [0, count) computed sample by sample, so it needs no memory
// and no set-up that grows with the data, and any part of it can be had without the rest.
//
// The algorithm, which is part of the loader's contract (a change of it is a change of
// ORDER_VERSION): write the position as a pair (left, right) in [0, a) x [0, b) with
// a = ceil(sqrt(count)) and b = ceil(count / a); 8 rounds of a generalised Feistel network over
// these two moduli (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, method
// 3); walk the cycle while the result is count or more (the same paper, method 2), which happens
// to fewer than one position in sqrt(count). The round function is a multiply-xorshift hash of the
// other half with the round's key; the keys are the high halves of SplitMix64's numbers (Steele, Lea and
// Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), started from the seed and
// the epoch. It is a shuffle for training, not a cipher.
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

    // The shuffled order of `count` samples in epoch `epoch`; the identity if `shuffle` is false.
    // The kernel decides how fast it comes, not what comes. Throws std::invalid_argument unless
    // count lies in 1 to MAX_COUNT.
    Order(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch, bool shuffle, const Kernel& kernel);

    // Writes the samples at the positions start, ..., start + n - 1, all below count, to `out`.
    void fill(std::uint64_t start, std::size_t n, std::int64_t* out) const;

private:
    Feistel network_;
    decltype(Kernel::shuffle) shuffle_;  // null for the identity
};

}  // namespace mnist_sgd
