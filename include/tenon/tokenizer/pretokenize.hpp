#pragma once

#include <cstddef>
#include <string_view>

#include "tenon/tokenizer/word_scanners.hpp"

namespace tenon {

/// The size in bytes of the piece at the front of `text`, which must not be empty, as GPT-2 cuts text before
/// byte-pair encoding (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): what
/// `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` matches. Bytes that are not
/// UTF-8 count as characters that are no letter, number or whitespace.
constexpr std::size_t first_piece_size(std::string_view text) {
    const char* const end = detail::Gpt2Scanner::piece_end(text.data(), text.data() + text.size());
    return static_cast<std::size_t>(end - text.data());
}

}  // namespace tenon
