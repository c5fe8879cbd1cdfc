// Any text: a tokenizer trained on it encodes it without loss, in one piece and in parts alike.
#include <string>
#include <vector>

#include <tenon/tokenizer/train.hpp>

#include "tokenizer.hpp"

const fuzz::Target target("tokenizer_text", [](const std::uint8_t* data, std::size_t size) {
    const std::string_view text = fuzz::text_of(data, size);
    const std::vector<std::string> special{"<|end|>", "<|end|><|end|>", "e"};
    const auto tokenizer = tenon::train_byte_pair_tokenizer(text, 300, special);
    const auto ids = tokenizer.encode_ids(text);
    fuzz::require(tokenizer.decode_bytes(ids) == text, "decoding gives back what was encoded");
    fuzz::require(tokenizer.decode_bytes(
                      tokenizer.encode_ids(text, {.special_tokens = tenon::SpecialTokens::ordinary})) == text,
                  "and so it does where special tokens are text");

    fuzz::require_streams(tokenizer, text, ids);
});
