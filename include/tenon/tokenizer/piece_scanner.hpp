#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "tenon/tokenizer/pretokenize.hpp"

namespace tenon::detail {

/// Cuts text into pieces that follow each other, as a pattern says: its matches, and what lies between.
class PieceScanner {
public:
    virtual ~PieceScanner() = default;

    /// Writes where the next pieces of `text` end, from `begin` on, as many as there are or fit. Returns their
    /// number.
    virtual std::size_t scan(std::string_view text, std::size_t begin, std::span<std::size_t> ends) const = 0;

    /// How many bytes after a piece can decide where it ends. Where that isn't known, pieces may also hang on what
    /// stands before them.
    virtual std::optional<std::size_t> lookahead() const = 0;
};

/// A scanner written for one pattern, one of those that end pieces before a space that follows another character.
template <class Scanner>
class KnownScanner final : public PieceScanner {
public:
    std::size_t scan(std::string_view text, std::size_t begin, std::span<std::size_t> ends) const override {
        std::size_t count = 0;
        while (begin < text.size() && count < ends.size())
            ends[count++] = begin += Scanner::piece_size(text.substr(begin));
        return count;
    }

    std::optional<std::size_t> lookahead() const override { return Scanner::lookahead; }
};

/// Of GPT-2.
struct Gpt2Scanner {
    static constexpr std::string_view pattern =
        R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
    static std::size_t piece_size(std::string_view text) { return first_piece_size(text); }
    static constexpr std::size_t lookahead = piece_lookahead;
};

}  // namespace tenon::detail
