#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/byte_parts.hpp"
#include "tenon/tokenizer/merge.hpp"

namespace tenon::detail {

/// The tokens of a text as a model makes them: their ids and, if wanted, the parts of the text that they
/// stand for.
struct TokenList {
    std::vector<TokenId> ids;
    std::vector<Span> spans;
    bool has_spans = false;

    void push(TokenId id, std::size_t begin, std::size_t end) {
        ids.push_back(id);
        if (has_spans) spans.push_back({begin, end});
    }

    void clear() {
        ids.clear();
        spans.clear();
    }
};

/// The token of a byte, in vocabularies of characters that have such: <0x00> to <0xFF>.
inline std::string byte_token(std::uint8_t byte) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
}

/// Memory that models use while they encode a piece.
struct ModelScratch {
    std::vector<TokenId> tokens;
    std::vector<std::uint32_t> starts;
    std::vector<std::size_t> ends;
    PartMemory parts;
    std::vector<double> scores;
    std::string text;
};

}  // namespace tenon::detail
