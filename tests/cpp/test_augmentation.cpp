// Augmentation: all kernels give the same pixels, none reads or writes out of bounds, and every draw
// is within the limits of the resampling.
#include "augmentation.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "guarded.hpp"
#include "kernels.hpp"
#include "resample.hpp"

using namespace mnist_sgd;

namespace {

constexpr std::size_t SIZE = PIXELS;
constexpr double INFINITE = std::numeric_limits<double>::infinity();

// One output pixel as resample.hpp describes it, with 8-bit weights.
std::uint8_t pixel(const std::uint8_t* image, std::int64_t u, std::int64_t v, Outside outside) {
    const auto at = [image, outside](std::int64_t column, std::int64_t row) -> std::int64_t {
        const std::int64_t x = std::min(std::max(column, std::int64_t{1}), std::int64_t{28});  // inside the border
        const std::int64_t y = std::min(std::max(row, std::int64_t{1}), std::int64_t{28});
        const bool inside = x == column && y == row;
        return inside || outside == Outside::edge ? image[(y - 1) * 28 + x - 1] : 0;
    };
    constexpr std::int64_t last = 29 << 16;
    u = std::min(std::max(u, std::int64_t{0}), last);
    v = std::min(std::max(v, std::int64_t{0}), last);
    const std::int64_t x = u >> 16;
    const std::int64_t y = v >> 16;
    const std::int64_t right = (u >> 8) & 255;
    const std::int64_t below = (v >> 8) & 255;
    const std::int64_t here = at(x, y) * (256 - below) + at(x, y + 1) * below;
    const std::int64_t next = at(x + 1, y) * (256 - below) + at(x + 1, y + 1) * below;
    return static_cast<std::uint8_t>((here * (256 - right) + next * right + 32768) >> 16);
}

void fill_randomly(std::uint8_t* image, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::generate_n(image, SIZE, [&] { return static_cast<std::uint8_t>(random()); });
}

// Compares every kernel with pixel(), on an image at either end of guarded memory.
void check_map(const Affine& map, std::uint64_t seed) {
    Guarded in(SIZE);
    Guarded out(SIZE);
    std::uint8_t* const places[][2] = {{in.back(SIZE), out.back(SIZE)}, {in.front(), out.front()}};
    for (const auto& place : places) {
        fill_randomly(place[0], seed);
        for (const Kernel& kernel : kernels()) {
            for (const Outside outside : {Outside::black, Outside::edge}) {
                std::fill_n(place[1], SIZE, std::uint8_t{0xA5});
                kernel.resample(place[0], place[1], map, outside);
                for (std::int64_t y = 0; y < 28; ++y) {
                    for (std::int64_t x = 0; x < 28; ++x) {
                        const std::int64_t u = map.u0 + x * map.ux + y * map.uy;
                        const std::int64_t v = map.v0 + x * map.vx + y * map.vy;
                        CHECK_EQ(+place[1][y * 28 + x], +pixel(place[0], u, v, outside));
                    }
                }
            }
        }
    }
}

}  // namespace

TEST(every_kernel_resamples_exactly_by_any_valid_matrix) {
    std::mt19937_64 random(1);
    for (int turn = 0; turn < 400; ++turn) {
        const double factor = turn % 3 == 0 ? 64 : turn % 3 == 1 ? 2 : 0.01;
        const double offset = turn % 2 == 0 ? 8192 : 40;
        std::uniform_real_distribution<double> factors(-factor, factor);
        std::uniform_real_distribution<double> offsets(-offset, offset);
        check_map(Affine({factors(random), factors(random), offsets(random), factors(random), factors(random),
                          offsets(random)}),
                  random());
    }
}

TEST(the_largest_factors_and_offsets_do_not_overflow) {
    for (int signs = 0; signs < 64; ++signs) {
        double matrix[6];
        for (int i = 0; i < 6; ++i) matrix[i] = (signs >> i & 1 ? -1 : 1) * (i % 3 == 2 ? 8192.0 : 64.0);
        check_map(Affine(matrix), 2);
    }
}

