#include "kernels_x86.hpp"

#if MNIST_SGD_X86_KERNELS

// GCC 12 warns about an undefined operand in its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "kernels.hpp"
#include "div255.hpp"

#if defined(__clang__)  // does not know prefer-vector-width and would ignore the whole attribute
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#else
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif

namespace mnist_sgd {
namespace avx512 {

namespace {

constexpr std::size_t STEP = 16;  // pixels per step

template <bool identity>
TARGET inline __m512 normalized(const std::uint8_t* pixels, const Normalization& norm) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
    const __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    const __m512 y = _mm512_fmadd_ps(x, _mm512_set1_ps(DIV255_HIGH), _mm512_mul_ps(x, _mm512_set1_ps(DIV255_LOW)));
    return identity ? y : _mm512_div_ps(_mm512_sub_ps(y, _mm512_set1_ps(norm.mean)), _mm512_set1_ps(norm.std));
}

TARGET inline __m256i rounded(__m512 y) {
    const __m512i bits = _mm512_castps_si512(y);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(sum, 16));
}

// Feistel's block with 16 positions per register, by hand because GCC's vectorized code is slower.
struct Block {
    template <std::size_t size>
    TARGET static bool run(const Feistel& network, std::uint64_t start, std::int64_t* out) {
        if (network.right < size) {
            return Feistel::PlainBlock::run<size>(network, start, out);
        }
        constexpr std::size_t registers = size / 16;
        __m512i left[registers];
        __m512i right[registers];
        split<registers>(network, start, left, right);
        for (int round = 0; round < Feistel::ROUNDS; round += 2) {
            half_round<registers>(left, right, network.keys[round], network.left);
            half_round<registers>(right, left, network.keys[round + 1], network.right);
        }
        const __m512i last = _mm512_set1_epi64(static_cast<long long>(network.count) - 1);
        __mmask8 outside = 0;
        for (std::size_t i = 0; i < 2 * registers; ++i) {
            const __m512i l = _mm512_cvtepu32_epi64(half(left[i / 2], i % 2));
            const __m512i r = _mm512_cvtepu32_epi64(half(right[i / 2], i % 2));
            const __m512i sample = _mm512_add_epi64(_mm512_mul_epu32(l, _mm512_set1_epi64(network.right)), r);
            _mm512_storeu_si512(out + 8 * i, sample);
            outside = static_cast<__mmask8>(outside | _mm512_cmpgt_epu64_mask(sample, last));
        }
        return outside != 0;
    }

private:
    template <std::size_t registers>
    TARGET static MNIST_SGD_INLINE void split(const Feistel& network, std::uint64_t start, __m512i* left,
                                              __m512i* right) {
        const __m512i width = _mm512_set1_epi32(static_cast<int>(network.right));
        const __m512i high = _mm512_set1_epi32(static_cast<int>(start / network.right));
        const __m512i first = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const int low = static_cast<int>(start % network.right);
        for (std::size_t i = 0; i < registers; ++i) {
            const __m512i position = _mm512_add_epi32(first, _mm512_set1_epi32(low + static_cast<int>(16 * i)));
            const __mmask16 wraps = _mm512_cmpge_epu32_mask(position, width);
            left[i] = _mm512_mask_add_epi32(high, wraps, high, _mm512_set1_epi32(1));
            right[i] = _mm512_mask_sub_epi32(position, wraps, position, width);
        }
    }

    template <std::size_t registers>
    TARGET static MNIST_SGD_INLINE void half_round(__m512i* changed, const __m512i* other, std::uint32_t key,
                                                   std::uint32_t modulus) {
        const __m512i k = _mm512_set1_epi32(static_cast<int>(key));
        const __m512i m = _mm512_set1_epi32(static_cast<int>(modulus));
        const __m512i multiplier_1 = _mm512_set1_epi32(static_cast<int>(Feistel::MULTIPLIER_1));
        const __m512i multiplier_2 = _mm512_set1_epi32(static_cast<int>(Feistel::MULTIPLIER_2));
        for (std::size_t i = 0; i < registers; ++i) {
            __m512i h = _mm512_mullo_epi32(_mm512_add_epi32(other[i], k), multiplier_1);
            h = _mm512_mullo_epi32(_mm512_xor_si512(h, _mm512_srli_epi32(h, 15)), multiplier_2);
            h = _mm512_xor_si512(h, _mm512_srli_epi32(h, 16));
            // The upper halves of the products; those of the odd lanes are already in place.
            const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(h, 32), m);
            const __m512i scaled = _mm512_mask_shuffle_epi32(odd, 0x5555, _mm512_mul_epu32(h, m), _MM_PERM_DDBB);
            const __m512i sum = _mm512_add_epi32(changed[i], scaled);
            changed[i] = _mm512_min_epu32(sum, _mm512_sub_epi32(sum, m));
        }
    }

    TARGET static MNIST_SGD_INLINE __m256i half(__m512i numbers, std::size_t upper) {
        return upper ? _mm512_extracti64x4_epi64(numbers, 1) : _mm512_castsi512_si256(numbers);
    }
};

template <bool identity>
struct ToFloat32 {
    const Normalization& norm;

    TARGET void operator()(const std::uint8_t* pixels, float* out) const {
        _mm512_storeu_ps(out, normalized<identity>(pixels, norm));
    }
};

template <bool identity>
struct ToBfloat16 {
    const Normalization& norm;

    TARGET void operator()(const std::uint8_t* pixels, std::uint16_t* out) const {
        const __m256i packed = rounded(normalized<identity>(pixels, norm));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), packed);
    }
};

}  // namespace

bool supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

TARGET void shuffle(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out) {
    network.fill<Block>(start, n, out);
}

TARGET void float32(const RowGather& rows, float* out, const Normalization& norm) {
    norm.identity ? rows.for_each_row<STEP>(out, ToFloat32<true>{norm})
                  : rows.for_each_row<STEP>(out, ToFloat32<false>{norm});
}

TARGET void bfloat16(const RowGather& rows, std::uint16_t* out, const Normalization& norm) {
    norm.identity ? rows.for_each_row<STEP>(out, ToBfloat16<true>{norm})
                  : rows.for_each_row<STEP>(out, ToBfloat16<false>{norm});
}

}  // namespace avx512
}  // namespace mnist_sgd

#endif
