// Division of a byte by 255 without a division instruction and without a fused multiply-add.
//
// x / 255 = x * 65793 / 2^24 + x * 257 / 2^40 + ..., because 65793 = 1 + 2^8 + 2^16. Both products are
// exact in float32 (24 and 17 bits), so their sum rounds once. For all 256 bytes it rounds to the
// correct quotient (the tests check each), whether or not a compiler fuses the operations.
#pragma once

namespace mnist_sgd {

// x / 255 is x * DIV255_HIGH + x * DIV255_LOW.
constexpr float DIV255_HIGH = 0x1.0101p-8f;
constexpr float DIV255_LOW = 0x1.01p-32f;

}  // namespace mnist_sgd
