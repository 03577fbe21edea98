// The kernels: convert rows of uint8 pixels to float32 or bfloat16, resample an image, and shuffle
// positions, with one implementation per instruction set.
//
// All kernels give the same bytes. float32 is torch's `(x.float() / 255 - mean) / std`, bit for bit, and
// bfloat16 is torch's `.to(torch.bfloat16)` of it: rounded to nearest, ties to even.
//
// Kernels are objects in one list, best first, as in simdjson. The processor is queried once; the
// environment variable MNIST_SGD_KERNEL forces a kernel, so that one machine can test them all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "feistel.hpp"
#include "resample.hpp"
#include "row_gather.hpp"

namespace mnist_sgd {

// Maps a pixel x to (x / 255 - mean) / std.
class Normalization {
public:
    // Throws std::invalid_argument unless mean is finite and std is finite and above 0.
    Normalization(float mean, float std);

    float mean;
    float std;
    bool identity;  // mean 0 and std 1, so x / 255 is the result
    // The result for every byte: the lookup tables of the portable kernel.
    float float32[256];
    std::uint16_t bfloat16[256];
    // The same tables split into bytes, lowest first, for a kernel that looks up one byte at a time.
    std::uint8_t float32_bytes[4][256];
    std::uint8_t bfloat16_bytes[2][256];
};

struct Kernel {
    const char* name;
    bool (*supported)();
    // Both write the rows one after another to `out`, which need not be aligned.
    void (*float32)(const RowGather& rows, float* out, const Normalization& norm);
    void (*bfloat16)(const RowGather& rows, std::uint16_t* out, const Normalization& norm);
    // Writes the image transformed by `map`; `out` must not overlap `image`.
    void (*resample)(const std::uint8_t* image, std::uint8_t* out, const Affine& map, Outside outside);
    // Feistel::fill, compiled for the instruction set.
    void (*shuffle)(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out);
};

// The kernels that this processor supports, best first; the last is "portable".
const std::vector<Kernel>& kernels();

// The kernel with this name. Throws std::invalid_argument, which lists the supported names.
const Kernel& kernel_named(const std::string& name);

// The kernel that MNIST_SGD_KERNEL names, or the best one if it is unset or empty.
const Kernel& default_kernel();

// Copies the rows to `out` unchanged; the C library's memcpy is as fast as any kernel.
void copy(const RowGather& rows, std::uint8_t* out);

}  // namespace mnist_sgd
