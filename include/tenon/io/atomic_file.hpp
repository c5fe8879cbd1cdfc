#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <fcntl.h>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

#include "tenon/io/file.hpp"
#include "tenon/io/folder.hpp"

namespace tenon {

namespace detail {

/// What comes between a file's name and the number of the process, in the name of its temporary.
inline constexpr std::string_view temporary_mark = ".tmp";

/// Whether `name` is that of a temporary of the file `whole`: its name, ".tmp", process, "-", attempt.
inline bool is_temporary_of(std::string_view name, std::string_view whole) {
    if (!name.starts_with(whole) || !name.substr(whole.size()).starts_with(temporary_mark)) return false;
    name.remove_prefix(whole.size() + temporary_mark.size());
    const std::size_t dash = name.find('-');
    const auto is_number = [](std::string_view text) {
        return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
    };
    return dash != std::string_view::npos && is_number(name.substr(0, dash)) &&
           is_number(name.substr(dash + 1));
}

}  // namespace detail

/// Writes a file that appears whole or not at all. Bytes go to a temporary in the same folder; `commit` makes
/// them durable and renames the temporary to `path`, so that a crash, a full disk or an exception leaves
/// whatever was at `path` before. Without a commit the destructor removes the temporary. A symbolic link at
/// `path` is replaced, not followed.
class AtomicFile {
public:
    /// Opens the temporary. Throws FileError, for instance if the folder is missing or not writable.
    explicit AtomicFile(std::string path) : path_(std::move(path)) {
        detail::require_usable_path(path_);
        for (int attempt = 0; !file_.is_open(); ++attempt) {
            temporary_ = path_ + std::string(detail::temporary_mark) + std::to_string(::getpid()) + "-" +
                         std::to_string(attempt);
            // The mode is what the umask leaves, which mkstemp would not give.
            int number = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
            if (number < 0 && errno != EEXIST) {
                detail::throw_system_error(path_, "creating a temporary file beside it", errno);
            }
            file_.reset(number);
        }
        buffer_.reserve(buffer_size);
    }

    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    ~AtomicFile() {
        if (!committed_) ::unlink(temporary_.c_str());
    }

    const std::string& path() const { return path_; }

    /// Appends bytes. Throws FileError, for instance if the disk is full.
    void write(std::string_view bytes) {
        if (buffer_.size() + bytes.size() > buffer_size) flush();
        if (bytes.size() >= buffer_size) {
            write_through(bytes);
        } else {
            buffer_.append(bytes);
        }
    }

    /// Appends bytes. Throws FileError.
    void write(std::span<const std::byte> bytes) {
        write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }

    /// Makes the file durable and puts it at `path`. Nothing can be written afterwards. Throws FileError;
    /// unless the message says otherwise, what was at `path` before is still there.
    void commit() {
        if (!file_.is_open()) throw FileError(path_ + ": expected one commit, got another");
        flush();
        if (::fsync(file_.number()) != 0) detail::throw_system_error(path_, "flushing to the disk", errno);
        if (file_.close() != 0) detail::throw_system_error(path_, "closing", errno);
        if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
            detail::throw_system_error(path_, "renaming the temporary file", errno);
        }
        committed_ = true;
        flush_folder(folder_of(path_));  // a rename is durable only once its folder is
    }

private:
    static constexpr std::size_t buffer_size = std::size_t{1} << 16;

    void flush() {
        write_through(buffer_);
        buffer_.clear();
    }

    void write_through(std::string_view bytes) {
        if (!file_.is_open()) throw FileError(path_ + ": expected no write after the commit, got one");
        while (!bytes.empty()) {
            ssize_t count = ::write(file_.number(), bytes.data(), bytes.size());
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) detail::throw_system_error(path_, "writing", errno);
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }

    std::string path_;
    std::string temporary_;
    detail::FileDescriptor file_;
    std::string buffer_;
    bool committed_ = false;
};

/// Writes `content` to `path`, whole or not at all. Throws FileError.
inline void write_file(const std::string& path, std::string_view content) {
    AtomicFile file(path);
    file.write(content);
    file.commit();
}

/// Removes a file, if there is one. Throws FileError.
inline void remove_file(const std::string& path) {
    detail::require_usable_path(path);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) detail::throw_system_error(path, "removing", errno);
}

/// Removes the temporaries of `path` that killed processes have left. Not for a file that another process is
/// writing. Throws FileError.
inline void remove_unfinished(const std::string& path) {
    const std::string folder = folder_of(path);
    const std::string_view whole = std::string_view(path).substr(path.rfind('/') + 1);  // npos + 1 is 0
    for (const std::string& name : names_in_folder(folder))
        if (detail::is_temporary_of(name, whole)) remove_file(folder + "/" + name);
}

}  // namespace tenon
