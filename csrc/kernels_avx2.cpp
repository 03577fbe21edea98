#include "kernels_x86.hpp"

#if MNIST_SGD_X86_KERNELS

#include <immintrin.h>

#include "kernels.hpp"
#include "div255.hpp"

#define TARGET __attribute__((target("avx2,fma")))

namespace mnist_sgd {
namespace avx2 {

namespace {

constexpr std::size_t STEP = 16;  // pixels per step

template <bool identity>
TARGET inline __m256 normalized(__m128i bytes, const Normalization& norm) {
    const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    const __m256 y = _mm256_fmadd_ps(x, _mm256_set1_ps(DIV255_HIGH), _mm256_mul_ps(x, _mm256_set1_ps(DIV255_LOW)));
    return identity ? y : _mm256_div_ps(_mm256_sub_ps(y, _mm256_set1_ps(norm.mean)), _mm256_set1_ps(norm.std));
}

TARGET inline __m256i rounded(__m256 y) {
    const __m256i bits = _mm256_castps_si256(y);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}

template <bool identity>
struct ToFloat32 {
    const Normalization& norm;

    TARGET void operator()(const std::uint8_t* pixels, float* out) const {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
        _mm256_storeu_ps(out, normalized<identity>(bytes, norm));
        _mm256_storeu_ps(out + 8, normalized<identity>(_mm_unpackhi_epi64(bytes, bytes), norm));
    }
};

template <bool identity>
struct ToBfloat16 {
    const Normalization& norm;

    TARGET void operator()(const std::uint8_t* pixels, std::uint16_t* out) const {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
        const __m256i low = rounded(normalized<identity>(bytes, norm));
        const __m256i high = rounded(normalized<identity>(_mm_unpackhi_epi64(bytes, bytes), norm));
        // packus interleaves the 128-bit lanes; the permutation restores the order.
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0b11011000);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), packed);
    }
};

}  // namespace

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

TARGET void shuffle(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out) {
    network.fill(start, n, out);
}

TARGET void float32(const RowGather& rows, float* out, const Normalization& norm) {
    norm.identity ? rows.for_each_row<STEP>(out, ToFloat32<true>{norm})
                  : rows.for_each_row<STEP>(out, ToFloat32<false>{norm});
}

TARGET void bfloat16(const RowGather& rows, std::uint16_t* out, const Normalization& norm) {
    norm.identity ? rows.for_each_row<STEP>(out, ToBfloat16<true>{norm})
                  : rows.for_each_row<STEP>(out, ToBfloat16<false>{norm});
}

}  // namespace avx2
}  // namespace mnist_sgd

#endif
