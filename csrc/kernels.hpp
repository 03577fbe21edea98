// The arithmetic of the loader: one row of uint8 pixels to float32.
//
// Contract: the result is torch's `x.float() / 255`, and with a mean and a standard deviation torch's
// `(x.float() / 255 - mean) / std`, bit for bit, whichever kernel computes it.
//
// Kernels are objects in one list in order of preference, as in simdjson; the processor is asked
// once, and the environment variable MNIST_SGD_KERNEL forces one, so one machine tests them all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "resample.hpp"

namespace mnist_sgd {

// What is done to a pixel after the division by 255.
class Normalization {
public:
    // Throws std::invalid_argument unless mean is finite and std is finite and above 0.
    Normalization(float mean, float std);

    float mean;
    float std;
    bool identity;      // mean 0 and std 1: nothing is left to do after x / 255
    float table[256];   // the answer for every byte, which is all that the portable kernel needs
};

struct Kernel {
    const char* name;
    bool (*supported)();
    // Writes `count` floats to `out`; `count` may be 0, and neither pointer need be aligned.
    void (*normalize)(const std::uint8_t* pixels, float* out, std::size_t count, const Normalization& how);
    // Writes the 28x28 image that `map` makes of one; `out` may not overlap `image`.
    void (*resample)(const std::uint8_t* image, std::uint8_t* out, const Affine& map);
};

// The kernels that this processor can run, best first; the last one is "portable".
const std::vector<Kernel>& kernels();

// The kernel of that name; throws std::invalid_argument, which lists the names there are.
const Kernel& kernel_named(const std::string& name);

// The kernel that MNIST_SGD_KERNEL names or, where it is unset or empty, the best one.
const Kernel& default_kernel();

}  // namespace mnist_sgd
