#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

#include "tenon/io/file.hpp"

namespace tenon::detail {

/// A part of a text that can be encoded on its own.
struct TextBlock {
    std::string text;
    bool begins_file = false, ends_file = false;
};

/// Reads files one after the other, in blocks that have the same tokens apart as together:
/// `last_cut(text)` is the last place where a text, of which more may follow, can be cut, or 0. Holds about a
/// block; more only where a text has no such place for that long.
template <class LastCut>
class TextBlocks {
public:
    TextBlocks(std::span<const std::string> paths, LastCut last_cut, std::size_t block_size)
        : paths_(paths), last_cut_(std::move(last_cut)), block_size_(block_size) {}

    /// The next block; nothing after the last. Throws FileError.
    std::optional<TextBlock> next() {
        TextBlock block;
        if (!file_.is_open()) {
            if (number_ == paths_.size()) return std::nullopt;
            std::size_t size = 0;
            file_.reset(open_regular_file(paths_[number_], size));
            block.begins_file = true;
        }
        for (std::size_t wanted = block_size_;; wanted = 2 * pending_.size()) {
            if (!fill(std::max(wanted, pending_.size() + 1))) {
                file_.close();
                ++number_;
                block.text = std::exchange(pending_, {});
                block.ends_file = true;
                return block;
            }
            const std::size_t cut = last_cut_(std::string_view(pending_));
            if (cut == 0) continue;
            block.text = pending_.substr(0, cut);
            pending_.erase(0, cut);
            return block;
        }
    }

private:
    /// Reads until so many bytes are pending. False at the end of the file.
    bool fill(std::size_t wanted) {
        std::size_t filled = pending_.size();
        pending_.resize(std::max(wanted, filled));
        while (filled < pending_.size()) {
            const ssize_t count = ::read(file_.number(), pending_.data() + filled, pending_.size() - filled);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) throw_system_error(paths_[number_], "reading", errno);
            if (count == 0) break;
            filled += static_cast<std::size_t>(count);
        }
        const bool is_full = filled == pending_.size();
        pending_.resize(filled);
        return is_full;
    }

    std::span<const std::string> paths_;
    LastCut last_cut_;
    std::size_t block_size_, number_ = 0;
    FileDescriptor file_;
    std::string pending_;
};

}  // namespace tenon::detail
