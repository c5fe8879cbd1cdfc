#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/word_scanners.hpp"

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

}  // namespace detail

/// The size in bytes of the piece at the front of `text`, which must not be empty, as GPT-2 cuts text before
/// byte-pair encoding (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): what
/// `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` matches. Bytes that are not
/// UTF-8 count as characters that are no letter, number or whitespace.
constexpr std::size_t first_piece_size(std::string_view text) {
    const char* const end = detail::Gpt2Scanner::piece_end(text.data(), text.data() + text.size());
    return static_cast<std::size_t>(end - text.data());
}

/// How many bytes after a piece can decide where it ends: a run of whitespace looks back over its last
/// character (three bytes) and ahead at the next one (four).
inline constexpr std::size_t piece_lookahead = 7;

}  // namespace tenon
