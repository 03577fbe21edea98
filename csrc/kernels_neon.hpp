// The kernel for 64-bit ARM, all of which have these instructions.
#pragma once

#include <cstdint>

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define MNIST_SGD_NEON_KERNEL 1
#else
#define MNIST_SGD_NEON_KERNEL 0
#endif

namespace mnist_sgd {

class Normalization;
struct Rows;

namespace neon {

void float32(const Rows& rows, float* out, const Normalization& how);
void bfloat16(const Rows& rows, std::uint16_t* out, const Normalization& how);

}  // namespace neon
}  // namespace mnist_sgd
