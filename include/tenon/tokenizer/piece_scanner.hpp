#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "tenon/tokenizer/pretokenize.hpp"
#include "tenon/tokenizer/text_pattern.hpp"

namespace tenon::detail {

/// Cuts text into pieces that follow each other, as a pattern says: its matches, and what lies between.
class PieceScanner {
public:
    virtual ~PieceScanner() = default;

    /// Writes where the next pieces of `text` end, from `begin` on, as many as there are or fit. Returns their
    /// number.
    virtual std::size_t scan(std::string_view text, std::size_t begin, std::span<std::size_t> ends) const = 0;

    /// How many bytes after a piece can decide where it ends; no limit is known if this is the greatest number.
    virtual std::size_t lookahead() const = 0;
};

/// A scanner written for one pattern.
template <class Scanner>
class KnownScanner final : public PieceScanner {
public:
    std::size_t scan(std::string_view text, std::size_t begin, std::span<std::size_t> ends) const override {
        std::size_t count = 0;
        while (begin < text.size() && count < ends.size())
            ends[count++] = begin += Scanner::piece_size(text.substr(begin));
        return count;
    }

    std::size_t lookahead() const override { return Scanner::lookahead; }
};

/// Any pattern.
class PatternScanner final : public PieceScanner {
public:
    explicit PatternScanner(TextPattern pattern) : pattern_(std::move(pattern)) {}

    std::size_t scan(std::string_view text, std::size_t begin, std::span<std::size_t> ends) const override {
        std::size_t count = 0;
        while (begin < text.size() && count + 2 <= ends.size()) {
            const Span match = pattern_.next_match(text, begin);
            if (match.begin > begin) ends[count++] = match.begin;
            if (match.size() > 0) ends[count++] = match.end;
            begin = match.end;
        }
        return count;
    }

    std::size_t lookahead() const override { return static_cast<std::size_t>(-1); }

private:
    TextPattern pattern_;
};

/// Of GPT-2.
struct Gpt2Scanner {
    static constexpr std::string_view pattern =
        R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
    static std::size_t piece_size(std::string_view text) { return first_piece_size(text); }
    static constexpr std::size_t lookahead = piece_lookahead;
};

}  // namespace tenon::detail
