#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/character_kinds.hpp"
#include "tenon/tokenizer/special_tokens.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// Whether text may be cut before byte `at`, an ASCII whitespace, so that what stands before it and what
/// stands after it have the same pieces apart as together: a piece that holds another character ends before
/// whitespace, whatever came earlier.
inline bool is_piece_boundary(std::string_view text, std::size_t at) {
    return at > 0 && at < text.size() &&
           (kind_of_byte[static_cast<unsigned char>(text[at])] & kinds::whitespace) &&
           !is_white_space(last_character(text.substr(0, at)));
}

/// The last place where a text, of which more may follow, can be cut so that its parts have the tokens of the
/// whole; 0 where there is none. No special token lies across it, as far as the text shows and however it
/// goes on.
inline std::size_t last_safe_cut(std::string_view text, const SpecialTokenFinder& special_tokens) {
    const std::size_t longest = std::max<std::size_t>(special_tokens.longest(), 1);
    for (std::size_t at = text.size() - std::min(text.size(), longest - 1); at-- > 1;) {
        if (!is_piece_boundary(text, at)) continue;
        const std::string_view window = text.substr(0, at + longest - 1);
        bool is_crossed = false;
        for (std::size_t begin = at - std::min(at, longest - 1); begin < at && !is_crossed;) {
            const SpecialTokenFinder::Match match = special_tokens.find(window, begin);
            is_crossed = match.position < at && match.position + match.size > at;
            begin = match.position + 1;
        }
        if (!is_crossed) return at;
    }
    return 0;
}

}  // namespace tenon::detail
