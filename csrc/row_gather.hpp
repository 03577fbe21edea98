// The gather of a batch's images from the dataset, with prefetching.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "macros.hpp"

namespace mnist_sgd {

constexpr std::size_t PIXELS = 28 * 28;  // bytes of an image, a multiple of every vector's width

// The images that a kernel reads from `pixels`, [N, PIXELS]: those of the first `count` `indices`.
struct RowGather {
    // Prefetch distances in images: FAR into the second-level cache, where main memory is far away,
    // NEAR into the first-level cache. The hardware prefetcher cannot predict shuffled rows; we can.
    static constexpr std::size_t NEAR = 3;
    static constexpr std::size_t FAR = 12;

    const std::uint8_t* pixels;
    const std::int64_t* indices;
    std::size_t count;
    std::size_t lookahead = 0;  // number of valid indices after the first `count`, to prefetch

    const std::uint8_t* operator[](std::size_t i) const {
        return pixels + static_cast<std::size_t>(indices[i]) * PIXELS;
    }

    struct PrefetchTargets {
        const std::uint8_t* near;
        const std::uint8_t* far;

        // Prefetches the cache line at an offset into both rows. Always inline: GCC 12 considers a
        // function that only prefetches free of side effects, and drops the calls.
        MNIST_SGD_INLINE void prefetch(std::size_t offset) const {
#if defined(__GNUC__)
            __builtin_prefetch(far + offset, 0, 2);
            __builtin_prefetch(near + offset, 0, 3);
#else
            static_cast<void>(offset);
#endif
        }
    };

    // The rows to prefetch while row i is read. Indices are clamped to the last known one, which is
    // cheaper than a branch.
    PrefetchTargets targets(std::size_t i) const {
        const std::size_t last = count + lookahead - 1;
        return {(*this)[std::min(i + NEAR, last)], (*this)[std::min(i + FAR, last)]};
    }

    static constexpr std::size_t LINE = 64;                       // bytes of a cache line
    static constexpr std::size_t WHOLE_LINES = PIXELS / LINE * LINE;  // bytes of a row's whole lines
    static constexpr std::size_t REST = PIXELS - WHOLE_LINES;

    // Calls step(in, out) for every STEP pixels of each row's whole lines and rest(in, out) for the
    // REST pixels after them; `out` advances by as many values. Prefetches are spread between the
    // steps, because all at once they would delay the stores.
    template <std::size_t STEP, typename T, typename Step, typename Rest>
    MNIST_SGD_INLINE void for_each_row(T* out, const Step& step, const Rest& rest) const {
        static_assert(LINE % STEP == 0, "STEP divides a cache line");
        const RowGather rows = *this;  // a local copy, which no store can alias
        for (std::size_t i = 0; i < rows.count; ++i, out += PIXELS) {
            const PrefetchTargets next = rows.targets(i);
            const std::uint8_t* row = rows[i];
            for (std::size_t line = 0; line < WHOLE_LINES; line += LINE) {
                next.prefetch(line);
                for (std::size_t j = line; j < line + LINE; j += STEP) {
                    step(row + j, out + j);
                }
            }
            next.prefetch(WHOLE_LINES);
            rest(row + WHOLE_LINES, out + WHOLE_LINES);
        }
    }

    // The same for a STEP that divides the rest as well.
    template <std::size_t STEP, typename T, typename Step>
    MNIST_SGD_INLINE void for_each_row(T* out, const Step& step) const {
        static_assert(REST % STEP == 0, "STEP divides the rest");
        for_each_row<STEP>(out, step, [&step](const std::uint8_t* in, T* values) {
            for (std::size_t j = 0; j < REST; j += STEP) {
                step(in + j, values + j);
            }
        });
    }

    // Prefetches the rows after row i at once, for callers that do not read rows in steps.
    MNIST_SGD_INLINE void prefetch_after(std::size_t i) const {
        const PrefetchTargets next = targets(i);
        for (std::size_t line = 0; line < PIXELS; line += LINE) {
            next.prefetch(line);
        }
    }
};

}  // namespace mnist_sgd
