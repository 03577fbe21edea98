#include "resample.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>
#include <stdexcept>

namespace mnist_sgd {

namespace {

constexpr double MAX_FACTOR = 64;
constexpr double MAX_OFFSET = 8192;

// Half of a weight's last bit. Added to the offsets, it rounds the weights, which are later truncated.
constexpr std::int32_t HALF_WEIGHT = 1 << 7;
constexpr std::int32_t BORDER = 1 << 16;

std::int32_t fixed(double value, double bound) {
    if (!(value >= -bound && value <= bound)) {
        std::ostringstream text;
        text.precision(10);
        text << "matrix must have factors in -64 to 64 and offsets in -8192 to 8192, got " << value;
        throw std::invalid_argument(text.str());
    }
    return static_cast<std::int32_t>(std::floor(value * 65536 + 0.5));
}

}  // namespace

Affine::Affine(const double (&matrix)[6])
    : ux(fixed(matrix[0], MAX_FACTOR)),
      uy(fixed(matrix[1], MAX_FACTOR)),
      u0(fixed(matrix[2], MAX_OFFSET) + BORDER + HALF_WEIGHT),
      vx(fixed(matrix[3], MAX_FACTOR)),
      vy(fixed(matrix[4], MAX_FACTOR)),
      v0(fixed(matrix[5], MAX_OFFSET) + BORDER + HALF_WEIGHT) {}

BorderedImage::BorderedImage(const std::uint8_t* image, Outside outside) {
    std::uint8_t bordered[(ROWS + 1) * STRIDE] = {};
    for (int row = 0; row < IMAGE_SIDE; ++row) {
        std::memcpy(bordered + (row + 1) * STRIDE + 1, image + row * IMAGE_SIDE, IMAGE_SIDE);
    }
    if (outside == Outside::edge) {
        for (int row = 1; row <= IMAGE_SIDE; ++row) {
            std::uint8_t* line = bordered + row * STRIDE;
            line[0] = line[1];
            line[IMAGE_SIDE + 1] = line[IMAGE_SIDE];
        }
        std::memcpy(bordered, bordered + STRIDE, STRIDE);
        std::memcpy(bordered + (IMAGE_SIDE + 1) * STRIDE, bordered + IMAGE_SIDE * STRIDE, STRIDE);
    }
    for (int i = 0; i < ROWS * STRIDE; ++i) {
        pairs[i] = static_cast<std::uint16_t>(bordered[i] | bordered[i + STRIDE] << 8);
    }
}

void resample_portable(const std::uint8_t* image, std::uint8_t* out, const Affine& map, Outside outside) {
    const BorderedImage source(image, outside);
    for (int y = 0; y < IMAGE_SIDE; ++y) {
        std::int32_t u = map.u0 + map.uy * y;
        std::int32_t v = map.v0 + map.vy * y;
        for (int x = 0; x < IMAGE_SIDE; ++x, u += map.ux, v += map.vx) {
            const std::uint32_t column = static_cast<std::uint32_t>(std::clamp(u, 0, BorderedImage::LAST));
            const std::uint32_t row = static_cast<std::uint32_t>(std::clamp(v, 0, BorderedImage::LAST));
            const std::uint32_t right = column >> 8 & 255;
            const std::uint32_t below = row >> 8 & 255;
            const std::uint16_t* at = source.pairs + (row >> 16) * BorderedImage::STRIDE + (column >> 16);
            // Two columns at once, in 16 bits each.
            const std::uint32_t four = at[0] | static_cast<std::uint32_t>(at[1]) << 16;
            const std::uint32_t columns = (four & 0xff00ff) * (256 - below) + (four >> 8 & 0xff00ff) * below;
            const std::uint32_t sum = (columns & 0xffff) * (256 - right) + (columns >> 16) * right;
            out[y * IMAGE_SIDE + x] = static_cast<std::uint8_t>((sum + (1 << 15)) >> 16);
        }
    }
}

}  // namespace mnist_sgd
