#pragma once

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

#include "tenon/core/error.hpp"
#include "tenon/io/embedded_files.hpp"

namespace tenon {

namespace detail {

/// Throws the FileError of a system call that failed: the file, what was tried, and the system's reason.
[[noreturn]] inline void throw_system_error(std::string_view path, std::string_view action,
                                            int error_number) {
    throw FileError(std::string(path) + ": " + std::string(action) +
                    " failed: " + std::strerror(error_number));
}

/// Paths with a NUL byte would silently name another file.
inline void require_usable_path(const std::string& path) {
    if (path.empty()) throw FileError("expected the path of a file, got an empty string");
    if (path.find('\0') != std::string::npos) {
        throw FileError(std::string(path.c_str()) + ": expected a path without a NUL byte, got one");
    }
}

/// Owns a file descriptor.
class FileDescriptor {
public:
    explicit FileDescriptor(int number = -1) : number_(number) {}
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { close(); }

    int number() const { return number_; }
    bool is_open() const { return number_ >= 0; }

    void reset(int number) {
        close();
        number_ = number;
    }

    /// Returns what close(2) does; the number is given up either way.
    int close() {
        int number = number_;
        number_ = -1;
        return number >= 0 ? ::close(number) : 0;
    }

private:
    int number_;
};

/// Opens a regular file for reading and returns its size in bytes through `size`. Pipes and devices are
/// refused: they can block or never end.
inline int open_regular_file(const std::string& path, std::size_t& size) {
    require_usable_path(path);
    int number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (number < 0) throw_system_error(path, "opening for reading", errno);
    struct stat status;
    if (::fstat(number, &status) != 0) {
        int error_number = errno;
        ::close(number);
        throw_system_error(path, "reading the size", error_number);
    }
    if (!S_ISREG(status.st_mode)) {
        ::close(number);
        throw FileError(path + ": expected a regular file, got a " +
                        (S_ISDIR(status.st_mode) ? "folder" : "special file"));
    }
    size = static_cast<std::size_t>(status.st_size);
    return number;
}

}  // namespace detail

/// The folder that holds `path`: "." for a bare name.
inline std::string folder_of(const std::string& path) {
    std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

/// Whether something, of whatever kind, exists at `path`.
inline bool path_exists(const std::string& path) {
    struct stat status;
    return EmbeddedFiles::find(path) || EmbeddedFiles::has_folder(path) || ::stat(path.c_str(), &status) == 0;
}

/// Whether a folder is at `path`.
inline bool is_folder(const std::string& path) {
    struct stat status;
    return EmbeddedFiles::has_folder(path) || (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode));
}

/// The whole of a regular file. Throws FileError.
inline std::string read_file(const std::string& path) {
    if (const EmbeddedFile* const embedded = EmbeddedFiles::find(path))
        return {reinterpret_cast<const char*>(embedded->bytes.data()), embedded->bytes.size()};
    std::size_t size = 0;
    detail::FileDescriptor file(detail::open_regular_file(path, size));
    std::string content(size, '\0');
    std::size_t filled = 0;
    while (filled < size) {
        ssize_t count = ::read(file.number(), content.data() + filled, size - filled);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) detail::throw_system_error(path, "reading", errno);
        if (count == 0) break;
        filled += static_cast<std::size_t>(count);
    }
    if (filled < size) {
        throw FileError(path + ": expected " + std::to_string(size) + " bytes, got " +
                        std::to_string(filled) + ": the file shrank while it was read");
    }
    return content;
}

}  // namespace tenon
