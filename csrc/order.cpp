#include "order.hpp"

#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "splitmix.hpp"

namespace mnist_sgd {

namespace {

std::uint32_t ceil_sqrt(std::uint64_t n) {
    std::uint64_t root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(n)));
    while (root * root < n) ++root;
    while (root > 0 && (root - 1) * (root - 1) >= n) --root;
    return static_cast<std::uint32_t>(root);
}

std::uint64_t checked(std::uint64_t count) {
    if (count < 1 || count > Order::MAX_COUNT) {
        throw std::invalid_argument("count must lie in 1 to 2^60, got " + std::to_string(count));
    }
    return count;
}

Feistel network(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch) {
    Feistel result{checked(count), ceil_sqrt(count), 0, {}};
    result.right = static_cast<std::uint32_t>((count + result.left - 1) / result.left);
    std::uint64_t state = mix(seed + GOLDEN) ^ mix(mix(epoch + GOLDEN) + GOLDEN);
    for (std::uint32_t& key : result.keys) {
        state += GOLDEN;
        key = static_cast<std::uint32_t>(mix(state) >> 32);
    }
    return result;
}

}  // namespace

Order::Order(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch, bool shuffle, const Kernel& kernel)
    : network_(network(count, seed, epoch)), shuffle_(shuffle ? kernel.shuffle : nullptr) {}

void Order::fill(std::uint64_t start, std::size_t n, std::int64_t* out) const {
    if (shuffle_ != nullptr) {
        shuffle_(network_, start, n, out);
    } else {
        std::iota(out, out + n, static_cast<std::int64_t>(start));
    }
}

}  // namespace mnist_sgd
