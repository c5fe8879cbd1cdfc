#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/tokenizer/special_tokens.hpp"
#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/vocabulary.hpp"

namespace tenon {

/// A token that is found in text before all else, with the fields of tokenizer.json.
struct AddedToken {
    std::string content;
    TokenId id = 0;
    bool single_word = false;  ///< not within a word
    bool lstrip = false;       ///< takes the whitespace before it
    bool rstrip = false;       ///< takes the whitespace after it
    bool normalized = false;   ///< stands, normalized, in normalized text
    bool special = false;      ///< left out on decoding if asked; may be refused or read as text on encoding
};

/// What special tokens in a text are.
enum class SpecialTokens : std::uint8_t {
    recognized,  ///< their ids
    ordinary,    ///< text like any other
    refused,     ///< an error
};

namespace detail {

/// The added tokens of a tokenizer, and where they are in text.
class AddedTokens {
public:
    AddedTokens() = default;

    /// `normalize(content)` gives the text of a token in normalized text. Of tokens with one content, or one
    /// normalized content, the last counts.
    template <class Normalize>
    AddedTokens(std::vector<AddedToken> tokens, Normalize&& normalize) {
        StringTable contents;
        std::vector<std::size_t> last;  // of each content
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            const std::uint32_t place = contents.add(tokens[i].content);
            if (place == last.size()) last.push_back(i);
            last[place] = i;
            if (tokens[i].id >= Vocabulary::maximum_size) {
                throw Error("expected token ids below " + std::to_string(Vocabulary::maximum_size) +
                            ", got " + std::to_string(tokens[i].id) + " for \"" + tokens[i].content + "\"");
            }
            if (tokens[i].id >= place_of_id_.size())
                place_of_id_.resize(std::size_t{tokens[i].id} + 1, absent);
        }
        for (const std::size_t i : last) place_of_id_[tokens[i].id] = static_cast<std::uint32_t>(i);
        for (std::uint32_t& place : place_of_id_) {
            if (place == absent) continue;
            tokens_.push_back(std::move(tokens[place]));
            place = static_cast<std::uint32_t>(tokens_.size() - 1);
        }
        StringTable texts[2];
        for (std::uint32_t index = 0; index < tokens_.size(); ++index) {
            const AddedToken& token = tokens_[index];
            normalized_.push_back(token.normalized ? normalize(token.content) : token.content);
            is_plain_ &= !token.single_word && !token.lstrip && !token.rstrip;
            allows_cuts_ &=
                !token.rstrip && !(token.normalized && token.content.find(' ') != std::string::npos);
            if (normalized_.back().empty()) continue;
            std::vector<std::uint32_t>& indices = token.normalized ? after_.indices : before_.indices;
            const std::uint32_t place = texts[token.normalized].add(normalized_.back());
            if (place == indices.size()) indices.push_back(index);
            indices[place] = index;
        }
        before_.finder = SpecialTokenFinder(texts[false].strings());
        after_.finder = SpecialTokenFinder(texts[true].strings());
        for (std::uint32_t index = 0; index < tokens_.size(); ++index) {
            if (tokens_[index].content.empty()) continue;
            by_content_.add(tokens_[index].content);
            index_by_content_.push_back(index);
        }
    }

    /// By id.
    const std::vector<AddedToken>& tokens() const { return tokens_; }

    /// The token with this id, or nothing.
    const AddedToken* find(TokenId id) const {
        return id < place_of_id_.size() && place_of_id_[id] != absent ? &tokens_[place_of_id_[id]] : nullptr;
    }

    const AddedToken* find(std::string_view content) const {
        const std::uint32_t place = by_content_.find(content);
        return place == absent ? nullptr : &tokens_[index_by_content_[place]];
    }

    /// The text of a token in normalized text.
    const std::string& normalized(const AddedToken& token) const {
        return normalized_[static_cast<std::size_t>(&token - tokens_.data())];
    }

