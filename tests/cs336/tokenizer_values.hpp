#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tokenizer_adapters.hpp"
#include "values.hpp"

namespace cs336 {

inline const std::string end_of_text = "<|endoftext|>";

/// The texts that make_values.py has encoded.
inline const std::vector<std::string> text_names = {"empty",   "letter",  "emoji",    "ascii",
                                                    "unicode", "special", "newlines", "newlines_and_text",
                                                    "speech",  "german",  "story"};

/// Ids of a text by tiktoken.
inline std::vector<TokenId> ids(const std::string& name) {
    const std::vector<std::int64_t> wide = list<std::int64_t>(name);
    return {wide.begin(), wide.end()};
}

/// The merges that the reference has learned; each is of two tokens: bytes, or the results of earlier merges.
inline std::vector<std::pair<std::string, std::string>> reference_merges() {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    const std::vector<std::int64_t> pairs = list<std::int64_t>("bpe.merges");
    std::vector<std::pair<std::string, std::string>> merges;
    for (std::size_t i = 0; i < pairs.size(); i += 2) {
        merges.emplace_back(tokens.at(static_cast<std::size_t>(pairs[i])),
                            tokens.at(static_cast<std::size_t>(pairs[i + 1])));
        tokens.push_back(merges.back().first + merges.back().second);
    }
    return merges;
}

/// The tokens in the reference's order: bytes, merges.
inline std::vector<std::string> reference_vocabulary() {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    for (const auto& [left, right] : reference_merges()) tokens.push_back(left + right);
    return tokens;
}

inline Tokenizer reference_tokenizer(const std::vector<std::string>& special_tokens = {end_of_text}) {
    return get_tokenizer(reference_vocabulary(), reference_merges(), special_tokens);
}

}  // namespace cs336
