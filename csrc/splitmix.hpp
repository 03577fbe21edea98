// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014),
// the source of every random number in the core.
#pragma once

#include <cstdint>

namespace mnist_sgd {

constexpr std::uint64_t GOLDEN = 0x9e3779b97f4a7c15u;  // 2^64 / the golden ratio, SplitMix64's increment

// SplitMix64's output function, a bijection.
inline std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// The generator's n-th number, from 0, computed without those before it.
inline std::uint64_t splitmix(std::uint64_t state, std::uint64_t n) { return mix(state + (n + 1) * GOLDEN); }

}  // namespace mnist_sgd
