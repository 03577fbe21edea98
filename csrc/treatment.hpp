// What is done to the images of a batch on their way from the dataset to the batch's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "augmentation.hpp"
#include "kernels.hpp"
#include "rows.hpp"

namespace mnist_sgd {

// The type of a batch's values; uint8 leaves the pixels as they are.
enum class Dtype { float32, bfloat16, uint8 };

inline std::size_t item_size(Dtype dtype) {
    return dtype == Dtype::float32 ? 4 : dtype == Dtype::bfloat16 ? 2 : 1;
}

struct Treatment {
    std::optional<Augmentation> augmentation;
    Normalization normalization;
    Dtype dtype;
    const Kernel& kernel;

    // Writes the images one after another to `out`, which holds rows.count * PIXELS values.
    void convert(const Rows& rows, void* out) const {
        switch (dtype) {
            case Dtype::float32: kernel.float32(rows, static_cast<float*>(out), normalization); break;
            case Dtype::bfloat16: kernel.bfloat16(rows, static_cast<std::uint16_t*>(out), normalization); break;
            case Dtype::uint8: copy(rows, static_cast<std::uint8_t*>(out)); break;
        }
    }

    // The same, augmented before, if they shall be, by the draws of the images of this epoch.
    void apply(const Rows& rows, std::uint64_t seed, std::uint64_t epoch, void* out) const {
        if (!augmentation) {
            convert(rows, out);
            return;
        }
        std::uint8_t augmented[PIXELS];  // stays in the first-level cache
        const std::int64_t only = 0;
        auto* next = static_cast<std::uint8_t*>(out);
        for (std::size_t i = 0; i < rows.count; ++i) {
            rows.prefetch_after(i);
            const Draw draw = augmentation->draw(seed, epoch, static_cast<std::uint64_t>(rows.indices[i]));
            kernel.resample(rows[i], augmented, draw.inverse(), augmentation->outside());
            convert({augmented, &only, 1, 1}, next);
            next += PIXELS * item_size(dtype);
        }
    }
};

}  // namespace mnist_sgd
