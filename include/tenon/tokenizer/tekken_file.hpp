#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/json.hpp"
#include "tenon/tokenizer/base64.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/tiktoken_file.hpp"
#include "tenon/tokenizer/vocabulary.hpp"

namespace tenon {

namespace detail {

/// A number of tokens that a key says.
inline std::uint32_t token_count(const Json& json, std::string_view key) {
    const std::int64_t count = json.at(key).integer();
    if (count < 0 || count > std::int64_t{Vocabulary::maximum_size}) json.at(key).fail("a number of tokens");
    return static_cast<std::uint32_t>(count);
}

/// The names of the special tokens, which have the ids from 0 up: those that the file lists, and numbers for
/// others.
inline std::vector<std::string> tekken_special_tokens(const Json& root, std::uint32_t count) {
    std::vector<std::string> names(count);
    if (const auto list = root.find("special_tokens"); list && !list->is(JsonKind::null)) {
        for (const Json token : list->elements()) {
            const std::int64_t rank = token.at("rank").integer();
            if (rank < 0 || rank >= std::int64_t{count}) token.at("rank").fail("the rank of a special token");
            names[static_cast<std::size_t>(rank)] = token.at("token_str").text();
        }
    } else {
        constexpr std::string_view known[] = {"<unk>",
                                              "<s>",
                                              "</s>",
                                              "[INST]",
                                              "[/INST]",
                                              "[AVAILABLE_TOOLS]",
                                              "[/AVAILABLE_TOOLS]",
                                              "[TOOL_RESULTS]",
                                              "[/TOOL_RESULTS]",
                                              "[TOOL_CALLS]",
                                              "[IMG]",
                                              "<pad>",
                                              "[IMG_BREAK]",
                                              "[IMG_END]",
                                              "[PREFIX]",
                                              "[MIDDLE]",
                                              "[SUFFIX]",
                                              "[SYSTEM_PROMPT]",
                                              "[/SYSTEM_PROMPT]",
                                              "[TOOL_CONTENT]"};
        for (std::size_t i = 0; i < std::min(names.size(), std::size(known)); ++i) names[i] = known[i];
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i].empty()) names[i] = "<SPECIAL_" + std::to_string(i) + ">";
    }
    return names;
}

/// The bytes of the tokens that are no special ones, by rank. Of a file's the first are a model's.
inline StringTable tekken_tokens(const Json& vocabulary, std::uint32_t count) {
    StringTable tokens;
    for (const Json token : vocabulary.elements()) {
        if (tokens.size() == count) break;
        if (token.at("rank").integer() != std::int64_t{tokens.size()})
            token.at("rank").fail("ranks in order: " + std::to_string(tokens.size()));
        const Json text = token.at("token_bytes");
        const auto bytes = read_base64(text.text());
        if (!bytes) text.fail("a text in base 64");
        if (tokens.find(*bytes) != absent) text.fail("each token once");
        tokens.add(*bytes);
    }
    if (tokens.size() < count) vocabulary.fail("at least " + std::to_string(count) + " tokens");
    return tokens;
}

}  // namespace detail

/// What Mistral's tekken.json says: ranks as tiktoken's, whose ids follow those of the special tokens. Throws
/// FileError with the place of what is wrong.
inline TokenizerParts parse_tekken(std::string_view text, const std::string& where) {
    const JsonDocument document = parse_json(text, where);
    const Json config = document.root().at("config");
    const std::uint32_t special_count = detail::token_count(config, "default_num_special_tokens");
    const std::uint32_t count = detail::token_count(config, "default_vocab_size");
    if (count < special_count) config.at("default_vocab_size").fail("more tokens than special ones");
    const std::vector<std::string> special = detail::tekken_special_tokens(document.root(), special_count);
    TiktokenEncoding encoding{std::string(config.at("pattern").text())};
    for (TokenId id = 0; id < special_count; ++id) encoding.special_tokens.emplace_back(special[id], id);
    const detail::StringTable tokens =
        detail::tekken_tokens(document.root().at("vocab"), count - special_count);
    return detail::with_place(where,
                              [&] { return detail::make_rank_tokenizer(tokens, encoding, special_count); });
}

}  // namespace tenon
