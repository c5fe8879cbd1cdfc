// A tokenizer.json of any bytes: what is accepted encodes, decodes, and is the same after being written and
// read.
#include <string_view>

#include <tenon/tokenizer/tokenizer_json.hpp>
#include <tenon/tokenizer/write_tokenizer.hpp>

#include "tokenizer.hpp"

const fuzz::Target target("tokenizer_json", [](const std::uint8_t* data, std::size_t size) {
    const std::string_view input = fuzz::text_of(data, size);
    fuzz::expect_value_or_error([&] {
        const tenon::Tokenizer tokenizer = fuzz::unpadded(tenon::parse_tokenizer_json(input, "input"));
        const auto ids = fuzz::checked_ids(tokenizer, input);
        const auto few = fuzz::checked_ids(tokenizer, " Hello, w\u00F6rld!\n\xFF 12");
        const std::string written = tenon::tokenizer_json(tokenizer);
        const tenon::Tokenizer read(tenon::parse_tokenizer_json(written, "written"));
        fuzz::require(fuzz::checked_ids(read, input) == ids, "what was written is the same tokenizer");
        fuzz::require(fuzz::checked_ids(read, " Hello, w\u00F6rld!\n\xFF 12") == few, "for any text");
        fuzz::require(tenon::tokenizer_json(read) == written, "and is written in the same way");
    });
});
