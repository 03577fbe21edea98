#include "fork.hpp"

#include <atomic>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace mnist_sgd {

namespace {

std::atomic<std::uint64_t> generation{0};

#if !defined(_WIN32)
void in_child() { generation.fetch_add(1, std::memory_order_relaxed); }
const int registered = pthread_atfork(nullptr, nullptr, in_child);
#endif

}  // namespace

std::uint64_t fork_generation() { return generation.load(std::memory_order_relaxed); }

}  // namespace mnist_sgd
