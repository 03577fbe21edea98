// x / 255 without a division: fma(x, C1, x * C2) with C1 + C2 = 1/255 to 48 bits rounds to the
// quotient for all 256 bytes (the tests check each). A mean and a standard deviation follow as a
// subtraction and a true division, which IEEE 754 rounds alike in every width.
#include "kernels_x86.hpp"

#if MNIST_SGD_X86_KERNELS

#include <immintrin.h>

#include "kernels.hpp"

namespace mnist_sgd {
namespace x86 {

namespace {

constexpr float C1 = 0x1.010102p-8f;
constexpr float C2 = -0x1.fdfdfep-33f;

}  // namespace

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

__attribute__((target("avx2,fma"))) void normalize_avx2(const std::uint8_t* pixels, float* out, std::size_t count,
                                                        const Normalization& how) {
    const __m256 c1 = _mm256_set1_ps(C1);
    const __m256 c2 = _mm256_set1_ps(C2);
    const __m256 mean = _mm256_set1_ps(how.mean);
    const __m256 std = _mm256_set1_ps(how.std);
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(pixels + i));
        const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        __m256 y = _mm256_fmadd_ps(x, c1, _mm256_mul_ps(x, c2));
        if (!how.identity) {
            y = _mm256_div_ps(_mm256_sub_ps(y, mean), std);
        }
        _mm256_storeu_ps(out + i, y);
    }
    for (; i < count; ++i) {
        out[i] = how.table[pixels[i]];
    }
}

bool has_avx512() { return __builtin_cpu_supports("avx512f"); }

__attribute__((target("avx512f"))) void normalize_avx512(const std::uint8_t* pixels, float* out, std::size_t count,
                                                         const Normalization& how) {
    const __m512 c1 = _mm512_set1_ps(C1);
    const __m512 c2 = _mm512_set1_ps(C2);
    const __m512 mean = _mm512_set1_ps(how.mean);
    const __m512 std = _mm512_set1_ps(how.std);
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + i));
        const __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
        __m512 y = _mm512_fmadd_ps(x, c1, _mm512_mul_ps(x, c2));
        if (!how.identity) {
            y = _mm512_div_ps(_mm512_sub_ps(y, mean), std);
        }
        _mm512_storeu_ps(out + i, y);
    }
    for (; i < count; ++i) {
        out[i] = how.table[pixels[i]];
    }
}

}  // namespace x86
}  // namespace mnist_sgd

#endif
