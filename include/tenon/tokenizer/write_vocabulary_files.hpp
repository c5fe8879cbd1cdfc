#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/folder.hpp"
#include "tenon/io/json_text.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

namespace detail {

/// The model of a tokenizer of bytes. Throws Error for another's.
inline const BytePair& byte_level_model(const Tokenizer& tokenizer) {
    const auto* model = tokenizer.model().get_if<BytePair>();
    if (!model || !model->has_byte_units())
        throw Error("expected a tokenizer of byte-level byte-pair encoding, got another");
    return *model;
}

/// Throws Error if GPT-2's files cannot say what a tokenizer does.
inline void require_gpt2_kind(const Tokenizer& tokenizer) {
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw Error("expected a tokenizer of GPT-2's kind, got one with " + std::string(what));
    };
    const TokenizerParts& parts = tokenizer.parts();
    const auto* cut =
        parts.pre_tokenizer.size() == 1 ? parts.pre_tokenizer[0].get_if<pre_tokenizer::ByteLevel>() : nullptr;
    require(cut && cut->use_regex && !cut->add_prefix_space, "another pre-tokenizer");
    require(parts.normalizer.empty(), "a normalizer");
    require(tokenizer.encode_ids("", {.truncate = false, .pad = false}).empty(), "a template");
    require(!byte_level_model(tokenizer).options().ignore_merges, "tokens that no merges make");
    for (const AddedToken& token : tokenizer.added_tokens()) {
        require(token.special, "added tokens that are not special");
        require(!token.single_word && !token.lstrip && !token.rstrip,
                "added tokens that ask what stands beside them");
    }
    for (TokenId id = 0; id < tokenizer.vocabulary_size(); ++id)
        require(tokenizer.has_token(id), "ids that no token has");
}

}  // namespace detail

/// The merges of a tokenizer of byte-level byte-pair encoding, from first to last: the byte strings that
/// become one. Throws Error for another tokenizer.
inline std::vector<std::pair<std::string, std::string>> byte_pair_merges(const Tokenizer& tokenizer) {
    const BytePair& model = detail::byte_level_model(tokenizer);
    std::vector<std::pair<std::string, std::string>> merges;
    for (const detail::MergeTable::Entry& merge : model.merges().in_order())
        merges.emplace_back(model.token_bytes(merge.left), model.token_bytes(merge.right));
    return merges;
}

/// Writes `vocab.json` and `merges.txt` into a folder, which is created if it is missing. Each file appears
/// whole or not at all. Special tokens with the bytes of an ordinary one are read back as ordinary;
/// truncation and padding are not written. Throws FileError, and Error for a tokenizer that is not of GPT-2's
/// kind, or in which a token that no merge makes is no UTF-8: it could not be read back.
inline void write_gpt2_files(const Tokenizer& tokenizer, const std::string& folder) {
    const BytePair& model = detail::byte_level_model(tokenizer);
    detail::require_gpt2_kind(tokenizer);
    std::string merges = "#version: 0.2\n";
    std::vector<bool> is_made(tokenizer.vocabulary_size());
    for (const detail::MergeTable::Entry& merge : model.merges().in_order()) {
        merges.append(model.vocabulary()[merge.left]).append(" ").append(model.vocabulary()[merge.right]) +=
            "\n";
        is_made[merge.merge.result] = true;
    }
    detail::StringTable written_tokens;
    std::string vocabulary = "{";
    for (TokenId id = 0; id < tokenizer.vocabulary_size(); ++id) {
        const bool is_ordinary =
            model.vocabulary().has(id) && (is_made[id] || model.token_bytes(id).size() == 1);
        std::string written;
        if (is_ordinary) {
            written = model.vocabulary()[id];
        } else {
            const std::string bytes = tokenizer.token_bytes(id);
            if (!detail::is_valid_utf8(bytes)) {
                throw Error(
                    "expected tokens that no merge makes in UTF-8, as they are read back as special, got \"" +
                    detail::written_bytes(bytes) + "\"");
            }
            written = detail::written_special_token(bytes);
        }
        if (written_tokens.add(written) != id)
            throw Error("expected each token once, got \"" + written + "\" twice");
        if (id > 0) vocabulary += ", ";
        append_json_string(vocabulary, written);
        vocabulary += ": " + std::to_string(id);
    }
    vocabulary += "}\n";
    create_folder(folder);
    write_file(folder + "/vocab.json", vocabulary);
    write_file(folder + "/merges.txt", merges);
}

}  // namespace tenon
