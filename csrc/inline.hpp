// Functions that must be compiled into their callers.
#pragma once

#if defined(__GNUC__)
#define MNIST_SGD_INLINE inline __attribute__((always_inline))
#else
#define MNIST_SGD_INLINE inline
#endif
