#pragma once

#include <cstddef>
#include <string_view>

#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// The size of the last character of a text, which must not be empty. Of what is no UTF-8, one byte.
inline std::size_t last_character_size(std::string_view text) {
    for (std::size_t size = 2; size <= 4 && size <= text.size(); ++size) {
        const Utf8Character character = decode_utf8_character(text.substr(text.size() - size));
        if (character.code_point != Utf8Character::invalid && character.size == size) return size;
    }
    return 1;
}

inline char32_t last_character(std::string_view text) {
    return decode_utf8_character(text.substr(text.size() - last_character_size(text))).code_point;
}

inline std::size_t character_count(std::string_view text) {
    std::size_t count = 0;
    for (; !text.empty(); ++count) text.remove_prefix(decode_utf8_character(text).size);
    return count;
}

/// \w as Rust's regular expressions have it: Alphabetic, \p{M}, \p{Nd}, \p{Pc} and Join_Control.
inline bool is_word_character(char32_t c) {
    const GeneralCategory category = general_category(c);
    if (category <= GeneralCategory::letter_number || category == GeneralCategory::connector_punctuation)
        return true;
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

}  // namespace tenon::detail
