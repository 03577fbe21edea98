#include "idx.hpp"

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace mnist_sgd {

namespace {

std::string hex(std::uint8_t byte) {
    char text[3];
    std::snprintf(text, sizeof text, "%02X", static_cast<unsigned>(byte));
    return text;
}

// What a file that starts with these two bytes seems to be, as the end of a sentence.
std::string guess(std::uint8_t first, std::uint8_t second) {
    struct Signature {
        std::uint8_t first, second;
        const char* name;
    };
    static constexpr Signature signatures[] = {
        {0x1F, 0x8B, "gzip data"},
        {0x89, 0x50, "a PNG image"},
        {0xFF, 0xD8, "a JPEG image"},
        {0x50, 0x4B, "a zip archive"},
    };
    for (const Signature& known : signatures) {
        if (first == known.first && second == known.second) {
            return std::string("; it looks like ") + known.name;
        }
    }
    return "";
}

// The bytes of one item of the type; 0 for a code that the format does not know.
std::size_t item_size(std::uint8_t type) {
    switch (type) {
        case 0x08:
        case 0x09: return 1;
        case 0x0B: return 2;
        case 0x0C:
        case 0x0D: return 4;
        case 0x0E: return 8;
        default: return 0;
    }
}

std::int64_t big_endian(const std::uint8_t* p) {
    return std::int64_t{p[0]} << 24 | std::int64_t{p[1]} << 16 | std::int64_t{p[2]} << 8 | p[3];
}

}  // namespace

std::size_t IdxHeader::bytes() const {
    constexpr std::size_t most = PTRDIFF_MAX;
    std::size_t product = item_size(type);
    for (const std::int64_t dimension : shape) {
        const auto factor = static_cast<std::size_t>(dimension);
        if (product > most / factor) {
            std::string text;
            for (const std::int64_t size : shape) {
                text += (text.empty() ? "" : " x ") + std::to_string(size);
            }
            throw std::invalid_argument("its header states " + text +
                                        " items, more than any file can hold");
        }
        product *= factor;
    }
    return product;
}

IdxHeader parse_idx_header(const std::uint8_t* head, std::size_t size) {
    if (size < 4) {
        throw std::invalid_argument("its header ends after " + std::to_string(size) +
                                    " bytes, that of an IDX file has 8 or more");
    }
    if (head[0] != 0 || head[1] != 0) {
        throw std::invalid_argument("it starts with the bytes " + hex(head[0]) + " " + hex(head[1]) +
                                    ", an IDX file with 00 00" + guess(head[0], head[1]));
    }
    if (item_size(head[2]) == 0) {
        throw std::invalid_argument("its type code is 0x" + hex(head[2]) +
                                    ", an IDX file has 0x08, 0x09, 0x0B, 0x0C, 0x0D or 0x0E");
    }
    const std::size_t dimensions = head[3];
    if (dimensions < 1 || dimensions > IDX_MAX_DIMENSIONS) {
        throw std::invalid_argument("its header states " + std::to_string(dimensions) +
                                    " dimensions, 1 to " + std::to_string(IDX_MAX_DIMENSIONS) +
                                    " are read");
    }
    IdxHeader header{head[2], {}, 4 + 4 * dimensions};
    if (size < header.offset) {
        throw std::invalid_argument("its header ends after " + std::to_string(size) + " of " +
                                    std::to_string(header.offset) + " bytes");
    }
    for (std::size_t i = 0; i < dimensions; ++i) {
        header.shape.push_back(big_endian(head + 4 + 4 * i));
        if (header.shape.back() == 0) {
            throw std::invalid_argument("it holds nothing: dimension " + std::to_string(i) +
                                        " is 0");
        }
    }
    header.bytes();  // throws where the shape overflows
    return header;
}

}  // namespace mnist_sgd