    /// Whether no token asks what stands around it.
    bool is_plain() const { return is_plain_; }
    /// Whether text may be cut before a space that no token holds: none takes the whitespace after it, nor
    /// holds a space in normalized text.
    bool allows_cuts() const { return allows_cuts_; }
    /// Whether tokens are found in normalized text.
    bool has_normalized() const { return after_.finder.longest() > 0; }
    /// The size in bytes of the longest token, 0 without any.
    std::size_t longest() const { return std::max(before_.finder.longest(), after_.finder.longest()); }

    /// A token in text.
    struct Match {
        const AddedToken* token = nullptr;  // none if there are no more
        Span span;                          // with the whitespace that it takes
        std::size_t found_end = 0;          // without it: where the search goes on
    };

    /// The next token found at or after `from`, of those that stand in text as it is written or, with
    /// `is_normalized`, in normalized text. What lies before `begin` is another token's. Throws Error for a
    /// special token that is refused.
    Match next(std::string_view text, std::size_t begin, std::size_t from, bool is_normalized,
               SpecialTokens special) const {
        const Finder& finder = is_normalized ? after_ : before_;
        for (;;) {
            const SpecialTokenFinder::Match match = finder.finder.find(text, from);
            if (match.size == 0) return {nullptr, {text.size(), text.size()}, text.size()};
            const AddedToken& token = tokens_[finder.indices[match.index]];
            Span span{match.position, match.position + match.size};
            from = span.end;
            if (token.special && special == SpecialTokens::ordinary) continue;
            if (token.single_word && is_within_word(text, span)) continue;
            if (token.special && special == SpecialTokens::refused) {
                throw Error("expected text without special tokens, got \"" + token.content + "\" at byte " +
                            std::to_string(span.begin));
            }
            if (token.lstrip) span.begin = std::max(begin, whitespace_before(text, span.begin));
            if (token.rstrip) span.end = whitespace_after(text, span.end);
            return {&token, span, from};
        }
    }

    /// Whether a token that stands in text as it is written lies across byte `at`.
    bool is_crossed(std::string_view text, std::size_t at) const {
        const std::size_t longest = std::max<std::size_t>(before_.finder.longest(), 1);
        const std::string_view window = text.substr(0, std::min(text.size(), at + longest - 1));
        for (std::size_t from = at - std::min(at, longest - 1); from < at;) {
            const SpecialTokenFinder::Match match = before_.finder.find(window, from);
            if (match.position < at && match.position + match.size > at) return true;
            from = match.position + 1;
        }
        return false;
    }

private:
    struct Finder {
        SpecialTokenFinder finder;
        std::vector<std::uint32_t> indices;  // of its tokens
    };

    static bool is_within_word(std::string_view text, Span span) {
        return (span.begin > 0 && is_word_character(last_character(text.substr(0, span.begin)))) ||
               (span.end < text.size() &&
                is_word_character(decode_utf8_character(text.substr(span.end)).code_point));
    }

    static std::size_t whitespace_before(std::string_view text, std::size_t at) {
        while (at > 0 && is_white_space(last_character(text.substr(0, at))))
            at -= last_character_size(text.substr(0, at));
        return at;
    }

    static std::size_t whitespace_after(std::string_view text, std::size_t at) {
        while (at < text.size()) {
            const Utf8Character character = decode_utf8_character(text.substr(at));
            if (!is_white_space(character.code_point)) break;
            at += character.size;
        }
        return at;
    }

    std::vector<AddedToken> tokens_;
    std::vector<std::uint32_t> place_of_id_;  // in tokens_
    std::vector<std::string> normalized_;     // the text of each
    Finder before_, after_;                   // for text as it is written, and for normalized text
    StringTable by_content_;
    std::vector<std::uint32_t> index_by_content_;
    bool is_plain_ = true, allows_cuts_ = true;
};

}  // namespace detail

}  // namespace tenon
