// The arithmetic of the loader: rows of uint8 pixels to float32 or bfloat16, a batch in one call.
//
// Contract: the float32 result is torch's `x.float() / 255`, and with a mean and a standard deviation
// torch's `(x.float() / 255 - mean) / std`, bit for bit, whichever kernel computes it; the bfloat16
// result is torch's `.to(torch.bfloat16)` of it, which rounds to nearest, ties to even.
//
// Kernels are objects in one list in order of preference, as in simdjson; the processor is asked
// once, and the environment variable MNIST_SGD_KERNEL forces one, so one machine tests them all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "feistel.hpp"
#include "resample.hpp"
#include "rows.hpp"

namespace mnist_sgd {

// What is done to a pixel after the division by 255.
class Normalization {
public:
    // Throws std::invalid_argument unless mean is finite and std is finite and above 0.
    Normalization(float mean, float std);

    float mean;
    float std;
    bool identity;  // mean 0 and std 1: nothing is left to do after x / 255
    // The answer for every byte, which is all that the portable kernel needs.
    float float32[256];
    std::uint16_t bfloat16[256];
    // The same by bytes, the lowest ones first: for a kernel that looks up one byte at a time.
    std::uint8_t float32_bytes[4][256];
    std::uint8_t bfloat16_bytes[2][256];
};

struct Kernel {
    const char* name;
    bool (*supported)();
    // Each writes the rows one after another to `out`, which need not be aligned.
    void (*float32)(const Rows& rows, float* out, const Normalization& how);
    void (*bfloat16)(const Rows& rows, std::uint16_t* out, const Normalization& how);
    // Writes the image that `map` makes of one; `out` may not overlap `image`.
    void (*resample)(const std::uint8_t* image, std::uint8_t* out, const Affine& map, Outside outside);
    // Feistel::fill, compiled for the processor.
    void (*shuffle)(const Feistel& network, std::uint64_t start, std::size_t n, std::int64_t* out);
};

// The kernels that this processor can run, best first; the last one is "portable".
const std::vector<Kernel>& kernels();

// The kernel of that name; throws std::invalid_argument, which lists the names there are.
const Kernel& kernel_named(const std::string& name);

// The kernel that MNIST_SGD_KERNEL names or, where it is unset or empty, the best one.
const Kernel& default_kernel();

// Writes the rows to `out` as they are; the C library's copy is as good as any of ours.
void copy(const Rows& rows, std::uint8_t* out);

}  // namespace mnist_sgd
