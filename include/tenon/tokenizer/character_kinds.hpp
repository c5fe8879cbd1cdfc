#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// What characters are to the patterns that cut text into pieces: a bit for each kind, so that a class of
/// theirs is a sum of kinds.
using KindSet = std::uint16_t;

namespace kinds {

inline constexpr KindSet uppercase = 1;  // \p{Lu}\p{Lt}
inline constexpr KindSet lowercase = 2;  // \p{Ll}
inline constexpr KindSet caseless = 4;   // \p{Lm}\p{Lo}
inline constexpr KindSet mark = 8;       // \p{M}
inline constexpr KindSet number = 16;    // \p{N}
inline constexpr KindSet line_end = 32;  // \r\n
inline constexpr KindSet blank = 64;     // the rest of \s
inline constexpr KindSet symbol = 128;   // \p{P}\p{S}
inline constexpr KindSet other = 256;    // what remains, and bytes that are no UTF-8
inline constexpr KindSet letter = uppercase | lowercase | caseless;
inline constexpr KindSet whitespace = line_end | blank;
inline constexpr KindSet all = 511;

}  // namespace kinds

constexpr KindSet kind_of_category(GeneralCategory category) {
    using enum GeneralCategory;
    switch (category) {
        case uppercase_letter:
        case titlecase_letter:
            return kinds::uppercase;
        case lowercase_letter:
            return kinds::lowercase;
        case modifier_letter:
        case other_letter:
            return kinds::caseless;
        case nonspacing_mark:
        case spacing_mark:
        case enclosing_mark:
            return kinds::mark;
        case decimal_number:
        case letter_number:
        case other_number:
            return kinds::number;
        default:
            return category <= other_symbol ? kinds::symbol : kinds::other;
    }
}

/// The kinds of the table's entries.
inline constexpr auto kind_of_entry = [] {
    std::array<KindSet, std::size(unicode_kinds)> entries{};
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const UnicodeKind& entry = unicode_kinds[i];
        entries[i] = (entry.flags & white_space)
                         ? kinds::blank
                         : kind_of_category(static_cast<GeneralCategory>(entry.category));
    }
    return entries;
}();

/// Of a code point up to U+10FFFF other than carriage return and line feed.
constexpr KindSet kind_of(char32_t code_point) {
    const std::size_t block = unicode_block_of[code_point / 256];
    return kind_of_entry[static_cast<std::size_t>(unicode_blocks[block * 256 + code_point % 256] - '#')];
}

/// The kinds of the bytes of ASCII; of other bytes, which must be decoded first, none.
inline constexpr std::array<KindSet, 256> kind_of_byte = [] {
    std::array<KindSet, 256> bytes{};
    for (std::uint32_t byte = 0; byte < 128; ++byte)
        bytes[byte] = byte == '\r' || byte == '\n' ? kinds::line_end : kind_of(byte);
    return bytes;
}();

/// A character as patterns see it.
struct KnownCharacter {
    KindSet kind;
    std::uint32_t size;
    char32_t code_point;  // or Utf8Character::invalid
};

/// The character that a byte beyond ASCII begins.
constexpr KnownCharacter character_beyond_ascii(const char* at, const char* end) {
    const auto byte = [&](std::ptrdiff_t i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(at[i]));
    };
    if (end - at >= 3) {
        // Most are of three bytes, or two.
        if ((byte(0) & 0xF0) == 0xE0 && (byte(1) & 0xC0) == 0x80 && (byte(2) & 0xC0) == 0x80) {
            const char32_t code_point = (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
            if (code_point >= 0x800 && (code_point & 0xF800) != 0xD800)
                return {kind_of(code_point), 3, code_point};
        } else if ((byte(0) & 0xE0) == 0xC0 && byte(0) >= 0xC2 && (byte(1) & 0xC0) == 0x80) {
            const char32_t code_point = (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
            return {kind_of(code_point), 2, code_point};
        }
    }
    const Utf8Character character = decode_utf8_character({at, static_cast<std::size_t>(end - at)});
    const bool is_valid = character.code_point != Utf8Character::invalid;
    return {is_valid ? kind_of(character.code_point) : kinds::other, character.size, character.code_point};
}

/// The character at `at`, which is before `end`.
constexpr KnownCharacter character_at(const char* at, const char* end) {
    const auto byte = static_cast<unsigned char>(*at);
    if (kind_of_byte[byte] != 0) return {kind_of_byte[byte], 1, byte};
    return character_beyond_ascii(at, end);
}

/// How many of eight bytes come before the first that is no letter of ASCII.
constexpr std::size_t count_ascii_letters(const char* at) {
    std::uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word |= std::uint64_t{static_cast<unsigned char>(at[i])} << 8 * i;
    // For each byte, the highest bit says what is asked.
    constexpr std::uint64_t each = 0x0101010101010101u, high = 0x80 * each;
    const std::uint64_t small = (word | 0x20 * each) & 0x7F * each;
    const std::uint64_t from_a = small + (0x80 - 'a') * each, after_z = small + (0x7F - 'z') * each;
    return static_cast<std::size_t>(std::countr_zero(~(from_a & ~after_z & ~word) & high)) / 8;
}

/// The end of the characters of a set, and not `excluded` beyond ASCII, that begin at `at`.
template <class Excluded>
constexpr const char* skip(const char* at, const char* end, KindSet set, Excluded&& excluded) {
    for (;;) {
        if ((set & kinds::letter) == kinds::letter) {
            for (std::size_t count = 8; count == 8 && end - at >= 8; at += count)
                count = count_ascii_letters(at);
        }
        while (at < end && (kind_of_byte[static_cast<unsigned char>(*at)] & set)) ++at;
        if (at == end || kind_of_byte[static_cast<unsigned char>(*at)] != 0) return at;
        const KnownCharacter character = character_beyond_ascii(at, end);
        if (!(character.kind & set) || excluded(character.code_point)) return at;
        at += character.size;
    }
}

constexpr const char* skip(const char* at, const char* end, KindSet set) {
    return skip(at, end, set, [](char32_t) { return false; });
}

}  // namespace tenon::detail
