#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/byte_trie.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/tokenizer/tokens.hpp"
#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/vocabulary.hpp"

namespace tenon {

/// What a token of a SentencePiece model is. The numbers are its file's.
enum class SentencePieceType : std::uint8_t {
    normal = 1,
    unknown = 2,
    control = 3,
    user_defined = 4,
    unused = 5,
    byte = 6,
};

/// A token of a SentencePiece model.
struct SentencePieceToken {
    std::string text;
    float score = 0;
    SentencePieceType type = SentencePieceType::normal;
};

/// Byte-pair encoding as SentencePiece does it: two neighbours that together are a token become it, that of
/// the greatest score first. What no token covers becomes the unknown token, or those of its bytes.
class SentencePieceBpe {
public:
    /// `joins_control` says whether text can become a control token, or another that is no piece of text.
    /// Throws Error for a token that comes twice, and if no token is unknown nor all bytes are tokens.
    SentencePieceBpe(std::vector<SentencePieceToken> tokens, bool byte_fallback, bool joins_control = false)
        : tokens_(std::move(tokens)), byte_fallback_(byte_fallback), core_(make_core(joins_control)) {
        std::vector<std::pair<std::string_view, std::uint32_t>> user_defined;
        for (TokenId id = 0; id < tokens_.size(); ++id) {
            if (tokens_[id].type == SentencePieceType::user_defined)
                user_defined.emplace_back(tokens_[id].text, id);
            if (tokens_[id].type == SentencePieceType::unknown) unknown_ = id;
        }
        has_user_defined_ = !user_defined.empty();
        user_defined_ = detail::ByteTrie(std::move(user_defined));
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::string name = detail::byte_token(static_cast<std::uint8_t>(byte));
            bytes_[byte] = vocabulary_.find(name);
            if (byte_fallback_ && bytes_[byte] == detail::absent)
                throw Error("expected a token for each byte, got none for " + name);
        }
        if (!byte_fallback_ && unknown_ == detail::absent) throw Error("expected an unknown token, got none");
    }

    /// All tokens, those that are no piece of text too.
    const Vocabulary& vocabulary() const { return vocabulary_; }
    const std::vector<SentencePieceToken>& tokens() const { return tokens_; }
    bool byte_fallback() const { return byte_fallback_; }

    /// The token of a short piece that is one, or `absent`.
    TokenId whole_piece(const detail::PieceKey& key) const {
        const TokenId id = core_.whole_piece(key);
        return id < tokens_.size() ? id : detail::absent;
    }

    /// Whether pieces may be cut anywhere: see first_cut.
    bool cuts_pieces() const { return has_user_defined_ || core_.cuts_pieces(); }

    /// Where a piece may be cut: around user-defined tokens, and where no token reaches over. The first place
    /// after its begin, or its end.
    std::size_t first_cut(std::string_view piece) const {
        const std::size_t cut = core_.first_cut(piece);
        if (!has_user_defined_) return cut;
        if (const std::size_t size = user_defined_size(piece); size > 0) return size;
        std::size_t at = decode_utf8_character(piece).size;
        while (at < cut && user_defined_size(piece.substr(at)) == 0)
            at += decode_utf8_character(piece.substr(at)).size;
        return std::min(at, cut);
    }

