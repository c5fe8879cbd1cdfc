// Runs a fuzz target on files: as they are, cut off at every byte, and with every byte changed. What a fuzzer
// once found stays found, with any compiler.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <tenon/io/file.hpp>

#include "target.hpp"

namespace {

/// A copy of exactly its size, so that a sanitizer sees what is read beyond.
void run(std::span<const std::uint8_t> bytes) {
    const std::vector<std::uint8_t> copy(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

}  // namespace

int main(int count, char** arguments) {
    std::size_t inputs = 0, files = 0;
    for (int i = 1; i < count; ++i) {
        std::vector<std::filesystem::path> paths;
        for (const auto& entry : std::filesystem::directory_iterator(arguments[i])) paths.push_back(entry);
        std::sort(paths.begin(), paths.end());
        for (const auto& path : paths) {
            std::printf("%s\n", path.c_str());
            std::fflush(stdout);
            const std::string text = tenon::read_file(path);
            std::vector<std::uint8_t> bytes(text.begin(), text.end());
            run(bytes);
            ++files;
            // Of long files some places only.
            const std::size_t step = 1 + bytes.size() / 64;
            for (std::size_t at = 0; at < bytes.size(); at += step) {
                run(std::span(bytes).first(at));
                const std::uint8_t kept = bytes[at];
                for (const int change : {1, 0x20, 0x80, 0xff}) {
                    bytes[at] = static_cast<std::uint8_t>(kept ^ change);
                    run(bytes);
                }
                bytes[at] = kept;
                inputs += 5;
            }
        }
    }
    std::printf("%zu files, %zu inputs made from them\n", files, inputs);
    return files > 0 ? 0 : 1;
}
