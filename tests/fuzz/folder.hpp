#pragma once

#include <cstdio>
#include <filesystem>
#include <string_view>

#include "../io/temporary_folder.hpp"
#include "target.hpp"

namespace fuzz {

/// A folder for the life of the process. In memory where it may be: a disk would be slow for thousands of
/// files.
struct Folder {
    Folder() : folder(std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp"), path(folder.path()) {}

    void write(const char* name, std::string_view bytes) const {
        std::FILE* file = std::fopen((path / name).c_str(), "wb");
        require(file != nullptr, "the temporary folder can be written");
        if (!bytes.empty())
            require(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size(), "it has room");
        std::fclose(file);
    }

private:
    TemporaryFolder folder;

public:
    const std::filesystem::path path;
};

}  // namespace fuzz
