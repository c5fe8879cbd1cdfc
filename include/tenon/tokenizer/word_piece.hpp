#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/byte_trie.hpp"
#include "tenon/tokenizer/tokens.hpp"
#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/vocabulary.hpp"

namespace tenon {

/// The fields of a WordPiece model in tokenizer.json.
struct WordPieceOptions {
    std::string unknown = "[UNK]";         ///< the token of a word that can't be cut into tokens
    std::string continuing_prefix = "##";  ///< what tokens within a word begin with
    std::size_t longest_word = 100;        ///< in characters; a longer word is unknown
};

/// WordPiece as BERT has it: of a word, again and again the longest token that the rest begins with (Schuster
/// and Nakajima 2012, "Japanese and Korean Voice Search"; Devlin et al. 2019).
class WordPiece {
public:
    WordPiece(Vocabulary vocabulary, WordPieceOptions options)
        : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
        std::vector<std::pair<std::string_view, std::uint32_t>> tokens;
        tokens.reserve(vocabulary_.count());
        for (TokenId id = 0; id < vocabulary_.size(); ++id) {
            if (vocabulary_.has(id)) tokens.emplace_back(vocabulary_[id], id);
        }
        trie_ = detail::ByteTrie(std::move(tokens));
        for (const char byte : options_.continuing_prefix) {
            if (continuing_ != detail::absent) continuing_ = trie_.child_of(continuing_, byte);
        }
    }

    const Vocabulary& vocabulary() const { return vocabulary_; }
    const WordPieceOptions& options() const { return options_; }

    /// Appends the tokens of a piece that begins at `offset`. Throws Error for an unknown word if the
    /// vocabulary lacks the unknown token.
    void encode(std::string_view piece, std::size_t offset, detail::ModelScratch&,
                detail::TokenList& to) const {
        const std::size_t count = to.ids.size();
        bool is_known = !is_too_long(piece);
        for (std::size_t at = 0; is_known && at < piece.size();) {
            const Match match =
                longest_match(at == 0 ? detail::ByteTrie::root : continuing_, piece.substr(at));
            is_known = match.id != detail::absent;
            if (!is_known) break;
            to.push(match.id, offset + at, offset + at + match.size);
            at += match.size;
        }
        if (is_known) return;
        to.ids.resize(count);
        if (to.has_spans) to.spans.resize(count);
        to.push(detail::unknown_id(vocabulary_, options_.unknown), offset, offset + piece.size());
    }

private:
    struct Match {
        TokenId id = detail::absent;
        std::size_t size = 0;
    };

    Match longest_match(std::uint32_t node, std::string_view text) const {
        Match longest;
        for (std::size_t at = 0; node != detail::absent && at < text.size(); ++at) {
            node = trie_.child_of(node, text[at]);
            if (node != detail::absent && trie_.value_at(node) != detail::absent)
                longest = {trie_.value_at(node), at + 1};
        }
        return longest;
    }

    bool is_too_long(std::string_view piece) const {
        if (piece.size() <= options_.longest_word) return false;
        std::size_t count = 0;
        while (!piece.empty()) {
            piece.remove_prefix(decode_utf8_character(piece).size);
            if (++count > options_.longest_word) return true;
        }
        return false;
    }

    Vocabulary vocabulary_;
    WordPieceOptions options_;
    detail::ByteTrie trie_;
    std::uint32_t continuing_ = detail::ByteTrie::root;  // where the trie goes on within a word
};

}  // namespace tenon
