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
/// rename over the file (see AtomicFile), but a file must not be truncated in place while it is mapped. The
/// bytes of a file that is part of the program are where it has them.
class MappedFile {
public:
    /// No file: no bytes.
    MappedFile() = default;

    /// Maps a regular file. Throws FileError.
    explicit MappedFile(std::string path) : path_(std::move(path)) {
        if (const EmbeddedFile* const embedded = EmbeddedFiles::find(path_)) {
            bytes_ = embedded->bytes;
            return;
        }
        std::size_t size = 0;
        detail::FileDescriptor file(detail::open_regular_file(path_, size));
        if (size == 0) return;  // mmap refuses empty mappings
        void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number(), 0);
        if (address == MAP_FAILED) detail::throw_system_error(path_, "mapping", errno);
        bytes_ = {static_cast<const std::byte*>(address), size};
        is_mapping_ = true;
    }

    MappedFile(MappedFile&& other) noexcept
        : path_(std::move(other.path_)),
          bytes_(std::exchange(other.bytes_, {})),
          is_mapping_(std::exchange(other.is_mapping_, false)) {}

    MappedFile& operator=(MappedFile&& other) noexcept {
        std::swap(path_, other.path_);
        std::swap(bytes_, other.bytes_);
        std::swap(is_mapping_, other.is_mapping_);
        return *this;
    }

    ~MappedFile() {
        if (is_mapping_) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    }

    std::span<const std::byte> bytes() const { return bytes_; }
    const std::string& path() const { return path_; }

private:
    std::string path_;
    std::span<const std::byte> bytes_;
    bool is_mapping_ = false;  // which ends with this object
};

}  // namespace tenon
