#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/tokenizer/stream.hpp>
#include <tenon/tokenizer/tokenizer.hpp>

#include "target.hpp"

namespace fuzz {

/// The tokenizer without padding and truncation, by which a few bytes may ask for gigabytes.
inline tenon::Tokenizer unpadded(tenon::TokenizerParts parts) {
    return tenon::Tokenizer(std::move(parts)).with_padding(std::nullopt).with_truncation(std::nullopt);
}

/// The ids of a text, or nothing where the tokenizer has no token for a part of it. Whatever was read, they
/// are those of tokens, lie in the text, and can be decoded.
inline std::optional<std::vector<tenon::TokenId>> checked_ids(const tenon::Tokenizer& tokenizer,
                                                              std::string_view text) {
    tenon::Encoding encoding;
    try {
        encoding = tokenizer.encode(text);
    } catch (const tenon::Error&) {
        return std::nullopt;
    }
    bool are_tokens = true;
    for (const tenon::TokenId id : encoding.ids) are_tokens &= tokenizer.has_token(id);
    // Templates name tokens of their own, which need not be the vocabulary's.
    const std::vector<tenon::TokenId> plain = tokenizer.encode_ids(text, {.add_special_tokens = false});
    for (const tenon::TokenId id : plain) require(tokenizer.has_token(id), "what is encoded are tokens");
    for (const tenon::Span offset : encoding.offsets)
        require(offset.begin <= offset.end && offset.end <= text.size(), "tokens lie in the text");
    require(encoding.offsets.size() == encoding.ids.size(), "each token has its place");
    require(tokenizer.encode_ids(text) == encoding.ids, "ids alone are the same ids");
    expect_value_or_error([&] { tokenizer.decode(encoding.ids); });
    if (are_tokens) tokenizer.decode(encoding.ids);
    return encoding.ids;
}

/// The ids of a text are those of its parts, and decoded one by one they show the whole.
inline void require_streams(const tenon::Tokenizer& tokenizer, std::string_view text,
                            const std::vector<tenon::TokenId>& ids) {
    std::vector<tenon::TokenId> in_parts;
    const auto keep = [&](tenon::TokenId id) { in_parts.push_back(id); };
    tenon::StreamEncoder encoder(tokenizer);
    for (std::size_t at = 0, part = 1; at < text.size(); at += part, part = part % 7 + 1)
        encoder.push(text.substr(at, part), keep);
    encoder.finish(keep);
    require(in_parts == ids, "parts of a text have the ids of the whole");

    std::string shown;
    tenon::StreamDecoder decoder(tokenizer);
    for (const tenon::TokenId id : ids) shown += decoder.push(id);
    shown += decoder.flush();
    require(shown == tokenizer.decode(ids), "what is shown bit by bit is the whole");
}

}  // namespace fuzz
