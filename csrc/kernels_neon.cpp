#include "kernels_neon.hpp"

#if MNIST_SGD_NEON_KERNEL

#include <arm_neon.h>

#include "kernels.hpp"
#include "div255.hpp"

namespace mnist_sgd {
namespace neon {

namespace {

constexpr std::size_t STEP = 8;  // pixels per step

template <bool identity>
inline float32x4_t normalized(uint16x4_t words, const Normalization& norm) {
    const float32x4_t x = vcvtq_f32_u32(vmovl_u16(words));
    const float32x4_t y = vaddq_f32(vmulq_n_f32(x, DIV255_HIGH), vmulq_n_f32(x, DIV255_LOW));
    return identity ? y : vdivq_f32(vsubq_f32(y, vdupq_n_f32(norm.mean)), vdupq_n_f32(norm.std));
}

inline uint16x4_t rounded(float32x4_t y) {
    const uint32x4_t bits = vreinterpretq_u32_f32(y);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    return vshrn_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
}

template <bool identity>
struct ToFloat32 {
    const Normalization& norm;

    void operator()(const std::uint8_t* pixels, float* out) const {
        const uint16x8_t words = vmovl_u8(vld1_u8(pixels));
        vst1q_f32(out, normalized<identity>(vget_low_u16(words), norm));
        vst1q_f32(out + 4, normalized<identity>(vget_high_u16(words), norm));
    }
};

template <bool identity>
struct ToBfloat16 {
    const Normalization& norm;

    void operator()(const std::uint8_t* pixels, std::uint16_t* out) const {
        const uint16x8_t words = vmovl_u8(vld1_u8(pixels));
        vst1_u16(out, rounded(normalized<identity>(vget_low_u16(words), norm)));
        vst1_u16(out + 4, rounded(normalized<identity>(vget_high_u16(words), norm)));
    }
};

}  // namespace

void float32(const RowGather& rows, float* out, const Normalization& norm) {
    norm.identity ? rows.for_each_row<STEP>(out, ToFloat32<true>{norm})
                  : rows.for_each_row<STEP>(out, ToFloat32<false>{norm});
}

void bfloat16(const RowGather& rows, std::uint16_t* out, const Normalization& norm) {
    norm.identity ? rows.for_each_row<STEP>(out, ToBfloat16<true>{norm})
                  : rows.for_each_row<STEP>(out, ToBfloat16<false>{norm});
}

}  // namespace neon
}  // namespace mnist_sgd

#endif
