// The conversion of a batch's images: augmentation, normalization, data type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "augmentation.hpp"
#include "kernels.hpp"
#include "row_gather.hpp"

namespace mnist_sgd {

// The data type of a batch's values; uint8 keeps the pixels unchanged.
enum class Dtype { float32, bfloat16, uint8 };

inline std::size_t item_size(Dtype dtype) {
    return dtype == Dtype::float32 ? 4 : dtype == Dtype::bfloat16 ? 2 : 1;
}

struct BatchTransform {
    std::optional<Augmentation> augmentation;
    Normalization normalization;
    Dtype dtype;
    const Kernel& kernel;

    // Writes the normalized images, without augmentation, to `out`, [rows.count, PIXELS] of `dtype`.
    void convert(const RowGather& rows, void* out) const {
        switch (dtype) {
            case Dtype::float32: kernel.float32(rows, static_cast<float*>(out), normalization); break;
            case Dtype::bfloat16: kernel.bfloat16(rows, static_cast<std::uint16_t*>(out), normalization); break;
            case Dtype::uint8: copy(rows, static_cast<std::uint8_t*>(out)); break;
        }
    }

    // Augments the images, if there is an augmentation, and converts them.
    void apply(const RowGather& rows, std::uint64_t seed, std::uint64_t epoch, void* out) const {
        if (!augmentation) {
            convert(rows, out);
            return;
        }
        std::uint8_t augmented[PIXELS];  // stays in the first-level cache
        const std::int64_t index = 0;
        auto* next = static_cast<std::uint8_t*>(out);
        for (std::size_t i = 0; i < rows.count; ++i) {
            rows.prefetch_after(i);
            const AffineParams params = augmentation->draw(seed, epoch, static_cast<std::uint64_t>(rows.indices[i]));
            kernel.resample(rows[i], augmented, params.inverse(), augmentation->outside());
            convert({augmented, &index, 1}, next);
            next += PIXELS * item_size(dtype);
        }
    }
};

}  // namespace mnist_sgd
