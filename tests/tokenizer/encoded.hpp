#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/tokenizer.hpp"

namespace tokenizer_tests {

/// A token of a text, and the bytes that it stands for.
struct Token {
    tenon::TokenId id;
    std::size_t begin, end;

    bool operator==(const Token&) const = default;
    friend std::ostream& operator<<(std::ostream& to, const Token& token) {
        return to << '{' << token.id << ", " << token.begin << ", " << token.end << '}';
    }
};
using Tokens = std::vector<Token>;

inline Tokens tokens_of(const tenon::Encoding& encoding) {
    Tokens tokens;
    for (std::size_t i = 0; i < encoding.ids.size(); ++i)
        tokens.push_back({encoding.ids[i], encoding.offsets[i].begin, encoding.offsets[i].end});
    return tokens;
}

inline Tokens tokens_of(const tenon::Tokenizer& tokenizer, std::string_view text) {
    return tokens_of(tokenizer.encode(text));
}

/// A model by itself, without any step.
inline Tokens tokens_of(const tenon::TokenizerModel& model, std::string_view text) {
    return tokens_of(tenon::Tokenizer(tenon::TokenizerParts{model}), text);
}

/// The tokens with ids from 0 up.
inline tenon::Vocabulary vocabulary_of(std::initializer_list<std::string_view> tokens) {
    tenon::Vocabulary vocabulary;
    for (const std::string_view token : tokens) vocabulary.add(token, vocabulary.size());
    return vocabulary;
}

/// The tokens <0x00> to <0xFF> after the others.
inline void add_byte_tokens(tenon::Vocabulary& vocabulary) {
    for (int byte = 0; byte < 256; ++byte)
        vocabulary.add(tenon::detail::byte_token(static_cast<std::uint8_t>(byte)), vocabulary.size());
}

struct NamedMerge {
    std::string_view left, right, result;
};

/// The merges by rank.
inline tenon::detail::MergeTable merges_of(const tenon::Vocabulary& vocabulary,
                                           const std::vector<NamedMerge>& merges) {
    tenon::detail::MergeTable table;
    for (const NamedMerge& merge : merges) {
        table.add(vocabulary.find(merge.left), vocabulary.find(merge.right),
                  {static_cast<std::uint32_t>(table.size()), vocabulary.find(merge.result)});
    }
    return table;
}

}  // namespace tokenizer_tests
