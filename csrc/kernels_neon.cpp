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
struct ToFloat32 {
    const Normalization& how;

    void operator()(const std::uint8_t* pixels, float* out) const {
        const uint16x8_t words = vmovl_u8(vld1_u8(pixels));
        vst1q_f32(out, normalized<identity>(vget_low_u16(words), how));
        vst1q_f32(out + 4, normalized<identity>(vget_high_u16(words), how));
    }
};

template <bool identity>
struct ToBfloat16 {
    const Normalization& how;

    void operator()(const std::uint8_t* pixels, std::uint16_t* out) const {
        const uint16x8_t words = vmovl_u8(vld1_u8(pixels));
        vst1_u16(out, rounded(normalized<identity>(vget_low_u16(words), how)));
        vst1_u16(out + 4, rounded(normalized<identity>(vget_high_u16(words), how)));
    }
};

}  // namespace

void float32(const Rows& rows, float* out, const Normalization& how) {
    how.identity ? rows.each<STEP>(out, ToFloat32<true>{how}) : rows.each<STEP>(out, ToFloat32<false>{how});
}

void bfloat16(const Rows& rows, std::uint16_t* out, const Normalization& how) {
    how.identity ? rows.each<STEP>(out, ToBfloat16<true>{how}) : rows.each<STEP>(out, ToBfloat16<false>{how});
}

}  // namespace neon
}  // namespace mnist_sgd

#endif
