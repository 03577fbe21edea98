// Compiler-specific spellings.
#pragma once

// A function that must be compiled into its callers.
#if defined(__GNUC__)
#define MNIST_SGD_INLINE inline __attribute__((always_inline))
#else
#define MNIST_SGD_INLINE inline
#endif
