#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "tenon/tokenizer/pretokenize.hpp"
#include "tenon/tokenizer/special_tokens.hpp"
#include "tenon/tokenizer/word_scanners.hpp"

namespace tenon::detail {

/// Cuts text into special tokens and, between them, pieces, in order: calls on_special(index), and
/// on_piece(piece, rest) where `rest` is what can be read from the piece's first byte on. With `is_whole` the
/// text ends here and all of it is cut; otherwise more may follow, and only what no continuation can change
/// is cut. Returns the number of bytes cut.
template <class OnPiece, class OnSpecial>
std::size_t split_text(std::string_view text, const SpecialTokenFinder& special_tokens, bool is_whole,
                       OnPiece&& on_piece, OnSpecial&& on_special) {
    // From here on, a special token may have begun that the text does not show whole.
    const std::size_t undecided =
        std::min(text.size(), special_tokens.longest() - (special_tokens.longest() > 0));
    const std::size_t decided = is_whole ? text.size() : text.size() - undecided;
    std::size_t at = 0;
    for (;;) {
        const SpecialTokenFinder::Match match = special_tokens.find(text, at);
        const bool is_segment_whole = is_whole || match.position < decided;
        const std::string_view segment = is_segment_whole ? text.substr(0, match.position) : text;
        while (at < segment.size()) {
            const std::string_view piece = segment.substr(at, first_piece_size(segment.substr(at)));
            if (!is_segment_whole && at + piece.size() + deciding_bytes > decided) return at;
            on_piece(piece, text.substr(at));
            at += piece.size();
        }
        if (match.size == 0 || !is_segment_whole) return at;
        on_special(match.index);
        at += match.size;
    }
}

/// Cuts text that comes in parts, as `split_text` cuts the whole. Holds a bounded buffer, or the longest
/// piece if that is more.
class TextSplitter {
public:
    explicit TextSplitter(SpecialTokenFinder special_tokens) : special_tokens_(std::move(special_tokens)) {}

    template <class OnPiece, class OnSpecial>
    void push(std::string_view text, OnPiece&& on_piece, OnSpecial&& on_special) {
        while (!text.empty()) {
            const std::string_view part = text.substr(0, part_size);
            text.remove_prefix(part.size());
            buffer_ += part;
            if (buffer_.size() < wanted_size_) continue;
            buffer_.erase(0, split_text(buffer_, special_tokens_, false, on_piece, on_special));
            // Text that is looked at again has doubled at least, which keeps the total time linear.
            wanted_size_ = 2 * buffer_.size() + part_size;
        }
    }

    /// Ends the text; what is pushed next begins another.
    template <class OnPiece, class OnSpecial>
    void finish(OnPiece&& on_piece, OnSpecial&& on_special) {
        split_text(buffer_, special_tokens_, true, on_piece, on_special);
        buffer_.clear();
        wanted_size_ = part_size;
    }

private:
    static constexpr std::size_t part_size = std::size_t{1} << 14;

    SpecialTokenFinder special_tokens_;
    std::string buffer_;
    std::size_t wanted_size_ = part_size;
};

}  // namespace tenon::detail
