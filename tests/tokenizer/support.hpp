#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/io/atomic_file.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tokenizer_tests {

/// A number below `count`. The standard's distributions differ between libraries; this does not.
inline std::size_t below(std::mt19937& generator, std::size_t count) { return generator() % count; }

/// A concatenation of `count` of the parts, drawn at random.
inline std::string random_text(std::mt19937& generator, const std::vector<std::string>& parts,
                               std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += parts[below(generator, parts.size())];
    return text;
}

inline std::string random_bytes(std::mt19937& generator, std::size_t count) {
    std::string bytes;
    for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(generator());
    return bytes;
}

/// Bytes that are cut off, have another byte or lack some, by the number `i`.
inline std::string damaged(std::mt19937& generator, const std::string& whole, int i) {
    std::string bytes = whole;
    const std::size_t at = below(generator, bytes.size());
    if (i % 3 == 0) bytes.resize(at);
    if (i % 3 == 1) bytes[at] = static_cast<char>(generator());
    if (i % 3 == 2) bytes.erase(at, 1 + generator() % 9);
    return bytes;
}

/// Parts of text that meet every rule of the pre-tokenizer: words, numbers, marks, contractions, all
/// whitespace, several scripts, and bytes that are not UTF-8.
inline const std::vector<std::string>& text_parts() {
    static const std::vector<std::string> parts = {"a",
                                                   "b",
                                                   "Z",
                                                   "ab",
                                                   "don",
                                                   "'s",
                                                   "'t",
                                                   "'ll",
                                                   "'ve",
                                                   "'re",
                                                   "'l",
                                                   "'",
                                                   "'S",
                                                   "'r",
                                                   "0",
                                                   "12",
                                                   ".",
                                                   "!?",
                                                   "-",
                                                   "\"",
                                                   " ",
                                                   " ",
                                                   "  ",
                                                   "\n",
                                                   "\r\n",
                                                   "\t",
                                                   "\v",
                                                   "\x1c",
                                                   "\xc2\x85",
                                                   "\xc2\xa0",
                                                   "é",
                                                   "\xcc\x81",
                                                   "Ж",
                                                   "中",
                                                   "文字",
                                                   "한",
                                                   "😀",
                                                   "٣",
                                                   "½",
                                                   "Ⅷ",
                                                   "\xe3\x80\x80",
                                                   "\xe2\x80\x83",
                                                   "\xe2\x80\xa8",
                                                   "\xe2\x80\x8b",
                                                   "𐐷",
                                                   "\xff",
                                                   "\xc3",
                                                   "\xe4\xb8",
                                                   "\xf0\x9f\x98",
                                                   "\x80",
                                                   std::string(1, '\0')};
    return parts;
}

}  // namespace tokenizer_tests
