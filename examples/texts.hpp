#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <tenon/io/file.hpp>

/// Stands between texts; the tokenizer's one special token.
inline constexpr const char* end_of_text = "<|endoftext|>";

/// Text to train on, and text to be judged by.
struct Texts {
    std::vector<std::string> training, held_out;
};

inline std::string joined(const std::vector<std::string>& texts) {
    std::string whole;
    for (const std::string& text : texts) whole += text;
    return whole;
}

inline double size_of(const std::vector<std::string>& texts) {
    double size = 0;
    for (const std::string& text : texts) size += static_cast<double>(text.size());
    return size;
}

namespace detail {

/// The files that paths name, those of a folder in the order of their names within it, each file once.
inline std::vector<std::filesystem::path> files_of(const std::vector<std::string>& paths) {
    namespace fs = std::filesystem;
    std::vector<fs::path> files, known;
    const auto add = [&](const fs::path& file) {
        std::error_code error;
        const fs::path canonical = fs::canonical(file, error);
        if (error || std::find(known.begin(), known.end(), canonical) != known.end()) return;
        known.push_back(canonical);
        files.push_back(file);
    };
    for (const std::string& path : paths) {
        std::error_code error;
        if (!fs::is_directory(path, error)) {
            files.push_back(path);  // reading tells what is wrong with it
            continue;
        }
        std::vector<fs::path> found;
        for (fs::recursive_directory_iterator at(path, fs::directory_options::skip_permission_denied, error),
             end;
             !error && at != end; at.increment(error)) {
            std::error_code none;
            if (at->is_regular_file(none)) found.push_back(at->path());
        }
        std::sort(found.begin(), found.end());
        for (const fs::path& file : found) add(file);
    }
    return files;
}

}  // namespace detail

/// Reads files and folders. Of twenty files or more each twentieth is held out; of fewer, the last twentieth
/// of each. Files in folders that cannot be read are passed over, and counted. Throws tenon::FileError for a
/// path that is named and cannot be read.
inline Texts read_texts(const std::vector<std::string>& paths) {
    const std::vector<std::filesystem::path> files = detail::files_of(paths);
    Texts texts;
    std::size_t number = 0, passed_over = 0;
    for (const std::filesystem::path& file : files) {
        std::string text;
        try {
            text = tenon::read_file(file.string());
        } catch (const tenon::FileError&) {
            if (std::find(paths.begin(), paths.end(), file.string()) != paths.end()) throw;
            ++passed_over;
            continue;
        }
        if (text.empty()) continue;
        if (files.size() < 20) {
            const std::size_t cut = text.size() - text.size() / 20;
            texts.held_out.push_back(text.substr(cut));
            text.resize(cut);
            texts.training.push_back(std::move(text));
        } else {
            (number % 20 == 10 ? texts.held_out : texts.training).push_back(std::move(text));
        }
        ++number;
    }
    if (passed_over > 0) std::fprintf(stderr, "%zu files could not be read\n", passed_over);
    return texts;
}
