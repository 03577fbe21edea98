// Gives files to a fuzzer's entry, each once, where libFuzzer is not: one line a file.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        std::ifstream file(argv[i], std::ios::binary);
        if (!file) {
            std::printf("%s cannot be read\n", argv[i]);
            return 2;
        }
        const std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
        std::printf("%s\n", argv[i]);
        std::fflush(stdout);  // before a crash
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    return 0;
}
