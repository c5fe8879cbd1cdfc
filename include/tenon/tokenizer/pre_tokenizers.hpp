#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/match_splitter.hpp"
#include "tenon/tokenizer/metaspace.hpp"
#include "tenon/tokenizer/pattern_scanner.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"
#include "tenon/tokenizer/text_pattern.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

namespace detail {

/// Cuts each piece at the characters that `is_match`.
template <class IsMatch>
void cut_at_characters(CutText& text, SplitBehavior behavior, IsMatch&& is_match) {
    MatchSplitter splitter(behavior);
    text.cut([&](Span piece, auto&& add) {
        std::size_t begin = piece.begin;
        for (std::size_t at = piece.begin; at < piece.end;) {
            const Utf8Character character = decode_utf8_character(part(text.text.text(), {at, piece.end}));
            if (is_match(character.code_point)) {
                splitter.push_between({begin, at}, false);
                splitter.push({at, at + character.size}, true);
                begin = at + character.size;
            }
            at += character.size;
        }
        splitter.push_between({begin, piece.end}, false);
        for (const Span part : splitter.finish()) add(part);
    });
}

}  // namespace detail

/// The pre-tokenizers of tokenizer.json, with their names and fields; ByteLevel and Metaspace have files of
/// their own.
namespace pre_tokenizer {

struct Split {
    TextPattern pattern;
    SplitBehavior behavior = SplitBehavior::isolated;
    bool invert = false;

    /// Patterns are known to that have scanners of their own.
    bool cuts_at_spaces() const {
        const auto known = scanner();
        return known && known->ends_before_spaces();
    }

    /// The one character that the step looks for, if it does nothing else.
    std::string looks_for() const {
        if (pattern.is_regex() || invert || pattern.text().empty()) return "";
        const bool is_one = decode_utf8_character(pattern.text()).size == pattern.text().size();
        return is_one ? pattern.text() : "";
    }

    void apply(detail::CutText& text, bool) const {
        detail::MatchSplitter splitter(behavior);
        text.cut([&](Span piece, auto&& add) {
            std::size_t begin = piece.begin;
            pattern.for_each_match(detail::part(text.text.text(), piece), [&](Span match) {
                match = {piece.begin + match.begin, piece.begin + match.end};
                splitter.push_between({begin, match.begin}, invert);
                splitter.push(match, !invert);
                begin = match.end;
            });
            splitter.push_between({begin, piece.end}, invert);
            for (const Span part : splitter.finish()) add(part);
        });
    }

    std::shared_ptr<const detail::PieceScanner> scanner() const {
        return behavior == SplitBehavior::isolated && !invert ? detail::scanner_of(pattern) : nullptr;
    }
};

struct BertPreTokenizer {
    bool cuts_at_spaces() const { return true; }
    void apply(detail::CutText& text, bool) const {
        text.cut([&](Span piece, auto&& add) {
            std::size_t begin = piece.begin;
            for (std::size_t at = piece.begin; at < piece.end;) {
                const Utf8Character character =
                    decode_utf8_character(detail::part(text.text.text(), {at, piece.end}));
                const std::size_t next = at + character.size;
                const bool is_mark = is_bert_punctuation(character.code_point);
                if (is_mark || is_white_space(character.code_point)) {
                    add(Span{begin, at});
                    if (is_mark) add(Span{at, next});
                    begin = next;
                }
                at = next;
            }
            add(Span{begin, piece.end});
        });
    }
};

struct Whitespace {
    bool cuts_at_spaces() const { return true; }
    void apply(detail::CutText& text, bool) const {
        enum class Kind : std::uint8_t { space, word, other };
        text.cut([&](Span piece, auto&& add) {
            std::size_t begin = piece.begin;
            Kind kind = Kind::space;
            for (std::size_t at = piece.begin; at < piece.end;) {
                const Utf8Character character =
                    decode_utf8_character(detail::part(text.text.text(), {at, piece.end}));
                const Kind next = is_white_space(character.code_point)              ? Kind::space
                                  : detail::is_word_character(character.code_point) ? Kind::word
                                                                                    : Kind::other;
                if (next != kind) {
                    if (kind != Kind::space) add(Span{begin, at});
                    begin = at;
                    kind = next;
                }
                at += character.size;
            }
            if (kind != Kind::space) add(Span{begin, piece.end});
        });
    }
};

struct WhitespaceSplit {
    bool cuts_at_spaces() const { return true; }
    void apply(detail::CutText& text, bool) const {
        detail::cut_at_characters(text, SplitBehavior::removed, is_white_space);
    }
};

struct Punctuation {
    SplitBehavior behavior = SplitBehavior::isolated;

    bool is_local() const { return true; }
    void apply(detail::CutText& text, bool) const {
        detail::cut_at_characters(text, behavior, is_bert_punctuation);
    }
};

struct Digits {
    bool individual_digits = false;

    bool is_local() const { return true; }
    void apply(detail::CutText& text, bool) const {
        detail::cut_at_characters(text,
                                  individual_digits ? SplitBehavior::isolated : SplitBehavior::contiguous,
                                  is_hugging_face_number);
    }
};

struct CharDelimiterSplit {
    std::string delimiter;  ///< one character

    bool cuts_at_spaces() const { return delimiter == " "; }
    bool is_local() const { return true; }
    void apply(detail::CutText& text, bool) const {
        const char32_t code_point = decode_utf8_character(delimiter).code_point;
        detail::cut_at_characters(text, SplitBehavior::removed, [=](char32_t c) { return c == code_point; });
    }
};

struct FixedLength {
    std::size_t length = 5;  ///< in characters

    void apply(detail::CutText& text, bool) const {
        text.cut([&](Span piece, auto&& add) {
            std::size_t begin = piece.begin, count = 0;
            for (std::size_t at = piece.begin; at < piece.end;) {
                if (count++ == length) {
                    add(Span{begin, at});
                    begin = at;
                    count = 1;
                }
                at += decode_utf8_character(detail::part(text.text.text(), {at, piece.end})).size;
            }
            add(Span{begin, piece.end});
        });
    }
};

}  // namespace pre_tokenizer

}  // namespace tenon
