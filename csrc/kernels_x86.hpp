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
enum class Outside;
class Feistel;
class Normalization;
struct Rows;

namespace avx2 {

bool supported();
void float32(const Rows& rows, float* out, const Normalization& how);
void bfloat16(const Rows& rows, std::uint16_t* out, const Normalization& how);
void resample(const std::uint8_t* image, std::uint8_t* out, const Affine& map, Outside outside);
void shuffle(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out);

}  // namespace avx2

namespace avx512 {

bool supported();
void float32(const Rows& rows, float* out, const Normalization& how);
void bfloat16(const Rows& rows, std::uint16_t* out, const Normalization& how);
void shuffle(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out);

}  // namespace avx512

namespace avx512vbmi {

bool supported();
void float32(const Rows& rows, float* out, const Normalization& how);
void bfloat16(const Rows& rows, std::uint16_t* out, const Normalization& how);

}  // namespace avx512vbmi

}  // namespace mnist_sgd
