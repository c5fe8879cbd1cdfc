#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace tenon {

namespace detail {

/// The bytes of the UTF-8 sequence that starts at `text[at]`, or 0 if none does: overlong forms, surrogates
/// and what is cut off are refused (RFC 3629).
constexpr std::size_t utf8_sequence_length(std::string_view text, std::size_t at) {
    auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    auto continues = [&](std::size_t i, unsigned low, unsigned high) {
        return byte(i) >= low && byte(i) <= high;
    };
    if (at >= text.size()) return 0;
    unsigned lead = byte(at);
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) return continues(at + 1, 0x80, 0xBF) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        unsigned low = lead == 0xE0 ? 0xA0 : 0x80;
        unsigned high = lead == 0xED ? 0x9F : 0xBF;
        return continues(at + 1, low, high) && continues(at + 2, 0x80, 0xBF) ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        unsigned low = lead == 0xF0 ? 0x90 : 0x80;
        unsigned high = lead == 0xF4 ? 0x8F : 0xBF;
        bool valid =
            continues(at + 1, low, high) && continues(at + 2, 0x80, 0xBF) && continues(at + 3, 0x80, 0xBF);
        return valid ? 4 : 0;
    }
    return 0;
}

/// How many bytes of ASCII a text begins with.
constexpr std::size_t ascii_prefix_size(std::string_view text) {
    std::size_t size = 0;
    if (!std::is_constant_evaluated()) {
        // Eight bytes at a time.
        for (std::uint64_t word; size + sizeof word <= text.size(); size += sizeof word) {
            std::memcpy(&word, text.data() + size, sizeof word);
            if ((word & 0x8080808080808080u) != 0) break;
        }
    }
    while (size < text.size() && static_cast<unsigned char>(text[size]) < 0x80) ++size;
    return size;
}

/// U+FFFD, what stands for bytes that are no text.
inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

}  // namespace detail

/// Whether `text` is valid UTF-8.
constexpr bool is_utf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        if (static_cast<unsigned char>(text[at]) < 0x80) {
            at += detail::ascii_prefix_size(text.substr(at));
            continue;
        }
        std::size_t length = detail::utf8_sequence_length(text, at);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

/// Appends `text` to `json` as a quoted JSON string. Bytes that are not UTF-8 become U+FFFD.
inline void append_json_string(std::string& json, std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    json += '"';
    for (std::size_t at = 0; at < text.size();) {
        std::size_t length = detail::utf8_sequence_length(text, at);
        char character = text[at];
        if (length == 0) {
            json += detail::replacement_character;
        } else if (length > 1) {
            json += text.substr(at, length);
        } else if (character == '"' || character == '\\') {
            json += '\\';
            json += character;
        } else if (character == '\n') {
            json += "\\n";
        } else if (static_cast<unsigned char>(character) < 0x20 || character == 0x7F) {
            json += "\\u00";
            json += digits[static_cast<unsigned char>(character) >> 4];
            json += digits[static_cast<unsigned char>(character) & 15];
        } else {
            json += character;
        }
        at += length == 0 ? 1 : length;
    }
    json += '"';
}

/// Appends the shortest decimal that reads back as `number`; null if it is not finite, which JSON cannot say.
inline void append_json_number(std::string& json, double number) {
    if (!(number - number == 0)) {
        json += "null";
        return;
    }
    char digits[32];
    json.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

}  // namespace tenon
