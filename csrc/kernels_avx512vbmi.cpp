#include "kernels_x86.hpp"

#if MNIST_SGD_X86_KERNELS

// GCC 12 warns about an undefined operand in its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "kernels.hpp"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vbmi")))

// A pixel is a byte, so a value is one of 256, and one instruction looks up one byte of the values of
// 64 pixels in a table of 128. That is faster than AVX-512's arithmetic, except for plain x / 255 in
// float32, which is bound by memory and stays with the arithmetic.
namespace mnist_sgd {
namespace avx512vbmi {

namespace {

constexpr std::size_t STEP = 64;  // pixels per step

// A lookup table with one byte of each of the 256 values.
struct LookupPlane {
    __m512i parts[4];

    TARGET explicit LookupPlane(const std::uint8_t* bytes)
        : parts{_mm512_loadu_si512(bytes), _mm512_loadu_si512(bytes + 64), _mm512_loadu_si512(bytes + 128),
                _mm512_loadu_si512(bytes + 192)} {}

    // Looks up 64 pixels; `upper` masks those of 128 or more.
    TARGET MNIST_SGD_INLINE __m512i look_up(__m512i pixels, __mmask64 upper) const {
        const __m512i below = _mm512_permutex2var_epi8(parts[0], pixels, parts[1]);
        return _mm512_mask_mov_epi8(below, upper, _mm512_permutex2var_epi8(parts[2], pixels, parts[3]));
    }
};

TARGET MNIST_SGD_INLINE __m512i load(const std::uint8_t* pixels) { return _mm512_loadu_si512(pixels); }

// The last 16 pixels of a row, padded with zeros.
TARGET MNIST_SGD_INLINE __m512i load_rest(const std::uint8_t* pixels) {
    static_assert(RowGather::REST == 16, "one 128-bit load");
    return _mm512_zextsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels)));
}

// The unpack instructions interleave bytes within 128-bit lanes. The pixels are first dealt out among
// the lanes, so that the values come out in order.
class ToFloat32 {
public:
    TARGET explicit ToFloat32(const Normalization& norm)
        : planes_{LookupPlane(norm.float32_bytes[0]), LookupPlane(norm.float32_bytes[1]),
                  LookupPlane(norm.float32_bytes[2]), LookupPlane(norm.float32_bytes[3])} {}

    TARGET void operator()(const std::uint8_t* pixels, float* out) const {
        __m512i values[4];
        look_up(load(pixels), values);
        for (std::size_t i = 0; i < 4; ++i) {
            _mm512_storeu_si512(out + 16 * i, values[i]);
        }
    }

    TARGET void rest(const std::uint8_t* pixels, float* out) const {
        __m512i values[4];
        look_up(load_rest(pixels), values);
        _mm512_storeu_si512(out, values[0]);
    }

private:
    TARGET MNIST_SGD_INLINE void look_up(__m512i pixels, __m512i* values) const {
        const __m512i deal = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
        const __m512i dealt = _mm512_permutexvar_epi32(deal, pixels);
        const __mmask64 upper = _mm512_movepi8_mask(dealt);
        const __m512i byte_0 = planes_[0].look_up(dealt, upper);
        const __m512i byte_1 = planes_[1].look_up(dealt, upper);
        const __m512i byte_2 = planes_[2].look_up(dealt, upper);
        const __m512i byte_3 = planes_[3].look_up(dealt, upper);
        const __m512i low_half[2] = {_mm512_unpacklo_epi8(byte_0, byte_1), _mm512_unpackhi_epi8(byte_0, byte_1)};
        const __m512i high_half[2] = {_mm512_unpacklo_epi8(byte_2, byte_3), _mm512_unpackhi_epi8(byte_2, byte_3)};
        for (std::size_t i = 0; i < 2; ++i) {
            values[2 * i] = _mm512_unpacklo_epi16(low_half[i], high_half[i]);
            values[2 * i + 1] = _mm512_unpackhi_epi16(low_half[i], high_half[i]);
        }
    }

    const LookupPlane planes_[4];
};

class ToBfloat16 {
public:
    TARGET explicit ToBfloat16(const Normalization& norm)
        : planes_{LookupPlane(norm.bfloat16_bytes[0]), LookupPlane(norm.bfloat16_bytes[1])} {}

    TARGET void operator()(const std::uint8_t* pixels, std::uint16_t* out) const {
        __m512i values[2];
        look_up(load(pixels), values);
        _mm512_storeu_si512(out, values[0]);
        _mm512_storeu_si512(out + 32, values[1]);
    }

    TARGET void rest(const std::uint8_t* pixels, std::uint16_t* out) const {
        __m512i values[2];
        look_up(load_rest(pixels), values);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_castsi512_si256(values[0]));
    }

private:
    TARGET MNIST_SGD_INLINE void look_up(__m512i pixels, __m512i* values) const {
        const __m512i dealt = _mm512_permutexvar_epi64(_mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), pixels);
        const __mmask64 upper = _mm512_movepi8_mask(dealt);
        const __m512i byte_0 = planes_[0].look_up(dealt, upper);
        const __m512i byte_1 = planes_[1].look_up(dealt, upper);
        values[0] = _mm512_unpacklo_epi8(byte_0, byte_1);
        values[1] = _mm512_unpackhi_epi8(byte_0, byte_1);
    }

    const LookupPlane planes_[2];
};

template <typename To, typename T>
TARGET void convert(const RowGather& rows, T* out, const To& to) {
    rows.for_each_row<STEP>(out, to, [&to](const std::uint8_t* pixels, T* values) { to.rest(pixels, values); });
}

}  // namespace

bool supported() { return avx512::supported() && __builtin_cpu_supports("avx512vbmi"); }

TARGET void float32(const RowGather& rows, float* out, const Normalization& norm) {
    norm.identity ? avx512::float32(rows, out, norm) : convert(rows, out, ToFloat32(norm));
}

TARGET void bfloat16(const RowGather& rows, std::uint16_t* out, const Normalization& norm) {
    convert(rows, out, ToBfloat16(norm));
}

}  // namespace avx512vbmi
}  // namespace mnist_sgd

#endif
