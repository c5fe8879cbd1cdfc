#pragma once

#include <cstdio>
#include <dirent.h>
#include <stdexcept>
#include <stdlib.h>
#include <string>
#include <unistd.h>
#include <vector>

/// A folder for one test case, removed with the files in it. It lies where TMPDIR says, if that is set.
class TemporaryFolder {
public:
    explicit TemporaryFolder(const char* otherwise = "/tmp") {
        const char* parent = ::getenv("TMPDIR");
        path_ = std::string(parent ? parent : otherwise) + "/tenon-test-XXXXXX";
        if (!::mkdtemp(path_.data())) throw std::runtime_error("no temporary folder: " + path_);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() { remove_below(path_); }

    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

    /// The names in the folder.
    std::vector<std::string> names() const { return names_in(path_); }

private:
    static std::vector<std::string> names_in(const std::string& path) {
        std::vector<std::string> names;
        DIR* folder = ::opendir(path.c_str());
        if (!folder) return names;
        while (const dirent* entry = ::readdir(folder)) {
            std::string name = entry->d_name;
            if (name != "." && name != "..") names.push_back(name);
        }
        ::closedir(folder);
        return names;
    }

    static void remove_below(const std::string& path) {
        for (const std::string& name : names_in(path)) remove_below(path + "/" + name);
        std::remove(path.c_str());
    }

    std::string path_;
};
