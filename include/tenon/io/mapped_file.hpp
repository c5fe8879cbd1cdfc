#pragma once

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <sys/mman.h>
#include <utility>

#include "tenon/io/file.hpp"

namespace tenon {

/// A file's bytes, mapped read-only: pages are read when they are first touched. The mapping outlives a
/// rename over the file (see AtomicFile), but a file must not be truncated in place while it is mapped.
class MappedFile {
public:
    /// No file: no bytes.
    MappedFile() = default;

    /// Maps a regular file. Throws FileError.
    explicit MappedFile(std::string path) : path_(std::move(path)) {
        std::size_t size = 0;
        detail::FileDescriptor file(detail::open_regular_file(path_, size));
        if (size == 0) return;  // mmap refuses empty mappings
        void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number(), 0);
        if (address == MAP_FAILED) detail::throw_system_error(path_, "mapping", errno);
        bytes_ = {static_cast<const std::byte*>(address), size};
    }

    MappedFile(MappedFile&& other) noexcept
        : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

    MappedFile& operator=(MappedFile&& other) noexcept {
        std::swap(path_, other.path_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }

    ~MappedFile() {
        if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    }

    std::span<const std::byte> bytes() const { return bytes_; }
    const std::string& path() const { return path_; }

private:
    std::string path_;
    std::span<const std::byte> bytes_;
};

}  // namespace tenon
