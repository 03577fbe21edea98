// Kernels: all give the same bits, and none reads or writes out of bounds.
#include "kernels.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "guarded.hpp"
#include "samples.hpp"
#include "together.hpp"

using namespace mnist_sgd;

namespace {

constexpr Dtype DTYPES[] = {Dtype::float32, Dtype::bfloat16, Dtype::uint8};

struct MeanStd {
    float mean;
    float std;
};
constexpr MeanStd MEANS_AND_STDS[] = {{0.0f, 1.0f}, {0.1307f, 0.3081f}};

void require(bool holds, const Kernel& kernel, Dtype dtype, const MeanStd& by, const RowGather& rows) {
    if (!holds) {
        throw check::Failed(__FILE__, __LINE__,
                            std::string(kernel.name) + ", " + std::to_string(item_size(dtype)) + " bytes per value, " +
                                "mean " + std::to_string(by.mean) + ", std " + std::to_string(by.std) + ": " +
                                std::to_string(rows.count) + " rows with a lookahead of " +
                                std::to_string(rows.lookahead) + " are wrong");
    }
}

// Converts the rows with every kernel and compares the result with the definition.
void check_rows(const RowGather& rows, Dtype dtype, const MeanStd& by, std::uint8_t* out) {
    std::vector<std::uint8_t> wanted;
    for (std::size_t i = 0; i < rows.count; ++i) {
        for (std::size_t j = 0; j < PIXELS; ++j) append_converted(wanted, rows[i][j], dtype, by.mean, by.std);
    }
    for (const Kernel& kernel : kernels()) {
        std::fill_n(out, wanted.size(), std::uint8_t{0xA5});
        BatchTransform{std::nullopt, Normalization(by.mean, by.std), dtype, kernel}.convert(rows, out);
        require(std::equal(wanted.begin(), wanted.end(), out), kernel, dtype, by, rows);
    }
}

float number_of(std::uint32_t bits) {
    float number = 0;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

// Indices that end at a guarded page; the first and the last sample are among the first two.
class Indices {
public:
    Indices(std::size_t number, std::size_t samples) : memory_(number * sizeof(std::int64_t)), number_(number) {
        std::mt19937_64 random(number);
        std::generate_n(begin(), number, [&] { return static_cast<std::int64_t>(random() % samples); });
        if (number > 0) begin()[0] = static_cast<std::int64_t>(samples - 1);
        if (number > 1) begin()[1] = 0;
    }
    std::int64_t* begin() { return reinterpret_cast<std::int64_t*>(memory_.back(number_ * sizeof(std::int64_t))); }

private:
    Guarded memory_;
    const std::size_t number_;
};

}  // namespace

TEST(nothing_is_read_or_written_before_or_after_the_rows) {
    constexpr std::size_t samples = 7;
    Guarded in(samples * PIXELS);
    for (std::size_t count = 0; count <= 2 * RowGather::FAR + 2; ++count) {
        for (const std::size_t lookahead : {std::size_t{0}, std::size_t{1}, RowGather::NEAR, RowGather::FAR,
                                            RowGather::FAR + 1}) {
            Indices indices(count + lookahead, samples);
            for (const Dtype dtype : DTYPES) {
                const std::size_t bytes = count * PIXELS * item_size(dtype);
                Guarded out(bytes);
                for (const bool back : {false, true}) {
                    std::uint8_t* const pixels = back ? in.back(samples * PIXELS) : in.front();
                    std::generate_n(pixels, samples * PIXELS,
                                    [i = 0]() mutable { return static_cast<std::uint8_t>(i++); });
                    for (const MeanStd& by : MEANS_AND_STDS) {
                        check_rows({pixels, indices.begin(), count, lookahead}, dtype, by,
                                   back ? out.back(bytes) : out.front());
                    }
                }
            }
        }
    }
}

TEST(rows_and_values_need_no_alignment) {
    constexpr std::size_t samples = 3;
    Guarded in(samples * PIXELS + 64);
    Indices indices(samples, samples);
    for (const Dtype dtype : DTYPES) {
        const std::size_t bytes = samples * PIXELS * item_size(dtype);
        Guarded out(bytes + 64 * item_size(dtype));
        for (std::size_t shift = 0; shift < 64; ++shift) {
            std::uint8_t* const pixels = in.back(samples * PIXELS + shift);
            std::generate_n(pixels, samples * PIXELS, [i = 0]() mutable { return static_cast<std::uint8_t>(i++ * 7); });
            for (const MeanStd& by : MEANS_AND_STDS) {
                check_rows({pixels, indices.begin(), samples}, dtype, by,
                           out.back(bytes + shift * item_size(dtype)));
            }
        }
    }
}

TEST(bytes_around_the_output_are_unchanged) {
    Dataset data(2);
    const std::int64_t indices[] = {1, 0};
    for (const Dtype dtype : DTYPES) {
        for (const Kernel& kernel : kernels()) {
            const std::size_t bytes = 2 * PIXELS * item_size(dtype);
            std::vector<std::uint8_t> out(bytes + 256, 0xA5);
            BatchTransform{std::nullopt, Normalization(0.0f, 1.0f), dtype, kernel}.convert({data.pixels(), indices, 2},
                                                                                      out.data() + 128);
            CHECK_EQ(std::count(out.begin(), out.begin() + 128, 0xA5), 128);
            CHECK_EQ(std::count(out.end() - 128, out.end(), 0xA5), 128);
        }
    }
}

#if defined(__GNUC__)
// A compiler may silently drop prefetches, as GCC 12 did. They can be observed because they read the
// index of the row ahead, which here lies on an inaccessible page.
TEST(every_kernel_prefetches_the_rows_ahead) {
    Dataset data(1);
    Indices one(1, 1);
    const RowGather rows{data.pixels(), one.begin(), 1, RowGather::FAR};
    std::vector<std::uint8_t> out(PIXELS * sizeof(float));
    for (const Dtype dtype : DTYPES) {
        for (const Kernel& kernel : kernels()) {
            in_child([&] {
                std::signal(SIGSEGV, [](int) { _exit(0); });
                BatchTransform{std::nullopt, Normalization(0.0f, 1.0f), dtype, kernel}.convert(rows, out.data());
                CHECK(!"the rows ahead were not prefetched");
            });
        }
    }
}
#endif

TEST(any_mean_and_deviation_give_the_exact_bits) {
    constexpr float least = std::numeric_limits<float>::denorm_min();
    constexpr float most = std::numeric_limits<float>::max();
    std::vector<MeanStd> all = {{0.0f, most},  {0.0f, least}, {most, 1.0f},  {-most, least}, {-0.0f, 1.0f},
                                   {1.0f, least}, {least, 1.0f}, {0.5f, 0.25f}, {1.0f, 1.0f},   {0.0f, 255.0f}};
    // A pixel of 0 gives the negated mean: here halfway between two bfloat16 numbers, or next to it.
    for (const std::uint32_t bits : {0x3f808000u, 0x3f818000u, 0x3f807fffu, 0x3f817fffu, 0x3f808001u, 0x3f818001u}) {
        all.push_back({number_of(bits), 1.0f});
        all.push_back({-number_of(bits), 1.0f});
    }
    std::mt19937_64 random(3);
    while (all.size() < 300) {
        const float number = number_of(static_cast<std::uint32_t>(random()));
        if (std::isfinite(number) && number != 0) all.push_back({all.back().std, std::fabs(number)});
    }
    std::vector<std::uint8_t> pixels(PIXELS);
    std::generate(pixels.begin(), pixels.end(), [i = 0]() mutable { return static_cast<std::uint8_t>(i++); });
    const std::int64_t first = 0;
    std::vector<std::uint8_t> out(PIXELS * sizeof(float));
    for (const MeanStd& by : all) {
        for (const Dtype dtype : DTYPES) check_rows({pixels.data(), &first, 1}, dtype, by, out.data());
    }
}

TEST(the_first_kernel_is_the_default_and_the_portable_one_is_last) {
    CHECK_EQ(std::string(kernels().back().name), "portable");
    unsetenv("MNIST_SGD_KERNEL");
    CHECK_EQ(&default_kernel(), &kernels().front());
    setenv("MNIST_SGD_KERNEL", "", 1);
    CHECK_EQ(&default_kernel(), &kernels().front());
    unsetenv("MNIST_SGD_KERNEL");
}

TEST(every_known_processor_has_its_kernel) {
#if defined(__aarch64__)
    CHECK_EQ(std::string(kernels().front().name), "neon");
#elif defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        CHECK_EQ(std::string(kernel_named("avx2").name), "avx2");
    }
#endif
}

TEST(a_kernel_is_chosen_by_name_or_by_the_environment) {
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

TEST(an_unusable_mean_or_deviation_is_rejected) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    CHECK_THROWS_WITH(std::invalid_argument, "mean must be a finite number, got nan", Normalization(std::nanf(""), 1));
    CHECK_THROWS_WITH(std::invalid_argument, "mean must be a finite number, got inf", Normalization(infinity, 1));
    CHECK_THROWS_WITH(std::invalid_argument, "std must be a finite number above 0, got 0", Normalization(0, 0));
    CHECK_THROWS_WITH(std::invalid_argument, "std must be a finite number above 0, got -1", Normalization(0, -1));
    CHECK_THROWS_WITH(std::invalid_argument, "std must be a finite number above 0, got inf",
                      Normalization(0, infinity));
}
