#include "kernels.hpp"

#include <cmath>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "kernels_x86.hpp"

namespace mnist_sgd {

namespace {

std::string text(float number) {
    std::ostringstream out;
    out << number;
    return out.str();
}

}  // namespace

Normalization::Normalization(float mean_, float std_) : mean(mean_), std(std_), identity(mean_ == 0.0f && std_ == 1.0f) {
    if (!std::isfinite(mean)) {
        throw std::invalid_argument("mean must be a finite number, got " + text(mean));
    }
    if (!std::isfinite(std) || std <= 0.0f) {
        throw std::invalid_argument("std must be a finite number above 0, got " + text(std));
    }
    for (int x = 0; x < 256; ++x) {
        table[x] = (static_cast<float>(x) / 255.0f - mean) / std;
    }
}

namespace {

bool always() { return true; }

void normalize_portable(const std::uint8_t* pixels, float* out, std::size_t count, const Normalization& how) {
    for (std::size_t i = 0; i < count; ++i) {
        out[i] = how.table[pixels[i]];
    }
}

std::vector<Kernel> usable_kernels() {
    const Kernel all[] = {
#if MNIST_SGD_X86_KERNELS
        // A processor with AVX-512 has AVX2.
        {"avx512", x86::has_avx512, x86::normalize_avx512, x86::resample_avx2},
        {"avx2", x86::has_avx2, x86::normalize_avx2, x86::resample_avx2},
#endif
        {"portable", always, normalize_portable, resample_portable},
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

}  // namespace mnist_sgd
