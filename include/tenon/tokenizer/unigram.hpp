#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_trie.hpp"
#include "tenon/tokenizer/tokens.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// A token of a unigram model.
struct UnigramToken {
    std::string text;
    double score;            ///< the logarithm of its probability
    bool is_in_text = true;  ///< whether text can hold it; control tokens and bytes it can't
};

/// The tokens of a unigram model, whose ids are their places.
class UnigramVocabulary {
public:
    explicit UnigramVocabulary(std::vector<UnigramToken> tokens) : tokens_(std::move(tokens)) {
        trie_ = make_trie([](const UnigramToken&) { return true; });
    }

    TokenId size() const { return static_cast<TokenId>(tokens_.size()); }
    std::size_t count() const { return tokens_.size(); }
    bool has(TokenId id) const { return id < tokens_.size(); }
    std::string_view operator[](TokenId id) const { return tokens_[id].text; }
    const std::vector<UnigramToken>& tokens() const { return tokens_; }

    /// The id of the token with this text, the last of several, or `detail::absent`.
    TokenId find(std::string_view text) const {
        std::uint32_t node = detail::ByteTrie::root;
        for (const char byte : text) {
            node = trie_.child_of(node, byte);
            if (node == detail::absent) return detail::absent;
        }
        return trie_.value_at(node);
    }

    const detail::ByteTrie& trie() const { return trie_; }

    /// The trie of those tokens that `is_in`.
    template <class IsIn>
    detail::ByteTrie make_trie(IsIn&& is_in) const {
        std::vector<std::pair<std::string_view, std::uint32_t>> strings;
        for (TokenId id = 0; id < size(); ++id) {
            if (is_in(tokens_[id])) strings.emplace_back(tokens_[id].text, id);
        }
        return detail::ByteTrie(std::move(strings));
    }

private:
    std::vector<UnigramToken> tokens_;
    detail::ByteTrie trie_;
};

/// What a unigram model does apart from its tokens.
struct UnigramOptions {
    std::optional<TokenId> unknown = {};  ///< the token of characters that no other covers
    bool byte_fallback = false;  ///< unknown characters become tokens <0x00> to <0xFF>, if those are there
    /// Of the tokens in text, the one that counts least; by itself the lowest of all scores.
    std::optional<double> lowest_score = {};
    /// As SentencePiece does: sums of scores are rounded to float, and each unknown character has bytes of
    /// its own, of which the last one stands for it.
    bool is_sentence_piece = false;
};

/// Cuts text into the tokens whose probabilities multiply to the most (Kudo 2018, "Subword Regularization").
/// Characters that no token covers count ten less than the least probable token.
class Unigram {
public:
    /// Throws Error if the unknown token is none of the tokens.
    Unigram(std::vector<UnigramToken> tokens, UnigramOptions options)
        : vocabulary_(std::move(tokens)), options_(options) {
        if (options_.unknown && !vocabulary_.has(*options_.unknown)) {
            throw Error("expected an unknown token below " + std::to_string(vocabulary_.size()) + ", got " +
                        std::to_string(*options_.unknown));
        }
        double lowest = std::numeric_limits<double>::infinity();
        bool are_all_in_text = true;
        for (const UnigramToken& token : vocabulary_.tokens()) {
            lowest = std::min(lowest, token.score);
            are_all_in_text &= token.is_in_text;
        }
        unknown_score_ = rounded(options_.lowest_score.value_or(lowest) - 10.0);
        if (!are_all_in_text)
            in_text_ = vocabulary_.make_trie([](const auto& token) { return token.is_in_text; });
        for (std::size_t byte = 0; byte < 256; ++byte)
            fallback_[byte] = vocabulary_.find(detail::byte_token(static_cast<std::uint8_t>(byte)));
    }

    const UnigramVocabulary& vocabulary() const { return vocabulary_; }
    const UnigramOptions& options() const { return options_; }

