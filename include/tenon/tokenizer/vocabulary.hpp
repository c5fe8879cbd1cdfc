#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"

namespace tenon {

/// The texts of tokens and their ids. Ids may have gaps.
class Vocabulary {
public:
    /// Ids are below this, so that a file's number cannot ask for all memory.
    static constexpr TokenId maximum_size = TokenId{1} << 24;

    /// One more than the greatest id.
    TokenId size() const { return static_cast<TokenId>(index_of_id_.size()); }

    /// The number of tokens.
    std::size_t count() const { return texts_.size(); }

    /// Makes room for so many tokens, of so many bytes in all.
    void reserve(std::size_t tokens, std::size_t bytes) {
        texts_.reserve(tokens, bytes);
        index_of_id_.reserve(tokens);
        id_of_index_.reserve(tokens);
    }

    /// Adds a token. Throws Error if its text has another id, its id another text, or the id is out of range.
    void add(std::string_view text, TokenId id) {
        if (id >= maximum_size) {
            throw Error("expected token ids below " + std::to_string(maximum_size) + ", got " +
                        std::to_string(id) + " for \"" + std::string(text) + "\"");
        }
        if (has(id)) {
            throw Error("expected each token id once, got " + std::to_string(id) + " for \"" +
                        std::string((*this)[id]) + "\" and for \"" + std::string(text) + "\"");
        }
        const std::uint32_t index = static_cast<std::uint32_t>(count());
        if (texts_.add(text) != index)
            throw Error("expected each token once, got \"" + std::string(text) + "\" twice");
        if (id >= index_of_id_.size()) index_of_id_.resize(std::size_t{id} + 1, detail::absent);
        index_of_id_[id] = index;
        id_of_index_.push_back(id);
    }

    bool has(TokenId id) const { return id < index_of_id_.size() && index_of_id_[id] != detail::absent; }

    /// The text of a token, for as long as none is added; empty where no token has this id.
    std::string_view operator[](TokenId id) const {
        return has(id) ? texts_[index_of_id_[id]] : std::string_view();
    }

    /// The id of the token with this text, or `detail::absent`.
    TokenId find(std::string_view text) const {
        const std::uint32_t index = texts_.find(text);
        return index == detail::absent ? detail::absent : id_of_index_[index];
    }

private:
    detail::StringTable texts_;
    std::vector<std::uint32_t> index_of_id_;
    std::vector<TokenId> id_of_index_;
};

namespace detail {

/// Whether a vocabulary has all bytes, as GPT-2 writes them.
inline bool has_all_bytes(const Vocabulary& vocabulary) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
        const char character = static_cast<char>(byte);
        if (vocabulary.find(written_bytes({&character, 1})) == absent) return false;
    }
    return true;
}

/// The id of the token for what a vocabulary lacks. Throws Error if it lacks that, too.
inline TokenId unknown_id(const Vocabulary& vocabulary, std::string_view unknown) {
    const TokenId id = vocabulary.find(unknown);
    if (id == absent) {
        throw Error("expected the unknown token \"" + std::string(unknown) +
                    "\" in the vocabulary, for text that has no other, got none");
    }
    return id;
}

}  // namespace detail

}  // namespace tenon
