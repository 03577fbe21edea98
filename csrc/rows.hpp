// The images of a batch, where they lie in the dataset, and how their memory is asked for early.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "inline.hpp"

namespace mnist_sgd {

constexpr std::size_t PIXELS = 28 * 28;  // bytes of an image, a multiple of every vector's width

// Which images of `pixels`, [N, PIXELS], a kernel reads: the first `count` of `indices`, in that order.
struct Rows {
    // How many images ahead the processor is asked for one: FAR for the second-level cache, where main
    // memory is far away, and NEAR for the first-level cache. A shuffled row is a surprise to the
    // hardware's prefetcher, but not to us. Where the images fit the last-level cache this makes 1.25
    // times the images a second, and where they lie in main memory 2 times (medians, Zen 4).
    static constexpr std::size_t NEAR = 3;
    static constexpr std::size_t FAR = 12;

    const std::uint8_t* pixels;
    const std::int64_t* indices;
    std::size_t count;
    std::size_t known;  // how many of `indices` there are, count at least: those after it are read next

    const std::uint8_t* operator[](std::size_t i) const {
        return pixels + static_cast<std::size_t>(indices[i]) * PIXELS;
    }

    // The rows to ask for while row i is read. Past the last known row that one is asked for again,
    // which costs less than to look.
    struct Coming {
        const std::uint8_t* near;
        const std::uint8_t* far;

        // Asks for the line at that byte of both rows. Always inline: GCC 12 takes a function that
        // only prefetches for one without effect, and drops the calls of it.
        MNIST_SGD_INLINE void prefetch(std::size_t byte) const {
#if defined(__GNUC__)
            __builtin_prefetch(far + byte, 0, 2);
            __builtin_prefetch(near + byte, 0, 3);
#else
            static_cast<void>(byte);
#endif
        }
    };

    Coming after(std::size_t i) const {
        return {(*this)[std::min(i + NEAR, known - 1)], (*this)[std::min(i + FAR, known - 1)]};
    }

    static constexpr std::size_t LINE = 64;  // bytes of a line of the cache
    static constexpr std::size_t LINES = PIXELS / LINE * LINE;  // bytes of a row's whole lines
    static constexpr std::size_t REST = PIXELS - LINES;

    // Calls step(in, out) for every STEP pixels of every row's whole lines, and rest(in, out) for the
    // REST pixels after them; `out` goes on by as many. The lines are asked for one at a time between
    // the steps: all at once they would keep the stores waiting (1.05 times the images a second, Zen 4).
    template <std::size_t STEP, typename T, typename Step, typename Rest>
    MNIST_SGD_INLINE void each(T* out, const Step& step, const Rest& rest) const {
        static_assert(LINE % STEP == 0, "a step is a part of a line");
        const Rows rows = *this;  // which no store can change
        for (std::size_t i = 0; i < rows.count; ++i, out += PIXELS) {
            const Coming coming = rows.after(i);
            const std::uint8_t* row = rows[i];
            for (std::size_t line = 0; line < LINES; line += LINE) {
                coming.prefetch(line);
                for (std::size_t j = line; j < line + LINE; j += STEP) {
                    step(row + j, out + j);
                }
            }
            coming.prefetch(LINES);
            rest(row + LINES, out + LINES);
        }
    }

    // The same where the rest is some steps more.
    template <std::size_t STEP, typename T, typename Step>
    MNIST_SGD_INLINE void each(T* out, const Step& step) const {
        static_assert(REST % STEP == 0, "a step is a part of the rest");
        each<STEP>(out, step, [&step](const std::uint8_t* in, T* values) {
            for (std::size_t j = 0; j < REST; j += STEP) {
                step(in + j, values + j);
            }
        });
    }

    // Asks for the rows that follow row i, for what does not read a row step by step.
    MNIST_SGD_INLINE void prefetch_after(std::size_t i) const {
        const Coming coming = after(i);
        for (std::size_t line = 0; line < PIXELS; line += LINE) {
            coming.prefetch(line);
        }
    }
};

}  // namespace mnist_sgd
