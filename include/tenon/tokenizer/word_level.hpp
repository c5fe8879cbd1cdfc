#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/tokens.hpp"
#include "tenon/tokenizer/vocabulary.hpp"

namespace tenon {

/// A word is a token: the vocabulary's, or the unknown one.
class WordLevel {
public:
    WordLevel(Vocabulary vocabulary, std::string unknown)
        : vocabulary_(std::move(vocabulary)), unknown_(std::move(unknown)) {}

    const Vocabulary& vocabulary() const { return vocabulary_; }
    const std::string& unknown() const { return unknown_; }

    /// Appends the token of a piece that begins at `offset`. Throws Error for an unknown word if the
    /// vocabulary lacks the unknown token.
    void encode(std::string_view piece, std::size_t offset, detail::ModelScratch&,
                detail::TokenList& to) const {
        if (piece.empty()) return;
        TokenId id = vocabulary_.find(piece);
        if (id == detail::absent) id = detail::unknown_id(vocabulary_, unknown_);
        to.push(id, offset, offset + piece.size());
    }

private:
    Vocabulary vocabulary_;
    std::string unknown_;
};

}  // namespace tenon
