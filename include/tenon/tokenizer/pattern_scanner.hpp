#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "tenon/tokenizer/piece_scanner.hpp"
#include "tenon/tokenizer/text_pattern.hpp"

namespace tenon::detail {

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

    std::optional<std::size_t> lookahead() const override { return std::nullopt; }

private:
    TextPattern pattern_;
};

/// The scanner of a pattern: one written for it, if there is one.
inline std::shared_ptr<const PieceScanner> scanner_of(const TextPattern& pattern) {
    if (pattern.is_regex() && pattern.text() == Gpt2Scanner::pattern) return std::make_shared<KnownScanner<Gpt2Scanner>>();
    return std::make_shared<PatternScanner>(pattern);
}

}  // namespace tenon::detail
