#include "batch_plan.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace mnist_sgd {

void BatchPlan::check() const {
    if (batch_size < 1) {
        throw std::invalid_argument("batch_size must be at least 1, got 0");
    }
    if (world_size < 1) {
        throw std::invalid_argument("world_size must be at least 1, got 0");
    }
    if (rank >= world_size) {
        throw std::invalid_argument("rank must be below world_size, got rank " + std::to_string(rank) +
                                    " of world_size " + std::to_string(world_size));
    }
    if (threads < 1 || threads > 256) {
        throw std::invalid_argument("num_threads must lie in 1 to 256, got " + std::to_string(threads));
    }
}

std::size_t BatchPlan::batches(std::size_t count) const {
    const std::size_t full = count / batch_size;
    return drop_last || count % batch_size == 0 ? full : full + 1;
}

void BatchPlan::part(std::size_t batch, std::size_t count, std::size_t* first, std::size_t* last) const {
    const std::size_t start = batch * batch_size;
    const std::size_t size = std::min(batch_size, count - start);
    const std::size_t share = size / world_size;
    const std::size_t rest = size % world_size;  // the first `rest` ranks take one more sample
    *first = start + share * rank + std::min(rank, rest);
    *last = *first + share + (rank < rest ? 1 : 0);
}

}  // namespace mnist_sgd
