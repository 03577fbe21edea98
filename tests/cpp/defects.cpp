// Deliberate defects, selected by name. tools/sanitize.py checks that the sanitizers report each.
#include <cstdio>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

namespace {

volatile std::size_t beyond = 4;

int overflow() { return std::vector<int>(4).data()[beyond]; }

char* volatile kept = nullptr;

int leak() {
    for (int i = 0; i < 10; ++i) kept = new char[100];  // several: a register may still hold the last
    return 0;
}

int undefined(int most) { return most + 1; }

int race() {
    int shared = 0;
    std::thread other([&] { ++shared; });
    ++shared;
    other.join();
    return shared;
}

}  // namespace

int main(int argc, char** argv) {
    const char* const defect = argc == 2 ? argv[1] : "";
    if (std::strcmp(defect, "overflow") == 0) std::printf("%d\n", overflow());
    if (std::strcmp(defect, "leak") == 0) std::printf("%d\n", leak());
    if (std::strcmp(defect, "undefined") == 0) std::printf("%d\n", undefined(std::numeric_limits<int>::max()));
    if (std::strcmp(defect, "race") == 0) std::printf("%d\n", race());
    return 0;
}
