// Ranks in tiktoken's form, of any bytes: a tokenizer that is accepted gives back what it encodes, and is the
// same after being written and read.
#include <string>
#include <string_view>

#include <tenon/tokenizer/tiktoken_file.hpp>
#include <tenon/tokenizer/write_tiktoken.hpp>

#include "tokenizer.hpp"

const fuzz::Target target("tiktoken_file", [](const std::uint8_t* data, std::size_t size) {
    const std::string_view input = fuzz::text_of(data, size);
    const tenon::TiktokenEncoding encoding{R"( ?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+|[^\s\p{L}\p{N}]+)",
                                           {{"<|end|>", 100000}}};
    fuzz::expect_value_or_error([&] {
        const tenon::Tokenizer tokenizer(tenon::parse_tiktoken(input, "input", encoding));
        for (const std::string_view text : {input, std::string_view("one <|end|> two\xFF three  12345")}) {
            const auto ids = fuzz::checked_ids(tokenizer, text);
            fuzz::require(ids.has_value(), "every text has tokens");
            fuzz::require(tokenizer.decode_bytes(*ids) == text, "decoding gives back what was encoded");
            tenon::TiktokenEncoding written;
            const std::string ranks = tenon::tiktoken_ranks(tokenizer, written);
            const tenon::Tokenizer read(tenon::parse_tiktoken(ranks, "written", written));
            fuzz::require(fuzz::checked_ids(read, text) == ids, "what was written is the same tokenizer");
        }
    });
});
