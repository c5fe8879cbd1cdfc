#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/regex.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// What Replace and Split look for: a text, or what a regular expression matches.
class TextPattern {
public:
    static TextPattern literal(std::string text) { return TextPattern(std::move(text), nullptr, {}); }

    /// Throws Error for an expression that is malformed, or of another dialect.
    static TextPattern regex(std::string expression, RegexDialect dialect = RegexDialect::oniguruma) {
        auto compiled = std::make_shared<const Regex>(expression, dialect);
        return TextPattern(std::move(expression), std::move(compiled), dialect);
    }

    bool is_regex() const { return regex_ != nullptr; }
    const std::string& text() const { return text_; }
    /// Of a regular expression.
    RegexDialect dialect() const { return dialect_; }

    /// Calls on_match(Span) for each match from left to right. None overlap, and none is empty that begins
    /// where another ends.
    template <class OnMatch>
    void for_each_match(std::string_view text, OnMatch&& on_match) const {
        std::size_t last_end = std::string_view::npos;
        for (std::size_t from = 0; from <= text.size();) {
            const Span match = find(text, from);
            if (match.begin == std::string_view::npos) return;
            if (match.size() == 0 && match.end == last_end) {
                from += from < text.size() ? decode_utf8_character(text.substr(from)).size : 1;
                continue;
            }
            on_match(match);
            from = last_end = match.end;
        }
    }

    /// The first match from a place on, but for one there that is empty; at the text's end if there is none.
    Span next_match(std::string_view text, std::size_t from) const {
        Span match = find(text, from);
        if (match.begin == from && match.size() == 0 && from < text.size())
            match = find(text, from + decode_utf8_character(text.substr(from)).size);
        return match.begin == std::string_view::npos ? Span{text.size(), text.size()} : match;
    }

private:
    TextPattern(std::string text, std::shared_ptr<const Regex> regex, RegexDialect dialect)
        : text_(std::move(text)), regex_(std::move(regex)), dialect_(dialect) {}

    Span find(std::string_view text, std::size_t from) const {
        if (regex_) {
            const auto match = regex_->find(text, from);
            return match ? Span{match->begin, match->end}
                         : Span{std::string_view::npos, std::string_view::npos};
        }
        const std::size_t at = text.find(text_, from);
        return {at, at == std::string_view::npos ? at : at + text_.size()};
    }

    std::string text_;
    std::shared_ptr<const Regex> regex_;
    RegexDialect dialect_;
};

}  // namespace tenon
