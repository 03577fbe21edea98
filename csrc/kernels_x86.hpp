// The kernels for x86-64. Each function is compiled for its own instruction set by an attribute of
// GCC and Clang, so that one binary runs on every processor. Other compilers get the portable kernel.
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
struct RowGather;

namespace avx2 {

bool supported();
void float32(const RowGather& rows, float* out, const Normalization& norm);
void bfloat16(const RowGather& rows, std::uint16_t* out, const Normalization& norm);
void resample(const std::uint8_t* image, std::uint8_t* out, const Affine& map, Outside outside);
void shuffle(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out);

}  // namespace avx2

namespace avx512 {

bool supported();
void float32(const RowGather& rows, float* out, const Normalization& norm);
void bfloat16(const RowGather& rows, std::uint16_t* out, const Normalization& norm);
void shuffle(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out);

}  // namespace avx512

namespace avx512vbmi {

bool supported();
void float32(const RowGather& rows, float* out, const Normalization& norm);
void bfloat16(const RowGather& rows, std::uint16_t* out, const Normalization& norm);

}  // namespace avx512vbmi

}  // namespace mnist_sgd
