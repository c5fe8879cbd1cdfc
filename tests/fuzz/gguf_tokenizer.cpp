// A GGUF file of any bytes: a tokenizer that is accepted encodes and decodes.
#include <string_view>

#include <tenon/tokenizer/gguf_tokenizer.hpp>

#include "tokenizer.hpp"

const fuzz::Target target("gguf_tokenizer", [](const std::uint8_t* data, std::size_t size) {
    const std::string_view input = fuzz::text_of(data, size);
    fuzz::expect_value_or_error([&] {
        const tenon::Tokenizer tokenizer(tenon::parse_gguf_tokenizer(input, "input"));
        fuzz::checked_ids(tokenizer, input);
        fuzz::checked_ids(tokenizer, "  the cat\u3000\xFF sat\n 123");
    });
});