    /// Appends the tokens of a piece that begins at `offset`. Throws Error for an unknown character if there
    /// is no unknown token.
    void encode(std::string_view piece, std::size_t offset, detail::ModelScratch& scratch,
                detail::TokenList& to) const {
        if (piece.empty()) return;
        find_best_path(piece, scratch);
        // From the end backwards; tokens and ends are then read from the last on.
        scratch.ends.clear();
        for (std::size_t end = piece.size(); end > 0; end = scratch.starts[end]) scratch.ends.push_back(end);
        std::size_t begin = 0, unknown_begin = 0;
        for (std::size_t i = scratch.ends.size(); i-- > 0;) {
            const std::size_t end = scratch.ends[i];
            const TokenId id = scratch.tokens[end];
            const bool is_unknown = options_.unknown && id == *options_.unknown;
            if (!is_unknown) {
                append_unknown(piece, unknown_begin, begin, offset, to);
                to.push(id, offset + begin, offset + end);
            } else if (options_.is_sentence_piece && options_.byte_fallback) {
                append_bytes(piece.substr(begin, end - begin), offset + begin, to);
            }
            if (!is_unknown || (options_.is_sentence_piece && options_.byte_fallback)) unknown_begin = end;
            begin = end;
        }
        append_unknown(piece, unknown_begin, begin, offset, to);
    }

private:
    /// For each place that a token can end at: where the best one begins, and its id.
    void find_best_path(std::string_view piece, detail::ModelScratch& scratch) const {
        if (piece.size() >= detail::absent) {
            throw Error("expected pieces of text below 4294967295 bytes, got one of " +
                        std::to_string(piece.size()));
        }
        const detail::ByteTrie& trie = in_text_ ? *in_text_ : vocabulary_.trie();
        scratch.scores.assign(piece.size() + 1, 0.0);
        scratch.tokens.assign(piece.size() + 1, detail::absent);
        scratch.starts.assign(piece.size() + 1, 0);
        for (std::size_t begin = 0; begin < piece.size();) {
            const double score_here = scratch.scores[begin];
            const std::string_view rest = piece.substr(begin);
            const std::size_t character_size = decode_utf8_character(rest).size;
            bool has_character = false;
            const auto offer = [&](std::size_t end, double exact_score, TokenId id) {
                const double score = rounded(exact_score);
                if (scratch.tokens[end] != detail::absent && !(score > scratch.scores[end])) return;
                scratch.scores[end] = score;
                scratch.tokens[end] = id;
                scratch.starts[end] = static_cast<std::uint32_t>(begin);
            };
            trie.for_each_prefix(rest, [&](std::size_t size, TokenId id) {
                offer(begin + size, vocabulary_.tokens()[id].score + score_here, id);
                has_character |= size == character_size;
            });
            if (!has_character) {
                if (!options_.unknown) {
                    throw Error("expected an unknown token, for characters that no token covers, got none");
                }
                offer(begin + character_size, rounded(unknown_score_ + score_here), *options_.unknown);
            }
            begin += character_size;
        }
    }

    double rounded(double score) const {
        return options_.is_sentence_piece ? static_cast<double>(static_cast<float>(score)) : score;
    }

    /// Appends what unknown characters [begin, end) become.
    void append_unknown(std::string_view piece, std::size_t begin, std::size_t end, std::size_t offset,
                        detail::TokenList& to) const {
        if (begin == end) return;
        const std::string_view unknown = piece.substr(begin, end - begin);
        const TokenId id = options_.is_sentence_piece ? detail::absent : vocabulary_.find(unknown);
        if (id == detail::absent && options_.byte_fallback && has_fallback(unknown))
            return append_bytes(unknown, offset + begin, to);
        to.push(id == detail::absent ? *options_.unknown : id, offset + begin, offset + end);
    }

    void append_bytes(std::string_view bytes, std::size_t offset, detail::TokenList& to) const {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            const bool stands_for_all = !options_.is_sentence_piece || i + 1 == bytes.size();
            to.push(fallback_[static_cast<unsigned char>(bytes[i])], offset,
                    stands_for_all ? offset + bytes.size() : offset);
        }
    }

    bool has_fallback(std::string_view bytes) const {
        return std::all_of(bytes.begin(), bytes.end(), [this](char byte) {
            return fallback_[static_cast<unsigned char>(byte)] != detail::absent;
        });
    }

    UnigramVocabulary vocabulary_;
    UnigramOptions options_;
    std::optional<detail::ByteTrie> in_text_;  // unless all tokens are in text
    double unknown_score_;
    TokenId fallback_[256];
};

}  // namespace tenon
