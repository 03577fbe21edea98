// libFuzzer's entry over parse_idx_header: any bytes are a header, or are refused in one sentence.
//
// What is a header is decided here a second time, from the format alone, and must agree; what lies
// behind a header's own bytes must change nothing.
#include "idx.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace mnist_sgd;

namespace {

void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "broken: %s\n", what);
        std::abort();
    }
}

std::uint64_t item_size(std::uint8_t type) {
    static const std::uint8_t sizes[] = {1, 1, 0, 2, 4, 4, 8};  // from 0x08 on
    return type >= 0x08 && type <= 0x0E ? sizes[type - 0x08] : 0;
}

// The bytes of the items that a header states; none if it is no header.
std::optional<std::uint64_t> stated(const std::uint8_t* head, std::size_t size) {
    if (size < 8 || head[0] + head[1] > 0 || item_size(head[2]) == 0 || head[3] < 1 || head[3] > 4) return {};
    if (size < 4u + 4u * head[3]) return {};
    std::uint64_t product = item_size(head[2]);
    for (const std::uint8_t* p = head + 4; p < head + 4 + 4 * head[3]; p += 4) {
        const std::uint64_t factor = 16777216u * std::uint64_t{p[0]} + 65536u * p[1] + 256u * p[2] + p[3];
        if (factor == 0 || product > PTRDIFF_MAX / factor) return {};
        product *= factor;
    }
    return product;
}

void check_header(const IdxHeader& header, const std::uint8_t* head, std::size_t size) {
    const std::optional<std::uint64_t> bytes = stated(head, size);
    require(bytes.has_value(), "what is no header is refused");
    require(header.type == head[2], "the type is the third byte");
    require(header.shape.size() == head[3], "the number of dimensions is the fourth byte");
    require(header.offset == 4u + 4u * head[3] && header.offset <= size, "the items follow the header");
    require(header.bytes() == *bytes, "the size is the product of the dimensions and the item's");
    for (std::size_t i = 0; i < header.shape.size(); ++i) {
        std::uint64_t value = 0;
        for (std::size_t j = 0; j < 4; ++j) value = 256u * value + head[4 + 4 * i + j];
        require(static_cast<std::uint64_t>(header.shape[i]) == value, "a dimension is its four bytes");
    }
    const std::vector<std::uint8_t> alone(head, head + header.offset);
    require(parse_idx_header(alone.data(), alone.size()).shape == header.shape, "the header's own bytes are enough");
}

void check_refusal(const std::string& text, const std::uint8_t* head, std::size_t size) {
    require(!stated(head, size).has_value(), "a header is read");
    require(text.rfind("it", 0) == 0, "a refusal is a sentence about the file");
    const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
    require(std::all_of(text.begin(), text.end(), printable), "a refusal is one printable line");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        check_header(parse_idx_header(data, size), data, size);
    } catch (const std::invalid_argument& refusal) {
        check_refusal(refusal.what(), data, size);
    }
    return 0;
}
