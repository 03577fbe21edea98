#include "kernels_x86.hpp"

#if MNIST_SGD_X86_KERNELS

// GCC 12's header trips over its own placeholder for an unused operand (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "kernels.hpp"
#include "quotient.hpp"

#if defined(__clang__)  // which does not know the last of these and would then take none
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#else
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif

namespace mnist_sgd {
namespace avx512 {

namespace {

constexpr std::size_t STEP = 16;  // pixels that one step takes

TARGET inline __m512 normalized(const std::uint8_t* pixels, const Normalization& how) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
    const __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    const __m512 y = _mm512_fmadd_ps(x, _mm512_set1_ps(HIGH), _mm512_mul_ps(x, _mm512_set1_ps(LOW)));
    return how.identity ? y : _mm512_div_ps(_mm512_sub_ps(y, _mm512_set1_ps(how.mean)), _mm512_set1_ps(how.std));
}

TARGET inline __m256i rounded(__m512 y) {
    const __m512i bits = _mm512_castps_si512(y);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(sum, 16));
}

}  // namespace

bool supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

TARGET void float32(const Rows& rows, float* out, const Normalization& how) {
    for (std::size_t i = 0; i < rows.count; ++i, out += PIXELS) {
        rows.prefetch_after(i);
        const std::uint8_t* row = rows[i];
        for (std::size_t j = 0; j < PIXELS; j += STEP) {
            _mm512_storeu_ps(out + j, normalized(row + j, how));
        }
    }
}

TARGET void bfloat16(const Rows& rows, std::uint16_t* out, const Normalization& how) {
    for (std::size_t i = 0; i < rows.count; ++i, out += PIXELS) {
        rows.prefetch_after(i);
        const std::uint8_t* row = rows[i];
        for (std::size_t j = 0; j < PIXELS; j += STEP) {
            const __m256i packed = rounded(normalized(row + j, how));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + j), packed);
        }
    }
}

TARGET void shuffle(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out) {
    network.fill(start, n, out);
}

}  // namespace avx512
}  // namespace mnist_sgd

#endif
