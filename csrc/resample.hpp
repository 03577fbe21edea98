// Bilinear affine resampling of one 28x28 image of uint8.
//
// After the matrix, all arithmetic is on integers, so that every kernel gives the same bytes: an output
// pixel reads at a coordinate in 16.16 fixed point, whose fraction, rounded to 8 bits, is the weight.
// The result is within one grey level of the exact one, rarely two. The identity, shifts by whole
// pixels and quarter turns are exact.
#pragma once

#include <cstdint>

namespace mnist_sgd {

constexpr int IMAGE_SIDE = 28;

// The value of a pixel outside the image: 0, or the nearest pixel of the image.
enum class Outside { black, edge };

// The map from an output pixel to the coordinate that it reads in the source.
class Affine {
public:
    // The output pixel in column x and row y reads in column m[0] x + m[1] y + m[2] and row
    // m[3] x + m[4] y + m[5] of the source. Throws std::invalid_argument unless the factors lie in
    // -64 to 64 and the offsets in -8192 to 8192; within these bounds no coordinate overflows.
    explicit Affine(const double (&matrix)[6]);

    // The coordinates in the bordered source (below), for output column x and row y, are
    // u = u0 + ux x + uy y and v = v0 + vx x + vy y in 16.16 fixed point, before they are clamped.
    std::int32_t ux, uy, u0;
    std::int32_t vx, vy, v0;
};

// A source image with a border of one pixel on every side, which holds what lies outside. Kernels
// clamp coordinates to 0 to LAST instead of testing whether they are inside.
class BorderedImage {
public:
    static constexpr int STRIDE = 32;
    static constexpr int ROWS = IMAGE_SIDE + 2;
    static constexpr std::int32_t LAST = (IMAGE_SIDE + 1) << 16;

    BorderedImage(const std::uint8_t* image, Outside outside);

    // At [row * STRIDE + column], a pixel and, in the high byte, the one below it. Two adjacent
    // entries are the four pixels of a bilinear sample.
    std::uint16_t pairs[ROWS * STRIDE];
};

// The portable implementation.
void resample_portable(const std::uint8_t* image, std::uint8_t* out, const Affine& map, Outside outside);

}  // namespace mnist_sgd
