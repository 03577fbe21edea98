// Kernels: the same bits from every one, and not a byte read or written beside the row.
#include "kernels.hpp"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "guarded.hpp"

using namespace mnist_sgd;

namespace {

constexpr std::size_t LONGEST = 2000;

struct Affine {
    float mean;
    float std;
};
constexpr Affine AFFINES[] = {{0.0f, 1.0f}, {0.1307f, 0.3081f}};

void check_row(const Kernel& kernel, const std::uint8_t* pixels, const float* out, std::size_t size, const Affine& by) {
    for (std::size_t i = 0; i < size; ++i) {
        const float wanted = (static_cast<float>(pixels[i]) / 255.0f - by.mean) / by.std;
        if (std::memcmp(&wanted, out + i, sizeof wanted) != 0) {
            throw check::Failed(__FILE__, __LINE__, std::string(kernel.name) + ", " + std::to_string(size) +
                                                        " pixels, mean " + std::to_string(by.mean) + ": pixel " +
                                                        std::to_string(i) + " is wrong");
        }
    }
}

void fill_randomly(std::uint8_t* pixels, std::size_t size) {
    std::mt19937_64 random(size);
    for (std::size_t i = 0; i < size; ++i) pixels[i] = static_cast<std::uint8_t>(random());
}

}  // namespace

TEST(a_row_of_any_size_is_not_read_or_written_beside) {
    Guarded in(LONGEST);
    Guarded out(LONGEST * sizeof(float));
    for (std::size_t size = 0; size <= LONGEST; ++size) {
        std::uint8_t* const rows[] = {in.back(size), in.front()};
        float* const outs[] = {reinterpret_cast<float*>(out.back(size * sizeof(float))),
                               reinterpret_cast<float*>(out.front())};
        for (const Kernel& kernel : kernels()) {
            for (const Affine& by : AFFINES) {
                for (int side = 0; side < 2; ++side) {
                    fill_randomly(rows[side], size);
                    kernel.normalize(rows[side], outs[side], size, Normalization(by.mean, by.std));
                    check_row(kernel, rows[side], outs[side], size, by);
                }
            }
        }
    }
}

TEST(a_row_may_begin_anywhere) {
    Guarded in(LONGEST + 64);
    Guarded out((LONGEST + 16) * sizeof(float));
    for (const Kernel& kernel : kernels()) {
        for (std::size_t size = 1; size <= LONGEST; size += size < 140 ? 1 : 93) {
            for (std::size_t to_end = 0; to_end < 64; ++to_end) {
                std::uint8_t* const row = in.back(size + to_end);
                float* const values = reinterpret_cast<float*>(out.back((size + to_end % 16) * sizeof(float)));
                fill_randomly(row, size);
                kernel.normalize(row, values, size, Normalization(0.5f, 0.25f));
                check_row(kernel, row, values, size, {0.5f, 0.25f});
            }
        }
    }
}

TEST(what_lies_around_the_output_is_left_alone) {
    std::vector<std::uint8_t> row(200, 200);
    for (const Kernel& kernel : kernels()) {
        for (std::size_t size = 0; size <= row.size(); ++size) {
            std::vector<float> out(size + 64, -7.0f);
            kernel.normalize(row.data(), out.data() + 32, size, Normalization(0.0f, 1.0f));
            for (std::size_t i = 0; i < out.size(); ++i) CHECK((i >= 32 && i < 32 + size) == (out[i] != -7.0f));
        }
    }
}

TEST(the_portable_kernel_is_the_last_and_the_first_is_the_default) {
    CHECK_EQ(std::string(kernels().back().name), "portable");
    unsetenv("MNIST_SGD_KERNEL");
    CHECK_EQ(&default_kernel(), &kernels().front());
    setenv("MNIST_SGD_KERNEL", "", 1);
    CHECK_EQ(&default_kernel(), &kernels().front());
    unsetenv("MNIST_SGD_KERNEL");
}

TEST(every_kernel_is_had_by_its_name_and_by_the_environment) {
    std::string names;
    for (const Kernel& kernel : kernels()) {
        CHECK_EQ(&kernel_named(kernel.name), &kernel);
        setenv("MNIST_SGD_KERNEL", kernel.name, 1);
        CHECK_EQ(&default_kernel(), &kernel);
        names += (names.empty() ? "" : ", ") + std::string(kernel.name);
    }
    const std::string text = "there is no kernel 'abacus' on this processor; there are: " + names;
    CHECK_THROWS_WITH(std::invalid_argument, text, kernel_named("abacus"));
    setenv("MNIST_SGD_KERNEL", "abacus", 1);
    CHECK_THROWS_WITH(std::invalid_argument, text, default_kernel());
    unsetenv("MNIST_SGD_KERNEL");
}

TEST(a_useless_mean_or_deviation_is_refused) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    CHECK_THROWS_WITH(std::invalid_argument, "mean must be a finite number, got nan", Normalization(std::nanf(""), 1));
    CHECK_THROWS_WITH(std::invalid_argument, "mean must be a finite number, got inf", Normalization(infinity, 1));
    CHECK_THROWS_WITH(std::invalid_argument, "std must be a finite number above 0, got 0", Normalization(0, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "std must be a finite number above 0, got -1", Normalization(0, -1));
    CHECK_THROWS_WITH(std::invalid_argument, "std must be a finite number above 0, got inf", Normalization(0, infinity));
}
