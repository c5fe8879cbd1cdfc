#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tenon/tokenizer/unicode_tables.hpp"

namespace tenon {

/// What a code point counts as when text is cut into words: \p{L}, \p{N}, the property White_Space, or none
/// of them. The tables carry Unicode 16.0 on purpose: it is what tiktoken and Hugging Face tokenizers carry,
/// so that ids agree on every code point. tests/tokenizer/make_unicode_tables.py makes them for another
/// version.
enum class CharacterClass : std::uint8_t { other, letter, number, whitespace };

/// The class of a code point; values beyond U+10FFFF are `other`.
constexpr CharacterClass character_class(char32_t code_point) {
    if (code_point >= detail::unicode_table_end) return CharacterClass::other;
    const std::uint64_t* block = detail::unicode_blocks[detail::unicode_block_of[code_point / 128]];
    return static_cast<CharacterClass>(block[code_point % 128 / 32] >> (2 * (code_point % 32)) & 3);
}

/// What lies at the front of a text that should be UTF-8.
struct Utf8Character {
    /// The code point, or `invalid`.
    char32_t code_point;
    /// Bytes taken. Of an invalid sequence, the longest part that could have begun a character, at least one
    /// byte: Unicode's "maximal subpart" (The Unicode Standard, section 3.9), which decoders replace by one
    /// U+FFFD.
    std::uint32_t size;
    /// Whether the text ended inside a character that more bytes could complete.
    bool is_cut_off;

    static constexpr char32_t invalid = 0xFFFFFFFF;
};

/// Decodes the first character of `text`, which must not be empty.
constexpr Utf8Character decode_utf8_character(std::string_view text) {
    auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const std::uint32_t lead = byte(0);
    if (lead < 0x80) return {lead, 1, false};
    if (lead < 0xC2 || lead > 0xF4) return {Utf8Character::invalid, 1, false};
    const std::uint32_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t code_point = lead & (0x7F >> size);
    for (std::uint32_t i = 1; i < size; ++i) {
        if (i == text.size()) return {Utf8Character::invalid, i, true};
        // The second byte alone tells overlong forms, surrogates and values beyond U+10FFFF.
        const std::uint32_t low = i > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        const std::uint32_t high = i > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (byte(i) < low || byte(i) > high) return {Utf8Character::invalid, i, false};
        code_point = code_point << 6 | (byte(i) & 0x3F);
    }
    return {code_point, size, false};
}

namespace detail {

constexpr bool is_valid_utf8(std::string_view text) {
    while (!text.empty()) {
        const Utf8Character character = decode_utf8_character(text);
        if (character.code_point == Utf8Character::invalid) return false;
        text.remove_prefix(character.size);
    }
    return true;
}

}  // namespace detail

/// Appends a code point (at most U+10FFFF) as UTF-8.
inline void append_utf8(std::string& text, char32_t code_point) {
    auto append = [&](char32_t byte) { text += static_cast<char>(byte); };
    if (code_point < 0x80) {
        append(code_point);
        return;
    }
    if (code_point < 0x800) {
        append(0xC0 | code_point >> 6);
    } else {
        if (code_point < 0x10000) {
            append(0xE0 | code_point >> 12);
        } else {
            append(0xF0 | code_point >> 18);
            append(0x80 | (code_point >> 12 & 0x3F));
        }
        append(0x80 | (code_point >> 6 & 0x3F));
    }
    append(0x80 | (code_point & 0x3F));
}

namespace detail {

/// Moves the whole characters at the front of `bytes` to the end of `text`, with U+FFFD in place of what is
/// not UTF-8. A character that is cut off stays in `bytes` (at most three), to be completed.
inline void move_utf8(std::string& bytes, std::string& text) {
    std::string_view rest = bytes;
    while (!rest.empty()) {
        const Utf8Character character = decode_utf8_character(rest);
        if (character.is_cut_off) break;
        if (character.code_point == Utf8Character::invalid) {
            append_utf8(text, 0xFFFD);
        } else {
            text += rest.substr(0, character.size);
        }
        rest.remove_prefix(character.size);
    }
    bytes.erase(0, bytes.size() - rest.size());
}

/// As `move_utf8`, where no more bytes follow: a character that is cut off becomes U+FFFD.
inline void finish_utf8(std::string& bytes, std::string& text) {
    move_utf8(bytes, text);
    if (!bytes.empty()) append_utf8(text, 0xFFFD);
    bytes.clear();
}

}  // namespace detail

}  // namespace tenon
