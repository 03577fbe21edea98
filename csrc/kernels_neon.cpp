#include "kernels_neon.hpp"

#if MNIST_SGD_NEON_KERNEL

#include <arm_neon.h>

#include "kernels.hpp"
#include "quotient.hpp"

namespace mnist_sgd {
namespace neon {

namespace {

constexpr std::size_t STEP = 8;  // pixels that one step takes

template <bool identity>
inline float32x4_t normalized(uint16x4_t words, const Normalization& how) {
    const float32x4_t x = vcvtq_f32_u32(vmovl_u16(words));
    const float32x4_t y = vaddq_f32(vmulq_n_f32(x, HIGH), vmulq_n_f32(x, LOW));
    return identity ? y : vdivq_f32(vsubq_f32(y, vdupq_n_f32(how.mean)), vdupq_n_f32(how.std));
}

inline uint16x4_t rounded(float32x4_t y) {
    const uint32x4_t bits = vreinterpretq_u32_f32(y);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    return vshrn_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
}

template <bool identity>
void float32_rows(const Rows& rows, float* out, const Normalization& how) {
    for (std::size_t i = 0; i < rows.count; ++i, out += PIXELS) {
        rows.prefetch_after(i);
        const std::uint8_t* row = rows[i];
        for (std::size_t j = 0; j < PIXELS; j += STEP) {
            const uint16x8_t words = vmovl_u8(vld1_u8(row + j));
            vst1q_f32(out + j, normalized<identity>(vget_low_u16(words), how));
            vst1q_f32(out + j + 4, normalized<identity>(vget_high_u16(words), how));
        }
    }
}

template <bool identity>
void bfloat16_rows(const Rows& rows, std::uint16_t* out, const Normalization& how) {
    for (std::size_t i = 0; i < rows.count; ++i, out += PIXELS) {
        rows.prefetch_after(i);
        const std::uint8_t* row = rows[i];
        for (std::size_t j = 0; j < PIXELS; j += STEP) {
            const uint16x8_t words = vmovl_u8(vld1_u8(row + j));
            vst1_u16(out + j, rounded(normalized<identity>(vget_low_u16(words), how)));
            vst1_u16(out + j + 4, rounded(normalized<identity>(vget_high_u16(words), how)));
        }
    }
}

}  // namespace

void float32(const Rows& rows, float* out, const Normalization& how) {
    how.identity ? float32_rows<true>(rows, out, how) : float32_rows<false>(rows, out, how);
}

void bfloat16(const Rows& rows, std::uint16_t* out, const Normalization& how) {
    how.identity ? bfloat16_rows<true>(rows, out, how) : bfloat16_rows<false>(rows, out, how);
}

}  // namespace neon
}  // namespace mnist_sgd

#endif
