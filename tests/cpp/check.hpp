// A minimal test framework: named tests, checks that report their location, and main().
//
//     TEST(addition_is_commutative) { CHECK_EQ(1 + 2, 2 + 1); }
//
// A failed check throws, which ends its test but not the others. A program takes the names of the
// tests to run, or runs all without any, and exits with 1 if one failed.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

struct Test {
    const char* name;
    void (*run)();
};

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

struct Registered {
    Registered(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

struct Failed : std::runtime_error {
    Failed(const char* file, int line, const std::string& what)
        : std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + what) {}
};

template <typename Left, typename Right>
void require_equal(const Left& left, const Right& right, const char* text, const char* file, int line) {
    if (!(left == right)) {
        std::ostringstream what;
        what << text << ": " << left << " is not " << right;
        throw Failed(file, line, what.str());
    }
}

// Requires that `run` throws an `Error` with exactly this text.
template <typename Error, typename Run>
void require_throws(const std::string& text, const Run& run, const char* file, int line) {
    try {
        run();
    } catch (const Error& error) {
        require_equal(std::string(error.what()), text, "the error's text", file, line);
        return;
    }
    throw Failed(file, line, "nothing was thrown, wanted: " + text);
}

inline bool wanted(const char* name, int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(name, argv[i]) == 0) return true;
    }
    return argc == 1;
}

inline int main(int argc, char** argv) {
    std::size_t passed = 0;
    std::size_t failed = 0;
    for (const Test& test : tests()) {
        if (!wanted(test.name, argc, argv)) continue;
        try {
            test.run();
            ++passed;
        } catch (const std::exception& error) {
            ++failed;
            std::printf("FAILED %s\n  %s\n", test.name, error.what());
        }
        std::fflush(stdout);  // so that a later crash loses no output and a fork does not duplicate it
    }
    std::printf("%zu passed, %zu failed\n", passed, failed);
    return failed > 0 || passed == 0 ? 1 : 0;
}

}  // namespace check

#define TEST(name)                                         \
    static void name();                                    \
    static const check::Registered registered_##name(#name, name); \
    static void name()

#define CHECK(condition) \
    if (!(condition)) throw check::Failed(__FILE__, __LINE__, #condition)

#define CHECK_EQ(left, right) check::require_equal(left, right, #left " == " #right, __FILE__, __LINE__)

#define CHECK_THROWS_WITH(error, text, expression) \
    check::require_throws<error>(text, [&] { static_cast<void>(expression); }, __FILE__, __LINE__)

int main(int argc, char** argv) { return check::main(argc, argv); }
