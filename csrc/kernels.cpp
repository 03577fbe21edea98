#include "kernels.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "kernels_neon.hpp"
#include "kernels_x86.hpp"

namespace mnist_sgd {

namespace {

std::string text(float number) {
    std::ostringstream out;
    out << number;
    return out.str();
}

std::uint32_t bits_of(float number) {
    std::uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    return bits;
}

// Rounds to the nearest bfloat16, ties to even. Infinities stay infinite; no byte gives a NaN.
std::uint16_t to_bfloat16(float number) {
    const std::uint32_t bits = bits_of(number);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Stores byte b of the number for x in bytes[b][x].
template <std::size_t size>
void split(std::uint32_t number, int x, std::uint8_t (&bytes)[size][256]) {
    for (std::size_t b = 0; b < size; ++b) {
        bytes[b][x] = static_cast<std::uint8_t>(number >> (8 * b));
    }
}

}  // namespace

Normalization::Normalization(float mean_, float std_)
    : mean(mean_), std(std_), identity(mean_ == 0.0f && std_ == 1.0f) {
    if (!std::isfinite(mean)) {
        throw std::invalid_argument("mean must be a finite number, got " + text(mean));
    }
    if (!std::isfinite(std) || std <= 0.0f) {
        throw std::invalid_argument("std must be a finite number above 0, got " + text(std));
    }
    for (int x = 0; x < 256; ++x) {
        float32[x] = (static_cast<float>(x) / 255.0f - mean) / std;
        bfloat16[x] = to_bfloat16(float32[x]);
        split(bits_of(float32[x]), x, float32_bytes);
        split(bfloat16[x], x, bfloat16_bytes);
    }
}

namespace {

bool always() { return true; }

// Looks up every pixel in a table of 256 values.
template <typename T>
void look_up(const RowGather& rows, T* out, const T* table) {
    constexpr std::size_t STEP = 16;
    rows.for_each_row<STEP>(out, [table](const std::uint8_t* pixels, T* values) {
        for (std::size_t j = 0; j < STEP; ++j) {
            values[j] = table[pixels[j]];
        }
    });
}

void float32_portable(const RowGather& rows, float* out, const Normalization& norm) {
    look_up(rows, out, norm.float32);
}

void bfloat16_portable(const RowGather& rows, std::uint16_t* out, const Normalization& norm) {
    look_up(rows, out, norm.bfloat16);
}

void shuffle_portable(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out) {
    network.fill(start, n, out);
}

std::vector<Kernel> usable_kernels() {
    const Kernel all[] = {
#if MNIST_SGD_X86_KERNELS
        // A processor with AVX-512 has AVX2.
        {"avx512vbmi", avx512vbmi::supported, avx512vbmi::float32, avx512vbmi::bfloat16, avx2::resample,
         avx512::shuffle},
        {"avx512", avx512::supported, avx512::float32, avx512::bfloat16, avx2::resample, avx512::shuffle},
        {"avx2", avx2::supported, avx2::float32, avx2::bfloat16, avx2::resample, avx2::shuffle},
#endif
#if MNIST_SGD_NEON_KERNEL
        {"neon", always, neon::float32, neon::bfloat16, resample_portable, shuffle_portable},
#endif
        {"portable", always, float32_portable, bfloat16_portable, resample_portable, shuffle_portable},
    };
    std::vector<Kernel> usable;
    for (const Kernel& kernel : all) {
        if (kernel.supported()) {
            usable.push_back(kernel);
        }
    }
    return usable;
}

}  // namespace

const std::vector<Kernel>& kernels() {
    static const std::vector<Kernel> usable = usable_kernels();
    return usable;
}

const Kernel& kernel_named(const std::string& name) {
    std::string names;
    for (const Kernel& kernel : kernels()) {
        if (name == kernel.name) {
            return kernel;
        }
        names += (names.empty() ? "" : ", ") + std::string(kernel.name);
    }
    throw std::invalid_argument("there is no kernel '" + name + "' on this processor; there are: " + names);
}

const Kernel& default_kernel() {
    const char* forced = std::getenv("MNIST_SGD_KERNEL");
    return forced != nullptr && *forced != '\0' ? kernel_named(forced) : kernels().front();
}

void copy(const RowGather& rows, std::uint8_t* out) {
    constexpr std::size_t STEP = 16;
    rows.for_each_row<STEP>(
        out, [](const std::uint8_t* pixels, std::uint8_t* values) { std::memcpy(values, pixels, STEP); });
}

}  // namespace mnist_sgd
