#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/io/json_text.hpp"
#include "tenon/tokenizer/jinja/value.hpp"
#include "tenon/tokenizer/unicode.hpp"

/// What Python's strings do, and its json module.
namespace tenon::jinja {

/// Python's white space, as far as it lies in ASCII.
constexpr std::string_view white_space = " \t\n\v\f\r\x1C\x1D\x1E\x1F";

/// Without characters of `set`, or white space where it is empty, at the ends.
inline std::string_view stripped(std::string_view text, std::string_view set = {}, bool left = true,
                                 bool right = true) {
    if (set.empty()) set = white_space;
    if (left) text.remove_prefix(std::min(text.find_first_not_of(set), text.size()));
    if (right) text = text.substr(0, text.find_last_not_of(set) + 1);
    return text;
}

/// The characters of a text, each with its bytes; bytes that are no UTF-8 stand alone.
inline std::vector<std::string_view> characters(std::string_view text) {
    std::vector<std::string_view> all;
    while (!text.empty()) {
        const std::size_t size = decode_utf8_character(text).size;
        all.push_back(text.substr(0, size));
        text.remove_prefix(size);
    }
    return all;
}

inline char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
inline char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

/// Changes the case of ASCII letters.
inline std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), to_lower);
    return text;
}
inline std::string upper(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), to_upper);
    return text;
}
inline std::string capitalized(std::string text) {
    text = lower(std::move(text));
    if (!text.empty()) text[0] = to_upper(text[0]);
    return text;
}
inline std::string titled(std::string text) {
    bool begins = true;
    for (char& c : text) {
        c = begins ? to_upper(c) : to_lower(c);
        begins = !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<signed char>(c) < 0);
    }
    return text;
}

/// Texts and lists may be no longer: what multiplies them stops here.
inline constexpr std::size_t maximum_size = std::size_t{1} << 26;

inline void require_size(std::size_t size) {
    if (size > maximum_size)
        throw Error("expected texts and lists of at most " + std::to_string(maximum_size) +
                    " elements, got more");
}

/// The text with the first `most` places of `from` replaced; where `from` is empty, before each character
/// and at the end.
inline std::string replaced(std::string_view text, std::string_view from, std::string_view to,
                            std::int64_t most = -1) {
    std::string result;
    if (from.empty()) {
        for (const std::string_view character : characters(text)) {
            if (most != 0) result += to;
            if (most > 0) --most;
            result += character;
            require_size(result.size());
        }
        if (most != 0) result += to;
        return result;
    }
    while (most != 0) {
        const std::size_t at = text.find(from);
        if (at == text.npos) break;
        result += text.substr(0, at);
        result += to;
        require_size(result.size());
        text.remove_prefix(at + from.size());
        if (most > 0) --most;
    }
    return result += text;
}

/// Python's split: at a separator, or at runs of white space where it is empty; `most` cuts, or all.
inline List split(std::string_view text, std::string_view separator, std::int64_t most = -1) {
    List parts;
    if (separator.empty()) {
        text = stripped(text, {}, true, false);
        while (!text.empty() && most != 0) {
            const std::size_t size = std::min(text.find_first_of(white_space), text.size());
            parts.emplace_back(text.substr(0, size));
            text = stripped(text.substr(size), {}, true, false);
            if (most > 0) --most;
        }
        if (!text.empty()) parts.emplace_back(text);
        return parts;
    }
    for (; most != 0; most -= most > 0) {
        const std::size_t at = text.find(separator);
        if (at == text.npos) break;
        parts.emplace_back(text.substr(0, at));
        text.remove_prefix(at + separator.size());
    }
    parts.emplace_back(text);
    return parts;
}

/// The same from the end.
inline List split_from_end(std::string_view text, std::string_view separator, std::int64_t most = -1) {
    List parts;
    const bool by_space = separator.empty();
    if (by_space) text = stripped(text, {}, false, true);
    for (; most != 0 && !(by_space && text.empty()); most -= most > 0) {
        const std::size_t at = by_space ? text.find_last_of(white_space) : text.rfind(separator);
        if (at == text.npos) break;
        parts.emplace_back(text.substr(at + (by_space ? 1 : separator.size())));
        text = text.substr(0, at);
        if (by_space) text = stripped(text, {}, false, true);
    }
    if (!by_space || !text.empty()) parts.emplace_back(text);
    std::reverse(parts.begin(), parts.end());
    return parts;
}