    /// Appends the tokens of a piece, which is not to be cut further, that begins at `offset`.
    void encode(std::string_view piece, std::size_t offset, detail::ModelScratch& scratch,
                detail::TokenList& to) const {
        if (has_user_defined_ && user_defined_size(piece) == piece.size() && !piece.empty()) {
            TokenId id = detail::absent;
            user_defined_.for_each_prefix(piece, [&](std::size_t, TokenId token) { id = token; });
            return to.push(id, offset, offset + piece.size());
        }
        const std::size_t first = to.ids.size();
        core_.encode(piece, offset, scratch, to);
        const auto is_unknown = [this](TokenId id) { return id >= tokens_.size(); };
        const auto begin = to.ids.begin() + static_cast<std::ptrdiff_t>(first);
        if (std::none_of(begin, to.ids.end(), is_unknown)) return;
        to.ids.resize(first);
        if (to.has_spans) to.spans.resize(first);
        detail::TokenList raw;
        raw.has_spans = true;
        core_.encode(piece, offset, scratch, raw);
        for (std::size_t i = 0; i < raw.ids.size(); ++i) {
            const Span span = raw.spans[i];
            if (!is_unknown(raw.ids[i])) {
                to.push(raw.ids[i], span.begin, span.end);
            } else if (byte_fallback_) {
                append_bytes(piece.substr(span.begin - offset, span.size()), span.begin, to);
            } else if (i > 0 && is_unknown(raw.ids[i - 1])) {
                if (to.has_spans) to.spans.back().end = span.end;
            } else {
                to.push(unknown_, span.begin, span.end);
            }
        }
    }

private:
    /// The tokens that text can become, by the same ids; beyond them the characters that only longer tokens
    /// have, and one token for all other characters.
    BytePair make_core(bool joins_control) {
        Vocabulary pieces;
        std::vector<bool> is_piece(tokens_.size());
        std::vector<std::string_view> texts;
        for (TokenId id = 0; id < tokens_.size(); ++id) {
            const auto& [text, score, type] = tokens_[id];
            if (text.empty()) throw Error("expected tokens with a text, got none for " + std::to_string(id));
            vocabulary_.add(text, id);
            is_piece[id] =
                joins_control || type == SentencePieceType::normal || type == SentencePieceType::user_defined;
            if (type == SentencePieceType::unused) {
                throw Error("expected byte-pair tokens that are all used, got \"" + text +
                            "\", which is not");
            }
            if (is_piece[id]) pieces.add(text, id);
        }
        TokenId next = static_cast<TokenId>(tokens_.size());
        for (TokenId id = 0; id < tokens_.size(); ++id) {
            for (std::string_view rest = is_piece[id] ? std::string_view(tokens_[id].text) : "";
                 !rest.empty();) {
                const std::string_view character = rest.substr(0, decode_utf8_character(rest).size);
                if (pieces.find(character) == detail::absent) pieces.add(character, next++);
                rest.remove_prefix(character.size());
            }
        }
        detail::MergeTable merges = merges_of_scores(pieces);
        const std::string other = "\xFF";  // no text has it
        pieces.add(other, next);
        return BytePair(std::move(pieces), std::move(merges), {.unknown = other, .fuse_unknown = true},
                        BytePairUnits::characters);
    }

    detail::MergeTable merges_of_scores(const Vocabulary& pieces) const {
        // The greatest score has the lowest rank; equal scores have one.
        std::vector<float> scores;
        for (const SentencePieceToken& token : tokens_) scores.push_back(token.score);
        std::sort(scores.begin(), scores.end(), std::greater<>());
        scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
        detail::MergeTable merges;
        merges.reserve(2 * pieces.count());
        for (TokenId id = 0; id < tokens_.size(); ++id) {
            if (!pieces.has(id)) continue;
            const std::string_view text = tokens_[id].text;
            const auto rank = static_cast<std::uint32_t>(
                std::lower_bound(scores.begin(), scores.end(), tokens_[id].score, std::greater<>()) -
                scores.begin());
            for (std::size_t cut = decode_utf8_character(text).size; cut < text.size();
                 cut += decode_utf8_character(text.substr(cut)).size) {
                const TokenId left = pieces.find(text.substr(0, cut));
                const TokenId right = left == detail::absent ? detail::absent : pieces.find(text.substr(cut));
                if (right != detail::absent) merges.add(left, right, {rank, id});
            }
        }
        return merges;
    }

    std::size_t user_defined_size(std::string_view text) const {
        std::size_t size = 0;
        user_defined_.for_each_prefix(text, [&](std::size_t prefix, TokenId) { size = prefix; });
        return size;
    }

    /// The bytes of each character, of which the last one stands for it.
    void append_bytes(std::string_view text, std::size_t offset, detail::TokenList& to) const {
        while (!text.empty()) {
            const std::size_t size = decode_utf8_character(text).size;
            for (std::size_t i = 0; i < size; ++i)
                to.push(bytes_[static_cast<unsigned char>(text[i])], offset,
                        i + 1 == size ? offset + size : offset);
            text.remove_prefix(size);
            offset += size;
        }
    }

    std::vector<SentencePieceToken> tokens_;
    bool byte_fallback_;
    Vocabulary vocabulary_;
    BytePair core_;
    detail::ByteTrie user_defined_;
    bool has_user_defined_ = false;
    TokenId unknown_ = detail::absent;
    TokenId bytes_[256];
};

}  // namespace tenon
