// Detects a fork, which copies locks and memory into the child but none of the threads.
#pragma once

#include <cstdint>

namespace mnist_sgd {

// A number that differs between a process and each child it forks. An object that stores it when it
// is made can tell later whether its locks and threads belong to the current process.
std::uint64_t fork_generation();

}  // namespace mnist_sgd
