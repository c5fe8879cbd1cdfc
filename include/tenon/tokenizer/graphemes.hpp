#pragma once

#include <cstddef>
#include <string_view>

#include "tenon/tokenizer/code_point_ranges.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// Whether a character belongs to what stands before it: Grapheme_Cluster_Break Extend, SpacingMark or ZWJ.
inline bool extends_grapheme(char32_t code_point) {
    constexpr CodePointRange apart[] = {
        {0x102B, 0x102C}, {0x1038, 0x1038}, {0x1062, 0x1064},  {0x1067, 0x106D}, {0x1083, 0x1083},
        {0x1087, 0x108C}, {0x108F, 0x108F}, {0x109A, 0x109C},  {0x1A61, 0x1A61}, {0x1A63, 0x1A64},
        {0xAA7B, 0xAA7B}, {0xAA7D, 0xAA7D}, {0x11720, 0x11721}};
    constexpr CodePointRange more[] = {{0xE33, 0xE33},   {0xEB3, 0xEB3},     {0x200C, 0x200D},
                                       {0xFF9E, 0xFF9F}, {0x1F3FB, 0x1F3FF}, {0xE0020, 0xE007F}};
    if (code_point < 0x300) return false;
    return is_mark(code_point) ? !contains(apart, code_point) : contains(more, code_point);
}

/// Grapheme_Cluster_Break Prepend.
inline bool begins_grapheme(char32_t code_point) {
    constexpr CodePointRange all[] = {
        {0x600, 0x605},     {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},
        {0xD4E, 0xD4E},     {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x111C2, 0x111C3}, {0x113D1, 0x113D1},
        {0x1193F, 0x1193F}, {0x11941, 0x11941}, {0x11A84, 0x11A89}, {0x11D46, 0x11D46}, {0x11F02, 0x11F02}};
    return code_point >= 0x600 && contains(all, code_point);
}

/// Grapheme_Cluster_Break Control, CR or LF, below U+10000.
inline bool is_grapheme_control(char32_t code_point) {
    constexpr CodePointRange all[] = {{0x0, 0x1F},      {0x7F, 0x9F},     {0xAD, 0xAD},     {0x61C, 0x61C},
                                      {0x180E, 0x180E}, {0x200B, 0x200B}, {0x200E, 0x200F}, {0x2028, 0x202E},
                                      {0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB}};
    return contains(all, code_point);
}

/// The size in bytes of the first user-perceived character of a text, which must not be empty: an extended
/// grapheme cluster (Unicode Standard Annex 29). Of clusters of several letters, such as those of Hangul, it
/// is the first letter with its marks: they have six bytes and more, and nobody asks for those here.
inline std::size_t grapheme_size(std::string_view text) {
    if (text.starts_with("\r\n")) return 2;
    std::size_t size = 0;
    for (char32_t code_point = 0; size < text.size();) {
        const Utf8Character character = decode_utf8_character(text.substr(size));
        if (size > 0 && is_grapheme_control(character.code_point)) return size;
        code_point = character.code_point;
        size += character.size;
        if (!begins_grapheme(code_point)) {
            if (is_grapheme_control(code_point)) return size;
            break;
        }
    }
    while (size < text.size()) {
        const Utf8Character character = decode_utf8_character(text.substr(size));
        if (!extends_grapheme(character.code_point)) break;
        size += character.size;
    }
    return size;
}

}  // namespace tenon::detail
