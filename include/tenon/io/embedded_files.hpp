#pragma once

#include <atomic>
#include <cstddef>
#include <span>
#include <string_view>

namespace tenon {

/// A file that is part of the program.
struct EmbeddedFile {
    std::string_view path;  ///< by which it is opened: "embedded:smol/model.safetensors"
    std::span<const std::byte> bytes;
};

/// Files that are part of the program. Once they are named here, all that reads files finds them under their
/// paths, and maps them where they lie. Made of constants of static storage, as the sources are that
/// `tenon_checkpoint` writes: neither the list nor the bytes ever go.
class EmbeddedFiles {
public:
    explicit EmbeddedFiles(std::span<const EmbeddedFile> files)
        : files_(files), next_(all.load(std::memory_order_relaxed)) {
        while (!all.compare_exchange_weak(next_, this, std::memory_order_release)) {
        }
    }
    EmbeddedFiles(const EmbeddedFiles&) = delete;
    EmbeddedFiles& operator=(const EmbeddedFiles&) = delete;

    /// The file of that path; nullptr: none.
    static const EmbeddedFile* find(std::string_view path) {
        return find_if([&](const EmbeddedFile& file) { return file.path == path; });
    }

    /// Whether a file lies below that path.
    static bool has_folder(std::string_view path) {
        return find_if([&](const EmbeddedFile& file) {
            return file.path.starts_with(path) && file.path.substr(path.size()).starts_with('/');
        });
    }

private:
    template <class Is>
    static const EmbeddedFile* find_if(const Is& is) {
        for (const EmbeddedFiles* list = all.load(std::memory_order_acquire); list; list = list->next_)
            for (const EmbeddedFile& file : list->files_)
                if (is(file)) return &file;
        return nullptr;
    }

    static inline constinit std::atomic<const EmbeddedFiles*> all = nullptr;

    std::span<const EmbeddedFile> files_;
    const EmbeddedFiles* next_;
};

}  // namespace tenon
