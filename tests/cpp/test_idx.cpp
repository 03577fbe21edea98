// The header of an IDX file: what is one is read, anything else is refused in a sentence.
#include "idx.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "guarded.hpp"

using namespace mnist_sgd;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Shape = std::vector<std::int64_t>;

struct Type {
    std::uint8_t code;
    std::size_t size;
};
constexpr Type TYPES[] = {{0x08, 1}, {0x09, 1}, {0x0B, 2}, {0x0C, 4}, {0x0D, 4}, {0x0E, 8}};
constexpr std::int64_t MOST = 0xFFFFFFFF;

Bytes header(std::uint8_t type, const Shape& shape) {
    Bytes bytes{0, 0, type, static_cast<std::uint8_t>(shape.size())};
    for (const std::int64_t size : shape) {
        for (int shift = 24; shift >= 0; shift -= 8) {
            bytes.push_back(static_cast<std::uint8_t>(size >> shift));
        }
    }
    return bytes;
}

// Parses bytes that end at a guarded page.
IdxHeader parse(const Bytes& bytes) {
    Guarded memory(bytes.size());
    std::uint8_t* const head = memory.back(bytes.size());
    std::copy(bytes.begin(), bytes.end(), head);
    return parse_idx_header(head, bytes.size());
}

std::string joined(const Shape& shape) {
    std::string text;
    for (const std::int64_t size : shape) {
        text += (text.empty() ? "" : " x ") + std::to_string(size);
    }
    return text;
}

// Whether the items' bytes can be counted, by division: a product would overflow.
bool fits(std::size_t item, const Shape& shape) {
    std::size_t room = PTRDIFF_MAX / item;
    for (const std::int64_t size : shape) {
        room /= static_cast<std::size_t>(size);
    }
    return room > 0;
}

void check_read_or_refused(const Type& type, const Shape& shape) {
    const Bytes bytes = header(type.code, shape);
    if (!fits(type.size, shape)) {
        CHECK_THROWS_WITH(std::invalid_argument,
                          "its header states " + joined(shape) + " items, more than any file can hold", parse(bytes));
        return;
    }
    const IdxHeader read = parse(bytes);
    std::size_t size = type.size;
    for (const std::int64_t side : shape) size *= static_cast<std::size_t>(side);
    CHECK_EQ(+read.type, +type.code);
    CHECK(read.shape == shape);
    CHECK_EQ(read.offset, 4 + 4 * shape.size());
    CHECK_EQ(read.bytes(), size);
}

}  // namespace

TEST(a_header_of_any_type_and_1_to_4_dimensions_is_read) {
    for (const Type& type : TYPES) {
        for (const Shape& shape : {Shape{1}, {60000}, {3, 28}, {60000, 28, 28}, {2, 3, 4, 5}, {1, 1, 1, 1}}) {
            check_read_or_refused(type, shape);
        }
    }
}

TEST(the_bytes_of_each_dimension_are_read_from_the_greatest_on) {
    CHECK(parse(header(8, {0x01020304, 0x7F})).shape == (Shape{0x01020304, 0x7F}));
    CHECK(parse(header(8, {MOST})).shape == Shape{MOST});
    CHECK(parse({0, 0, 8, 1, 0x80, 0, 0, 1}).shape == Shape{0x80000001});
}

TEST(what_follows_the_header_is_not_looked_at) {
    Bytes bytes = header(8, {3, 28, 28});
    for (int more = 0; more < 300; ++more) {
        CHECK(parse(bytes).shape == (Shape{3, 28, 28}));
        bytes.push_back(static_cast<std::uint8_t>(more));
    }
}

TEST(every_truncation_is_refused_and_not_read_beyond) {
    for (std::size_t dimensions = 1; dimensions <= IDX_MAX_DIMENSIONS; ++dimensions) {
        const Bytes whole = header(8, Shape(dimensions, 7));
        for (std::size_t kept = 0; kept < whole.size(); ++kept) {
            const std::string begin = "its header ends after " + std::to_string(kept);
            const std::string end =
                kept < 4 ? " bytes, that of an IDX file has 8 or more" : " of " + std::to_string(whole.size()) + " bytes";
            CHECK_THROWS_WITH(std::invalid_argument, begin + end,
                              parse(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(kept))));
        }
    }
}

