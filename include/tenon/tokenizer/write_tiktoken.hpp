#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/json_text.hpp"
#include "tenon/tokenizer/base64.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/published_patterns.hpp"
#include "tenon/tokenizer/tiktoken_file.hpp"
#include "tenon/tokenizer/tokenizer.hpp"

namespace tenon {

namespace detail {

[[noreturn]] inline void fail_to_write_ranks(const std::string& expected) {
    throw Error("expected a tokenizer that tiktoken's form can say: " + expected + ", got another");
}

/// The pattern that cuts text, all at once.
inline std::string tiktoken_pattern(const TokenizerParts& parts) {
    const PreTokenizer& steps = parts.pre_tokenizer;
    const auto* bytes = steps.empty() ? nullptr : steps.back().get_if<pre_tokenizer::ByteLevel>();
    if (bytes && !bytes->add_prefix_space) {
        if (steps.size() == 1 && bytes->use_regex) return std::string(patterns::gpt2);
        const auto* split = steps.size() == 2 ? steps[0].get_if<pre_tokenizer::Split>() : nullptr;
        if (split && !bytes->use_regex && split->pattern.is_regex() && !split->invert &&
            split->behavior == SplitBehavior::isolated)
            return split->pattern.text();
    }
    fail_to_write_ranks("one that cuts text by one pattern into bytes");
}

/// Whether merging by ids does what the merges do. A token that merges make of its own bytes is made in the
/// same way wherever it stands, as nothing before its last merge crosses its ends. Any other must be one that
/// only pieces which are it become, and that ids don't make either: its bytes don't come to two tokens.
inline bool merges_are_ranks(const BytePair& model, TokenId count) {
    TokenId last = 0;
    for (const MergeTable::Entry& merge : model.merges().in_order()) {
        if (merge.merge.result < last) return false;
        last = merge.merge.result;
    }
    StringTable tokens;
    for (TokenId id = 0; id < count; ++id) tokens.add(model.token_bytes(id));
    std::vector<TokenId> parts;
    for (TokenId id = 0; id < count; ++id) {
        const std::string_view bytes = tokens[id];
        parts.clear();
        for (std::size_t i = 0; i < bytes.size(); ++i) parts.push_back(tokens.find(bytes.substr(i, 1)));
        model.merges().apply(parts);
        if (parts.size() == 1 && parts[0] == id) continue;
        if (!model.options().ignore_merges || parts.size() == 2) return false;
    }
    return true;
}

}  // namespace detail

/// A byte-pair tokenizer in tiktoken's form: ranks, one a line, and what `encoding` receives beside them.
/// What stands around a text has no place in it: ids are those of a text alone. Throws Error for a tokenizer
/// that the form can't say.
inline std::string tiktoken_ranks(const Tokenizer& tokenizer, TiktokenEncoding& encoding) {
    const auto* model = tokenizer.model().get_if<BytePair>();
    if (!model || !model->has_byte_units() || !tokenizer.parts().normalizer.empty())
        detail::fail_to_write_ranks("byte pairs of bytes, without a normalizer");
    encoding = {detail::tiktoken_pattern(tokenizer.parts())};
    TokenId count = model->vocabulary().size();
    for (const AddedToken& token : tokenizer.added_tokens()) {
        if (!token.special || token.single_word || token.lstrip || token.rstrip)
            detail::fail_to_write_ranks("added tokens that are special, and no more than their text");
        encoding.special_tokens.emplace_back(token.content, token.id);
        count = std::min(count, token.id);
    }
    std::string ranks;
    for (TokenId id = 0; id < model->vocabulary().size(); ++id) {
        if (id >= count && model->vocabulary().has(id) && !tokenizer.is_special(id))
            detail::fail_to_write_ranks("special tokens after all others");
        if (id >= count) continue;
        const std::string_view bytes = model->token_bytes(id);
        if (!model->vocabulary().has(id) || model->vocabulary()[id] != detail::written_bytes(bytes))
            detail::fail_to_write_ranks("tokens of bytes with ids from 0 up");
        ranks += (bytes.empty() ? "=" : detail::write_base64(bytes)) + " " + std::to_string(id) + "\n";
    }
    if (!detail::merges_are_ranks(*model, count))
        detail::fail_to_write_ranks("merges in the order of the tokens that they make");
    return ranks;
}

/// Writes ranks to a file, and `encoding.json` beside it, which `Tokenizer::load` reads with it; tiktoken is
/// given what that says. Throws FileError, and Error as `tiktoken_ranks` does.
inline void write_tiktoken(const Tokenizer& tokenizer, const std::string& path) {
    TiktokenEncoding encoding;
    const std::string ranks = tiktoken_ranks(tokenizer, encoding);
    std::string json = "{\n \"pattern\": ";
    append_json_string(json, encoding.pattern);
    json += ",\n \"special_tokens\": {";
    for (const auto& [text, id] : encoding.special_tokens) {
        json += json.ends_with('{') ? "\n  " : ",\n  ";
        append_json_string(json, text);
        json += ": " + std::to_string(id);
    }
    json += "\n }\n}\n";
    write_file(path, ranks);
    write_file(folder_of(path) + "/encoding.json", json);
}

}  // namespace tenon
