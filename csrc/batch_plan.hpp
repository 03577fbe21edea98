// The division of an epoch into batches, and of batches into the parts of ranks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mnist_sgd {

struct BatchPlan {
    std::size_t batch_size;  // over all ranks
    bool shuffle;
    bool drop_last;
    std::uint64_t seed;
    std::size_t rank;
    std::size_t world_size;
    std::size_t threads;

    // Throws std::invalid_argument, which names the value that is out of range.
    void check() const;

    // The number of batches in an epoch of `count` samples.
    std::size_t batches(std::size_t count) const;

    // The positions [first, last) in the epoch's order of this rank's part of a batch. Parts are
    // contiguous and differ by at most one sample, so a part of the last batch can be empty.
    void part(std::size_t batch, std::size_t count, std::size_t* first, std::size_t* last) const;
};

}  // namespace mnist_sgd
