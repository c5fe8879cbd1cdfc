#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "tenon/tokenizer/unicode_tables.hpp"

namespace tenon {

// The tables carry Unicode 16.0, which the regular expressions of tiktoken 0.14 and Hugging Face tokenizers
// 0.23 carry both: they agree with each other, and with this file, on the category of every code point, on \s
// and on case. Other parts of Hugging Face tokenizers follow other versions of Unicode; functions that follow
// them say so. tests/tokenizer/make_unicode_tables.py makes the tables, and checks all of this.

/// The General_Category of a code point, numbered as the tables number it.
enum class GeneralCategory : std::uint8_t {
    uppercase_letter,
    lowercase_letter,
    titlecase_letter,
    modifier_letter,
    other_letter,
    nonspacing_mark,
    spacing_mark,
    enclosing_mark,
    decimal_number,
    letter_number,
    other_number,
    connector_punctuation,
    dash_punctuation,
    open_punctuation,
    close_punctuation,
    initial_punctuation,
    final_punctuation,
    other_punctuation,
    math_symbol,
    currency_symbol,
    modifier_symbol,
    other_symbol,
    space_separator,
    line_separator,
    paragraph_separator,
    control,
    format,
    surrogate,
    private_use,
    unassigned,
};

namespace detail {

/// Values beyond U+10FFFF have the kind of U+10FFFF, which is not assigned.
constexpr UnicodeKind unicode_kind(char32_t code_point) {
    if (code_point > 0x10FFFF) code_point = 0x10FFFF;
    const std::size_t block = unicode_block_of[code_point / 256];
    return unicode_kinds[unicode_blocks[block * 256 + code_point % 256] - '#'];
}

constexpr bool has_flag(char32_t code_point, CodePointFlag flag) {
    return (unicode_kind(code_point).flags & flag) != 0;
}

}  // namespace detail

/// Values beyond U+10FFFF are `unassigned`.
constexpr GeneralCategory general_category(char32_t code_point) {
    return static_cast<GeneralCategory>(detail::unicode_kind(code_point).category);
}

/// \p{L}
constexpr bool is_letter(char32_t code_point) {
    return general_category(code_point) <= GeneralCategory::other_letter;
}

/// \p{M}
constexpr bool is_mark(char32_t code_point) {
    const GeneralCategory category = general_category(code_point);
    return category >= GeneralCategory::nonspacing_mark && category <= GeneralCategory::enclosing_mark;
}

/// \p{N}
constexpr bool is_number(char32_t code_point) {
    const GeneralCategory category = general_category(code_point);
    return category >= GeneralCategory::decimal_number && category <= GeneralCategory::other_number;
}

/// \p{P}
constexpr bool is_punctuation(char32_t code_point) {
    const GeneralCategory category = general_category(code_point);
    return category >= GeneralCategory::connector_punctuation &&
           category <= GeneralCategory::other_punctuation;
}

/// \p{S}
constexpr bool is_symbol(char32_t code_point) {
    const GeneralCategory category = general_category(code_point);
    return category >= GeneralCategory::math_symbol && category <= GeneralCategory::other_symbol;
}

/// \s: the property White_Space.
constexpr bool is_white_space(char32_t code_point) {
    return detail::has_flag(code_point, detail::white_space);
}

/// What a code point counts as when text is cut into words: \p{L}, \p{N}, \s, or none of them.
enum class CharacterClass : std::uint8_t { other, letter, number, whitespace };

/// The class of a code point; values beyond U+10FFFF are `other`.
constexpr CharacterClass character_class(char32_t code_point) {
    if (is_white_space(code_point)) return CharacterClass::whitespace;
    if (is_letter(code_point)) return CharacterClass::letter;
    return is_number(code_point) ? CharacterClass::number : CharacterClass::other;
}

/// What a code point becomes in lowercase: one code point, or two where `second` is not 0.
struct Lowercase {
    char32_t first;
    char32_t second = 0;
};

/// The lowercase of a code point by itself (so that every capital sigma becomes σ), as Hugging Face
/// tokenizers 0.23 have it: Unicode 17.0.
constexpr Lowercase to_lowercase(char32_t code_point) {
    if (code_point < 0x80) return {code_point >= 'A' && code_point <= 'Z' ? code_point + 32 : code_point};
    if (code_point == 0x130) return {'i', 0x307};
    std::size_t low = 0;
    std::size_t high = std::size(detail::lowercase_runs);
    while (low < high) {
        const std::size_t middle = (low + high) / 2;
        const detail::CodePointRun& run = detail::lowercase_runs[middle];
        if (code_point > run.last) {
            low = middle + 1;
        } else if (code_point < run.first) {
            high = middle;
        } else {
            return {(code_point - run.first) % run.step == 0 ? code_point + run.difference : code_point};
        }
    }
    return {code_point};
}

/// What Hugging Face's pre-tokenizer Digits calls a digit: \p{N} of Unicode 17.0.
constexpr bool is_hugging_face_number(char32_t code_point) {
    return detail::has_flag(code_point, detail::hugging_face_number);
}

/// What Hugging Face's normalizer StripAccents removes: \p{M} of Unicode 9.0.
constexpr bool is_hugging_face_accent(char32_t code_point) {
    return detail::has_flag(code_point, detail::hugging_face_accent);
}

/// What BERT's normalizer removes with accents, after NFD: \p{Mn} of Unicode 8.0.
constexpr bool is_bert_accent(char32_t code_point) {
    return detail::has_flag(code_point, detail::bert_accent);
}

/// What BERT's normalizer removes when it cleans text: U+FFFD and the control, format and private-use
/// characters of Unicode 8.0, but for tab, line feed and carriage return. White_Space that remains becomes a
/// space.
constexpr bool is_bert_control(char32_t code_point) {
    return detail::has_flag(code_point, detail::bert_control);
}

/// What BERT's pre-tokenizer, and the pre-tokenizer Punctuation, cut out: \p{P} of Unicode 8.0, and the
/// symbols in ASCII.
constexpr bool is_bert_punctuation(char32_t code_point) {
    return detail::has_flag(code_point, detail::bert_punctuation);
}

/// What BERT's normalizer puts spaces around: ideographs, by blocks.
constexpr bool is_bert_ideograph(char32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
           (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0x2F800 && c <= 0x2FA1F);
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
