// A byte over 255 without a division and without a fused multiply-add.
//
// x / 255 = x * 65793 / 2^24 + x * 257 / 2^40 + ..., for 65793 = 1 + 2^8 + 2^16. Both products are
// exact in float32 (24 and 17 bits), so their sum rounds once, and it rounds to the quotient for
// each of the 256 bytes (the tests check them all), whether a compiler fuses it or not.
#pragma once

namespace mnist_sgd {

constexpr float HIGH = 0x1.0101p-8f;
constexpr float LOW = 0x1.01p-32f;

}  // namespace mnist_sgd
