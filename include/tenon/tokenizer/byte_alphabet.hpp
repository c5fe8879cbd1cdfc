#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// Whether a byte stands for itself in GPT-2's files; the others are shifted to U+0100 and beyond, so that
/// every byte is written as a printable character.
constexpr bool is_printable_byte(std::uint32_t byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

/// The order of the bytes in GPT-2's vocabulary: the printable ones, then the others.
inline constexpr std::array<std::uint8_t, 256> byte_order = [] {
    std::array<std::uint8_t, 256> order{};
    std::size_t at = 0;
    for (const bool printable : {true, false}) {
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            if (is_printable_byte(byte) == printable) order[at++] = static_cast<std::uint8_t>(byte);
        }
    }
    return order;
}();

/// The number of printable bytes, so the place of the first other byte in `byte_order`.
inline constexpr std::size_t printable_byte_count = 188;

/// The character that stands for each byte.
inline constexpr std::array<char16_t, 256> character_of_byte = [] {
    std::array<char16_t, 256> characters{};
    for (std::size_t at = 0; at < 256; ++at) {
        const std::size_t character =
            at < printable_byte_count ? byte_order[at] : 256 + at - printable_byte_count;
        characters[byte_order[at]] = static_cast<char16_t>(character);
    }
    return characters;
}();

/// Appends a byte as GPT-2's files write it.
inline void append_written_byte(std::string& written, char byte) {
    append_utf8(written, character_of_byte[static_cast<unsigned char>(byte)]);
}

/// The bytes as GPT-2's files write them.
inline std::string written_bytes(std::string_view bytes) {
    std::string written;
    for (const char byte : bytes) append_written_byte(written, byte);
    return written;
}

/// Appends the bytes that `written` stands for. Returns false, and appends nothing, if it holds a character
/// that stands for none.
inline bool append_read_bytes(std::string& bytes, std::string_view written) {
    const std::size_t old_size = bytes.size();
    while (!written.empty()) {
        const Utf8Character character = decode_utf8_character(written);
        const char32_t code_point = character.code_point;
        if (code_point < 256 && is_printable_byte(code_point)) {
            bytes += static_cast<char>(code_point);
        } else if (code_point >= 256 && code_point < 256 + 256 - printable_byte_count) {
            bytes += static_cast<char>(byte_order[printable_byte_count + code_point - 256]);
        } else {
            bytes.resize(old_size);
            return false;
        }
        written.remove_prefix(character.size);
    }
    return true;
}

/// The bytes that `written` stands for, or nothing if it holds a character that stands for none.
inline std::optional<std::string> read_bytes(std::string_view written) {
    std::string bytes;
    return append_read_bytes(bytes, written) ? std::optional(std::move(bytes)) : std::nullopt;
}

/// Special tokens are written as they are, except where that could be read as other bytes.
inline std::string written_special_token(const std::string& token) {
    return read_bytes(token) ? written_bytes(token) : token;
}

/// The special token that `written` stands for.
inline std::string read_special_token(const std::string& written) {
    const std::optional<std::string> bytes = read_bytes(written);
    return bytes && is_valid_utf8(*bytes) ? *bytes : written;
}

}  // namespace tenon::detail