TEST(every_other_type_code_is_refused_by_its_number) {
    int known = 0;
    for (int code = 0; code < 256; ++code) {
        const Bytes bytes = header(static_cast<std::uint8_t>(code), {1});
        bool is_type = false;
        for (const Type& type : TYPES) is_type = is_type || type.code == code;
        if (is_type) {
            CHECK_EQ(+parse(bytes).type, code);
            ++known;
            continue;
        }
        char number[5];
        std::snprintf(number, sizeof number, "0x%02X", static_cast<unsigned>(code));
        CHECK_THROWS_WITH(
            std::invalid_argument,
            std::string("its type code is ") + number + ", an IDX file has 0x08, 0x09, 0x0B, 0x0C, 0x0D or 0x0E",
            parse(bytes));
    }
    CHECK_EQ(known, 6);
}

TEST(every_other_number_of_dimensions_is_refused) {
    for (int dimensions = 0; dimensions < 256; ++dimensions) {
        Bytes bytes{0, 0, 8, static_cast<std::uint8_t>(dimensions)};
        for (int i = 0; i < 256; ++i) bytes.insert(bytes.end(), {0, 0, 0, 1});
        if (dimensions >= 1 && dimensions <= 4) {
            CHECK_EQ(parse(bytes).shape.size(), static_cast<std::size_t>(dimensions));
        } else {
            CHECK_THROWS_WITH(std::invalid_argument,
                              "its header states " + std::to_string(dimensions) + " dimensions, 1 to 4 are read",
                              parse(bytes));
        }
    }
}

TEST(every_other_first_two_bytes_are_refused_by_their_values) {
    for (int pair = 1; pair < 65536; ++pair) {
        const Bytes bytes{static_cast<std::uint8_t>(pair >> 8), static_cast<std::uint8_t>(pair), 8, 1, 0, 0, 0, 1};
        std::string guess;
        if (pair == 0x1F8B) guess = "; it looks like gzip data";
        if (pair == 0x8950) guess = "; it looks like a PNG image";
        if (pair == 0xFFD8) guess = "; it looks like a JPEG image";
        if (pair == 0x504B) guess = "; it looks like a zip archive";
        char numbers[6];
        std::snprintf(numbers, sizeof numbers, "%02X %02X", static_cast<unsigned>(bytes[0]),
                      static_cast<unsigned>(bytes[1]));
        CHECK_THROWS_WITH(std::invalid_argument,
                          std::string("it starts with the bytes ") + numbers + ", an IDX file with 00 00" + guess,
                          parse_idx_header(bytes.data(), bytes.size()));
    }
}

TEST(a_dimension_of_zero_is_refused_by_its_place) {
    for (std::size_t dimensions = 1; dimensions <= IDX_MAX_DIMENSIONS; ++dimensions) {
        for (std::size_t place = 0; place < dimensions; ++place) {
            Shape shape(dimensions, MOST);
            shape[place] = 0;
            CHECK_THROWS_WITH(std::invalid_argument, "it holds nothing: dimension " + std::to_string(place) + " is 0",
                              parse(header(8, shape)));
        }
    }
}

TEST(dimensions_are_refused_from_the_first_product_that_no_address_can_count) {
    constexpr std::int64_t half = std::int64_t{1} << 31;
    for (const Type& type : TYPES) {
        for (const std::int64_t last : {half / 4 - 1, half / 4, half / 2 - 1, half / 2, half - 1, half, half + 1, MOST}) {
            check_read_or_refused(type, {half, last});
            check_read_or_refused(type, {half, last, 1});
            check_read_or_refused(type, {half, last, 2});
            check_read_or_refused(type, {2, last, 1, half});
            check_read_or_refused(type, {last, last, last, last});
        }
    }
    check_read_or_refused({8, 1}, {half, half, 4});  // 0 modulo 2^64
    check_read_or_refused({8, 1}, {MOST, MOST, MOST, MOST});
}

TEST(random_dimensions_are_read_or_refused_as_their_product_says) {
    std::mt19937_64 random(1);
    for (int turn = 0; turn < 20000; ++turn) {
        Shape shape;
        for (std::size_t left = 1 + random() % IDX_MAX_DIMENSIONS; left > 0; --left) {
            shape.push_back(1 + static_cast<std::int64_t>((random() % MOST) >> random() % 32));
        }
        check_read_or_refused(TYPES[random() % 6], shape);
    }
}
