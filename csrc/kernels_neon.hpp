// The kernel for 64-bit ARM, where every processor supports NEON.
#pragma once

#include <cstdint>

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define MNIST_SGD_NEON_KERNEL 1
#else
#define MNIST_SGD_NEON_KERNEL 0
#endif

namespace mnist_sgd {

class Normalization;
struct RowGather;

namespace neon {

void float32(const RowGather& rows, float* out, const Normalization& norm);
void bfloat16(const RowGather& rows, std::uint16_t* out, const Normalization& norm);

}  // namespace neon
}  // namespace mnist_sgd
