#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

namespace detail {

/// What a byte says of the character that it begins: its class, or that it must be decoded first.
inline constexpr std::uint8_t not_ascii = 4;

inline constexpr std::array<std::uint8_t, 256> class_of_byte = [] {
    std::array<std::uint8_t, 256> classes{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        classes[byte] = byte < 128 ? static_cast<std::uint8_t>(character_class(byte)) : not_ascii;
    }
    return classes;
}();

struct ClassifiedCharacter {
    std::uint8_t character_class;
    std::uint32_t size;
};

constexpr ClassifiedCharacter classify_character(const char* at, const char* end) {
    const std::uint8_t byte_class = class_of_byte[static_cast<unsigned char>(*at)];
    if (byte_class != not_ascii) return {byte_class, 1};
    const Utf8Character character = decode_utf8_character({at, static_cast<std::size_t>(end - at)});
    return {static_cast<std::uint8_t>(tenon::character_class(character.code_point)), character.size};
}

/// The end of the run of characters of one class that `at` lies in.
constexpr const char* skip_class(const char* at, const char* end, std::uint8_t wanted) {
    while (at < end) {
        const std::uint8_t byte_class = class_of_byte[static_cast<unsigned char>(*at)];
        if (byte_class == wanted) {
            ++at;
        } else if (byte_class == not_ascii) {
            const ClassifiedCharacter character = classify_character(at, end);
            if (character.character_class != wanted) break;
            at += character.size;
        } else {
            break;
        }
    }
    return at;
}

/// The size of 's, 'd, 'm, 't, 'll, 've or 're at an apostrophe, or 0.
constexpr std::size_t contraction_size(std::string_view text) {
    if (text.size() < 2) return 0;
    const char first = text[1];
    if (first == 's' || first == 'd' || first == 'm' || first == 't') return 2;
    if (text.size() < 3) return 0;
    const char second = text[2];
    return (first == 'l' && second == 'l') || ((first == 'v' || first == 'r') && second == 'e') ? 3 : 0;
}

}  // namespace detail

/// The size in bytes of the piece at the front of `text`, which must not be empty, as GPT-2 cuts text before
/// byte-pair encoding (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): what
/// `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` matches. Bytes that are not
/// UTF-8 count as characters that are no letter, number or whitespace.
constexpr std::size_t first_piece_size(std::string_view text) {
    const char* begin = text.data();
    const char* end = begin + text.size();
    if (*begin == '\'') {
        if (const std::size_t size = detail::contraction_size(text)) return size;
    }
    constexpr auto whitespace = static_cast<std::uint8_t>(CharacterClass::whitespace);
    const char* body = begin + (*begin == ' ');
    if (body < end) {
        const detail::ClassifiedCharacter first = detail::classify_character(body, end);
        if (first.character_class != whitespace) {
            const char* piece_end = detail::skip_class(body + first.size, end, first.character_class);
            return static_cast<std::size_t>(piece_end - begin);
        }
    }
    // A run of whitespace leaves its last character to the word that follows.
    const char* last = begin;
    const char* at = begin;
    while (at < end) {
        const detail::ClassifiedCharacter character = detail::classify_character(at, end);
        if (character.character_class != whitespace) break;
        last = at;
        at += character.size;
    }
    return static_cast<std::size_t>((at == end || last == begin ? at : last) - begin);
}

/// How many bytes after a piece can decide where it ends: a run of whitespace looks back over its last
/// character (three bytes) and ahead at the next one (four).
inline constexpr std::size_t piece_lookahead = 7;

}  // namespace tenon
