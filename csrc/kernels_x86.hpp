// The kernels for x86-64, compiled for their instruction sets function by function, so that one
// binary runs on every processor. Only GCC and Clang have the attribute; elsewhere the portable
// kernel serves.
#pragma once

#include <cstddef>
#include <cstdint>

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define MNIST_SGD_X86_KERNELS 1
#else
#define MNIST_SGD_X86_KERNELS 0
#endif

namespace mnist_sgd {

class Affine;
class Normalization;

namespace x86 {

bool has_avx2();
bool has_avx512();
void normalize_avx2(const std::uint8_t* pixels, float* out, std::size_t count, const Normalization& how);
void normalize_avx512(const std::uint8_t* pixels, float* out, std::size_t count, const Normalization& how);
void resample_avx2(const std::uint8_t* image, std::uint8_t* out, const Affine& map);

}  // namespace x86
}  // namespace mnist_sgd
