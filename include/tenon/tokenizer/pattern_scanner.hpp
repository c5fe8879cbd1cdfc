#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/known_scanners.hpp"
#include "tenon/tokenizer/piece_scanner.hpp"
#include "tenon/tokenizer/text_pattern.hpp"

namespace tenon::detail {

/// Any pattern.
class PatternScanner final : public PieceScanner {
public:
    explicit PatternScanner(TextPattern pattern) : pattern_(std::move(pattern)) {
        if (pattern_.is_regex()) patterns_.push_back(pattern_.text());
    }

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

    std::span<const std::string> patterns() const override { return patterns_; }
    bool ends_before_spaces() const override { return false; }
    std::size_t settled(std::string_view) const override { return 0; }
    std::shared_ptr<const PieceScanner> joined(std::vector<std::string> patterns) const override {
        return known_scanner(std::move(patterns));
    }

private:
    TextPattern pattern_;
    std::vector<std::string> patterns_;  // none of a literal
};

/// The scanner of a pattern: one written for it, if there is one.
inline std::shared_ptr<const PieceScanner> scanner_of(const TextPattern& pattern) {
    if (pattern.is_regex()) {
        if (auto known = known_scanner({pattern.text()}, pattern.dialect())) return known;
    }
    return std::make_shared<PatternScanner>(pattern);
}

}  // namespace tenon::detail
