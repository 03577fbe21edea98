// The header of an IDX file, the format of the MNIST database.
//
// Format: two zero bytes, a type code, the number of dimensions; then each dimension as a big-endian
// unsigned 32-bit number; then the items in row-major order, big-endian (the section on the IDX file
// format of http://yann.lecun.com/exdb/mnist/). Only the first bytes of a file are needed here, so
// a header costs the same whatever the size of the data behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mnist_sgd {

constexpr std::size_t IDX_MAX_DIMENSIONS = 4;
constexpr std::size_t IDX_MAX_HEADER = 4 + 4 * IDX_MAX_DIMENSIONS;

struct IdxHeader {
    // 0x08 uint8, 0x09 int8, 0x0B int16, 0x0C int32, 0x0D float32, 0x0E float64
    std::uint8_t type;
    std::vector<std::int64_t> shape;  // 1 to IDX_MAX_DIMENSIONS dimensions, each 1 or more
    std::size_t offset;               // of the first item, from the start of the file

    // The size of the items together; throws std::invalid_argument if no machine word can hold it.
    std::size_t bytes() const;
};

// Reads the header at the start of `head`, the first `size` bytes of a file; IDX_MAX_HEADER of them
// are always enough. Throws std::invalid_argument, with a sentence about "it", the file, when they
// are not a header, or state no items, or more bytes than an address can count.
IdxHeader parse_idx_header(const std::uint8_t* head, std::size_t size);

}  // namespace mnist_sgd
