// `replay <target> <folder>` runs a fuzz target on the files of a folder: as they are, cut off at every byte,
// and with every byte changed. What a fuzzer once found stays found, with any compiler.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <tenon/io/file.hpp>

#include "target.hpp"

namespace {

/// A copy of exactly its size, so that a sanitizer sees what is read beyond.
void run(fuzz::Function target, std::span<const std::uint8_t> bytes) {
    const std::vector<std::uint8_t> copy(bytes.begin(), bytes.end());
    target(copy.data(), copy.size());
}

}  // namespace

int main(int count, char** arguments) {
    const auto found = count == 3 ? fuzz::targets.find(arguments[1]) : fuzz::targets.end();
    if (found == fuzz::targets.end()) {
        std::printf("usage: %s TARGET FOLDER, where the target is one of", arguments[0]);
        for (const auto& [name, function] : fuzz::targets) std::printf(" %s", std::string(name).c_str());
        std::printf("\n");
        return 2;
    }
    const fuzz::Function target = found->second;
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(arguments[2])) paths.push_back(entry);
    std::sort(paths.begin(), paths.end());
    std::size_t inputs = 0;
    for (const auto& path : paths) {
        std::printf("%s\n", path.c_str());
        std::fflush(stdout);
        const std::string text = tenon::read_file(path);
        std::vector<std::uint8_t> bytes(text.begin(), text.end());
        run(target, bytes);
        // Of long files some places only.
        const std::size_t step = 1 + bytes.size() / 32;
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            run(target, std::span(bytes).first(at));
            const std::uint8_t kept = bytes[at];
            for (const int change : {1, 0x20, 0x80, 0xff}) {
                bytes[at] = static_cast<std::uint8_t>(kept ^ change);
                run(target, bytes);
            }
            bytes[at] = kept;
            inputs += 5;
        }
    }
    std::printf("%zu files, %zu inputs made from them\n", paths.size(), inputs);
    return paths.empty() ? 1 : 0;
}
