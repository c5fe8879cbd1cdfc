#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tenon/tokenizer/pretokenize.hpp"
#include "tenon/tokenizer/special_tokens.hpp"

namespace tenon::detail {

/// Whether text may be cut before byte `at`, an ASCII whitespace, so that what stands before it and what
/// stands after it have the same pieces apart as together: a piece that holds another character ends before
/// whitespace, whatever came earlier.
inline bool is_piece_boundary(std::string_view text, std::size_t at) {
    constexpr auto whitespace = static_cast<std::uint8_t>(CharacterClass::whitespace);
    const auto class_at = [&](std::size_t i) { return class_of_byte[static_cast<unsigned char>(text[i])]; };
    if (at == 0 || at >= text.size() || class_at(at) != whitespace || class_at(at - 1) == whitespace)
        return false;
    if (class_at(at - 1) != not_ascii) return true;
    // The last character may be whitespace of two or three bytes.
    for (const std::size_t size : {std::size_t{2}, std::size_t{3}}) {
        if (size > at) break;
        const Utf8Character character = decode_utf8_character(text.substr(at - size, size));
        if (character.size == size && character_class(character.code_point) == CharacterClass::whitespace)
            return false;
    }
    return true;
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
