#pragma once

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "tenon/io/file.hpp"

namespace tenon {

/// The names of what a folder holds, sorted; none where there is no such folder. Throws FileError.
inline std::vector<std::string> names_in_folder(const std::string& path) {
    detail::require_usable_path(path);
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
    if (!folder && errno == ENOENT) return names;
    if (!folder) detail::throw_system_error(path, "listing the folder", errno);
    errno = 0;
    while (const dirent* entry = ::readdir(folder.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) detail::throw_system_error(path, "listing the folder", errno);
    std::sort(names.begin(), names.end());
    return names;
}

/// Makes durable what was created in a folder, renamed into it or removed from it. Throws FileError.
inline void flush_folder(const std::string& path) {
    const detail::FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Some file systems cannot flush a folder, and a folder may be writable but not readable.
    if (!folder.is_open() || ::fsync(folder.number()) == 0) return;
    if (errno == EINVAL || errno == ENOTSUP) return;
    detail::throw_system_error(path, "the change is in place, but flushing its folder", errno);
}

/// Creates the folder `path` and the folders above it that are missing, for good; one that exists is left as
/// it is. Throws FileError.
inline void create_folder(const std::string& path) {
    detail::require_usable_path(path);
    for (std::size_t end = 0; end < path.size();) {
        end = path.find('/', end + 1);
        if (end == std::string::npos) end = path.size();
        std::string folder = path.substr(0, end);
        if (::mkdir(folder.c_str(), 0777) == 0) {
            flush_folder(folder_of(folder));
            continue;
        }
        int error_number = errno;
        struct stat status;
        bool exists = ::stat(folder.c_str(), &status) == 0;
        if (exists && S_ISDIR(status.st_mode)) continue;
        detail::throw_system_error(folder, "creating the folder", error_number);
    }
}

}  // namespace tenon
