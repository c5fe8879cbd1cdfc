// A SentencePiece model of any bytes: what is accepted encodes and decodes.
#include <string_view>

#include <tenon/tokenizer/sentence_piece_file.hpp>

#include "tokenizer.hpp"

const fuzz::Target target("sentence_piece_file", [](const std::uint8_t* data, std::size_t size) {
    const std::string_view input = fuzz::text_of(data, size);
    fuzz::expect_value_or_error([&] {
        const tenon::Tokenizer tokenizer(tenon::parse_sentence_piece(input, "input"));
        fuzz::checked_ids(tokenizer, input);
        fuzz::checked_ids(tokenizer, "  the cat\u3000\xFF sat\n");
    });
});