inline List lines(std::string_view text) {
    List all;
    while (!text.empty()) {
        const std::size_t size = std::min(text.find_first_of("\n\r"), text.size());
        all.emplace_back(text.substr(0, size));
        const std::size_t end = text.substr(size, 2) == "\r\n" ? 2 : size < text.size();
        text.remove_prefix(size + end);
    }
    return all;
}

namespace detail {

inline void append_json_text(std::string& to, std::string_view text, bool is_ascii) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto append_code = [&](unsigned code) {
        to += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) to += digits[code >> shift & 15];
    };
    to += '"';
    while (!text.empty()) {
        const Utf8Character character = decode_utf8_character(text);
        const char32_t code = character.code_point;
        if (code == '"' || code == '\\') {
            to += '\\';
            to += text[0];
        } else if (code == '\n' || code == '\r' || code == '\t' || code == '\b' || code == '\f') {
            to += '\\';
            to += code == '\n' ? 'n' : code == '\r' ? 'r' : code == '\t' ? 't' : code == '\b' ? 'b' : 'f';
        } else if (code == Utf8Character::invalid) {
            is_ascii ? append_code(0xFFFD) : append_utf8(to, 0xFFFD);
        } else if (code < 0x20) {
            append_code(code);
        } else if (code < 0x7F || !is_ascii) {
            to += text.substr(0, character.size);
        } else if (code < 0x10000) {
            append_code(code);
        } else {
            append_code(0xD800 + ((code - 0x10000) >> 10));
            append_code(0xDC00 + ((code - 0x10000) & 0x3FF));
        }
        text.remove_prefix(character.size);
    }
    to += '"';
}

}  // namespace detail

/// How `append_json` writes: as Python's json.dumps does.
struct JsonStyle {
    int indent = -1;  ///< spaces a level; all in one line if negative
    bool is_ascii = false;
    bool has_sorted_keys = false;
    std::string item_separator = indent < 0 ? ", " : ",";
    std::string key_separator = ": ";
};

/// Appends a value as JSON; one that JSON lacks throws Error.
inline void append_json(std::string& to, const Value& value, const JsonStyle& style = {}, int depth = 0) {
    const auto new_line = [&](int level) {
        require_size(to.size());
        if (style.indent < 0) return;
        to += '\n';
        to.append(static_cast<std::size_t>(level) * static_cast<std::size_t>(style.indent), ' ');
    };
    if (value.is_none()) {
        to += "null";
    } else if (const bool* truth = value.as<bool>()) {
        to += *truth ? "true" : "false";
    } else if (value.is_number()) {
        append_value(to, value);
    } else if (value.is_text()) {
        detail::append_json_text(to, *value.text(), style.is_ascii);
    } else if (const List* list = value.list()) {
        to += '[';
        for (std::size_t i = 0; i < list->size(); ++i) {
            if (i > 0) to += style.item_separator;
            new_line(depth + 1);
            append_json(to, (*list)[i], style, depth + 1);
        }
        if (!list->empty()) new_line(depth);
        to += ']';
    } else if (const Map* map = value.map()) {
        std::vector<const Map::Member*> members;
        for (const Map::Member& member : map->members()) members.push_back(&member);
        if (style.has_sorted_keys)
            std::sort(members.begin(), members.end(), [](auto* a, auto* b) { return a->first < b->first; });
        to += '{';
        for (std::size_t i = 0; i < members.size(); ++i) {
            if (i > 0) to += style.item_separator;
            new_line(depth + 1);
            detail::append_json_text(to, members[i]->first, style.is_ascii);
            to += style.key_separator;
            append_json(to, members[i]->second, style, depth + 1);
        }
        if (!members.empty()) new_line(depth);
        to += '}';
    } else {
        throw Error("expected a value that JSON has, got " + std::string(value.kind()));
    }
}

}  // namespace tenon::jinja
