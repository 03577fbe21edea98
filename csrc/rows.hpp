// The images of a batch, where they lie in the dataset, and how their memory is asked for early.
#pragma once

#include <cstddef>
#include <cstdint>

// GCC takes a function that only prefetches for one without an effect and drops the calls of it
// before it would inline them (seen with 12.2: no prefetch was left in the module); not so these.
#if defined(__GNUC__)
#define MNIST_SGD_ALWAYS_INLINE __attribute__((always_inline)) inline
#else
#define MNIST_SGD_ALWAYS_INLINE inline
#endif

namespace mnist_sgd {

constexpr std::size_t PIXELS = 28 * 28;  // bytes of an image, a multiple of every vector's width

// Which images of `pixels`, [N, PIXELS], a kernel reads: the first `count` of `indices`, in that order.
struct Rows {
    // How many images ahead the processor is asked for one: FAR for the second-level cache, where main
    // memory is far away, and NEAR for the first-level cache. A shuffled row is a surprise to the
    // hardware's prefetcher, but not to us. Where the images fit the last-level cache this makes 1.25
    // times the images a second, and where they lie in main memory 2 times (medians, Zen 4).
    static constexpr std::size_t NEAR = 2;
    static constexpr std::size_t FAR = 12;

    const std::uint8_t* pixels;
    const std::int64_t* indices;
    std::size_t count;
    std::size_t known;  // how many of `indices` there are: those after `count` are read next

    const std::uint8_t* operator[](std::size_t i) const {
        return pixels + static_cast<std::size_t>(indices[i]) * PIXELS;
    }

    // Asks for the rows that follow row i; a kernel calls it before it reads row i.
    MNIST_SGD_ALWAYS_INLINE void prefetch_after(std::size_t i) const {
#if defined(__GNUC__)
        if (i + FAR < known) {
            prefetch<2>((*this)[i + FAR]);
        }
        if (i + NEAR < known) {
            prefetch<3>((*this)[i + NEAR]);
        }
#else
        static_cast<void>(i);
#endif
    }

private:
#if defined(__GNUC__)
    // All lines of a row; the locality is that of __builtin_prefetch, 3 for the nearest cache.
    template <int locality>
    MNIST_SGD_ALWAYS_INLINE static void prefetch(const std::uint8_t* row) {
        constexpr std::size_t LINE = 64;
        for (std::size_t byte = 0; byte < PIXELS; byte += LINE) {
            __builtin_prefetch(row + byte, 0, locality);
        }
    }
#endif
};

}  // namespace mnist_sgd
