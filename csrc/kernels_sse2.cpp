#include "kernels_x86.hpp"

#if MNIST_SGD_X86_KERNELS

#include <immintrin.h>

#include "kernels.hpp"
#include "quotient.hpp"

#define TARGET __attribute__((target("sse2")))

namespace mnist_sgd {
namespace sse2 {

namespace {

constexpr std::size_t STEP = 8;  // pixels that one step takes

template <bool identity>
TARGET inline __m128 normalized(__m128i x32, const Normalization& how) {
    const __m128 x = _mm_cvtepi32_ps(x32);
    const __m128 y = _mm_add_ps(_mm_mul_ps(x, _mm_set1_ps(HIGH)), _mm_mul_ps(x, _mm_set1_ps(LOW)));
    return identity ? y : _mm_div_ps(_mm_sub_ps(y, _mm_set1_ps(how.mean)), _mm_set1_ps(how.std));
}

// The upper halves, rounded; the sign is kept, for SSE2 can only pack signed numbers.
TARGET inline __m128i rounded(__m128 y) {
    const __m128i bits = _mm_castps_si128(y);
    const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
    return _mm_srai_epi32(_mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff))), 16);
}

TARGET inline void load(const std::uint8_t* pixels, __m128i* low, __m128i* high) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(pixels));
    const __m128i words = _mm_unpacklo_epi8(bytes, _mm_setzero_si128());
    *low = _mm_unpacklo_epi16(words, _mm_setzero_si128());
    *high = _mm_unpackhi_epi16(words, _mm_setzero_si128());
}

template <bool identity>
struct ToFloat32 {
    const Normalization& how;

    TARGET void operator()(const std::uint8_t* pixels, float* out) const {
        __m128i low, high;
        load(pixels, &low, &high);
        _mm_storeu_ps(out, normalized<identity>(low, how));
        _mm_storeu_ps(out + 4, normalized<identity>(high, how));
    }
};

template <bool identity>
struct ToBfloat16 {
    const Normalization& how;

    TARGET void operator()(const std::uint8_t* pixels, std::uint16_t* out) const {
        __m128i low, high;
        load(pixels, &low, &high);
        const __m128i packed = _mm_packs_epi32(rounded(normalized<identity>(low, how)), rounded(normalized<identity>(high, how)));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), packed);
    }
};

}  // namespace

bool supported() { return __builtin_cpu_supports("sse2"); }

TARGET void shuffle(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out) {
    network.fill(start, n, out);
}

TARGET void float32(const Rows& rows, float* out, const Normalization& how) {
    how.identity ? rows.each<STEP>(out, ToFloat32<true>{how}) : rows.each<STEP>(out, ToFloat32<false>{how});
}

TARGET void bfloat16(const Rows& rows, std::uint16_t* out, const Normalization& how) {
    how.identity ? rows.each<STEP>(out, ToBfloat16<true>{how}) : rows.each<STEP>(out, ToBfloat16<false>{how});
}

}  // namespace sse2
}  // namespace mnist_sgd

#endif
