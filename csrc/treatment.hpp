// What is done to the images of a batch on their way from the dataset to the batch's memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "rows.hpp"

namespace mnist_sgd {

// The type of a batch's values; uint8 leaves the pixels as they are.
enum class Dtype { float32, bfloat16, uint8 };

inline std::size_t item_size(Dtype dtype) {
    return dtype == Dtype::float32 ? 4 : dtype == Dtype::bfloat16 ? 2 : 1;
}

struct Treatment {
    Normalization normalization;
    Dtype dtype;
    const Kernel& kernel;

    // Writes the images one after another to `out`, which holds rows.count * PIXELS values.
    void apply(const Rows& rows, void* out) const {
        switch (dtype) {
            case Dtype::float32: kernel.float32(rows, static_cast<float*>(out), normalization); break;
            case Dtype::bfloat16: kernel.bfloat16(rows, static_cast<std::uint16_t*>(out), normalization); break;
            case Dtype::uint8: copy(rows, static_cast<std::uint8_t*>(out)); break;
        }
    }
};

}  // namespace mnist_sgd
