#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>

#include "target.hpp"

namespace fuzz {

/// A folder for the life of the process. In memory, unless TMPDIR has another place: a disk would be slow for
/// thousands of files.
struct Folder {
    std::filesystem::path path = parent() / ("tenon_fuzz_" + std::to_string(::getpid()));

    Folder() { std::filesystem::create_directories(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path); }

    void write(const char* name, std::string_view bytes) const {
        std::FILE* file = std::fopen((path / name).c_str(), "wb");
        require(file != nullptr, "the temporary folder can be written");
        if (!bytes.empty())
            require(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size(), "it has room");
        std::fclose(file);
    }

private:
    static std::filesystem::path parent() {
        const std::filesystem::path memory = "/dev/shm";
        std::error_code none;
        return !std::getenv("TMPDIR") && std::filesystem::is_directory(memory, none)
                   ? memory
                   : std::filesystem::temp_directory_path();
    }
};

}  // namespace fuzz