TEST(factors_and_offsets_out_of_range_are_rejected) {
    const std::string text = "matrix must have factors in -64 to 64 and offsets in -8192 to 8192, got ";
    for (int i = 0; i < 6; ++i) {
        const double bound = i % 3 == 2 ? 8192 : 64;
        for (const double value : {bound + 0.001, -bound - 0.001, INFINITE, -INFINITE, std::nan("")}) {
            double matrix[6] = {};
            matrix[i] = value;
            bool refused = false;
            try {
                static_cast<void>(Affine(matrix));
            } catch (const std::invalid_argument& error) {
                refused = std::string(error.what()).rfind(text, 0) == 0;
            }
            CHECK(refused);
        }
    }
}

TEST(whole_pixels_are_moved_exactly) {
    Guarded in(SIZE);
    Guarded out(SIZE);
    fill_randomly(in.front(), 5);
    const AffineParams same{0, 0, 0, 1, 0};
    const AffineParams left{0, -3, 0, 1, 0};
    const AffineParams upside_down{180, 0, 0, 1, 0};
    for (const Kernel& kernel : kernels()) {
        kernel.resample(in.front(), out.front(), same.inverse(), Outside::black);
        CHECK(std::equal(in.front(), in.front() + SIZE, out.front()));
        kernel.resample(in.front(), out.front(), left.inverse(), Outside::black);
        for (std::size_t i = 0; i < SIZE; ++i) CHECK_EQ(+out.front()[i], i % 28 < 25 ? +in.front()[i + 3] : 0);
        kernel.resample(in.front(), out.front(), upside_down.inverse(), Outside::black);
        CHECK(std::equal(in.front(), in.front() + SIZE, std::reverse_iterator<std::uint8_t*>(out.front() + SIZE)));
    }
}

TEST(every_draw_of_any_augmentation_can_be_resampled) {
    for (const double low : {0.1, 1.0}) {
        const Augmentation widest(180, 1, low, 10, 60);
        for (std::uint64_t sample = 0; sample < 20000; ++sample) {
            const AffineParams params = widest.draw(sample * 3, sample, sample);
            CHECK(std::fabs(params.angle) <= 180 && std::fabs(params.shear) <= 60);
            CHECK(std::fabs(params.shift_x) <= 28 && std::fabs(params.shift_y) <= 28);
            CHECK(params.scale >= low && params.scale <= 10);
            static_cast<void>(params.inverse());
        }
    }
    for (int angle = -180; angle <= 180; angle += 15) {
        for (const double shear : {-60.0, 60.0}) {
            for (const double shift : {-28.0, 28.0}) {
                static_cast<void>(AffineParams{static_cast<double>(angle), shift, -shift, 0.1, shear}.inverse());
            }
        }
    }
}

TEST(an_augmentation_out_of_range_is_rejected_by_name) {
    CHECK_THROWS_WITH(std::invalid_argument, "degrees must lie in 0 to 180, got 181", Augmentation(181, 0, 1, 1, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "degrees must lie in 0 to 180, got nan",
                      Augmentation(std::nan(""), 0, 1, 1, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "translate must lie in 0 to 1, got -1", Augmentation(0, -1, 1, 1, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "the low end of scale must lie in 0.1 to 10, got 0",
                      Augmentation(0, 0, 0, 1, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "the high end of scale must lie in 0.1 to 10, got inf",
                      Augmentation(0, 0, 1, INFINITE, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "scale must be (low, high) with low at most high, got (2, 1)",
                      Augmentation(0, 0, 2, 1, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "shear must lie in 0 to 60, got 61", Augmentation(0, 0, 1, 1, 61));
    CHECK_THROWS_WITH(std::invalid_argument, "share must lie in 0 to 1, got 1.5",
                      Augmentation(0, 0, 1, 1, 0, Outside::black, 1.5));
}
