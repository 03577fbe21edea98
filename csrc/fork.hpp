// Which process is this: a fork copies locks and the memory of threads, but not the threads.
#pragma once

#include <cstdint>

namespace mnist_sgd {

// A number that differs between a process and the children that it forks. An object that remembers
// it from its birth knows whether its locks and its threads are its own.
std::uint64_t fork_generation();

}  // namespace mnist_sgd
