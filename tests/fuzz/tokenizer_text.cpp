// Any text: a tokenizer trained on it encodes it without loss, in one piece and in parts alike.
#include <string>
#include <vector>

#include <tenon/tokenizer/stream.hpp>
#include <tenon/tokenizer/tokenizer.hpp>
#include <tenon/tokenizer/train.hpp>

#include "target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = fuzz::text_of(data, size);
    const std::vector<std::string> special{"<|end|>", "<|end|><|end|>", "e"};
    const auto tokenizer = tenon::train_byte_pair_tokenizer(text, 300, special);
    const auto ids = tokenizer.encode_ids(text);
    fuzz::require(tokenizer.decode_bytes(ids) == text, "decoding gives back what was encoded");
    fuzz::require(tokenizer.decode_bytes(
                      tokenizer.encode_ids(text, {.special_tokens = tenon::SpecialTokens::ordinary})) == text,
                  "and so it does where special tokens are text");

    std::vector<tenon::TokenId> in_parts;
    const auto keep = [&](tenon::TokenId id) { in_parts.push_back(id); };
    tenon::StreamEncoder encoder(tokenizer);
    for (std::size_t at = 0, part = 1; at < size; at += part, part = part % 7 + 1)
        encoder.push(text.substr(at, part), keep);
    encoder.finish(keep);
    fuzz::require(in_parts == ids, "parts of a text have the ids of the whole");

    std::string shown;
    tenon::StreamDecoder decoder(tokenizer);
    for (const tenon::TokenId id : ids) shown += decoder.push(id);
    shown += decoder.flush();
    fuzz::require(shown == tokenizer.decode(ids), "what is shown bit by bit is the whole");
    return 0;
}
