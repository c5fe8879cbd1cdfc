#include "tenon/tokenizer/tekken_file.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "formats.hpp"
#include "tenon/tokenizer/base64.hpp"

using tenon::Tokenizer;
using tokenizer_tests::Ids;
using tokenizer_tests::load;
using tokenizer_tests::load_message;

namespace {

/// A tekken.json of all bytes and " the", of which a model with two special tokens has `size` ids.
std::string tekken(int size, const std::string& more = "",
                   const std::vector<std::string>& tokens = {" t", "he", " the"}) {
    std::string text =
        R"({"config": {"pattern": " ?\\p{L}+|\\s+", "num_vocab_tokens": 1000, "default_vocab_size": )" +
        std::to_string(size) + R"(, "default_num_special_tokens": 2, "version": "v3"}, "vocab": [)";
    for (std::size_t rank = 0; rank < 256 + tokens.size(); ++rank) {
        const std::string token = rank < 256 ? std::string(1, static_cast<char>(rank)) : tokens[rank - 256];
        text += rank > 0 ? ", " : "";
        text += "{\"rank\": " + std::to_string(rank) + ", \"token_bytes\": \"" +
                tenon::detail::write_base64(token) + "\", \"token_str\": null}";
    }
    return text + "]" + more + "}";
}

}  // namespace

TEST_CASE("ranks of Mistral's tekken.json follow the special tokens") {
    const Tokenizer tokenizer = load(tekken(261));
    CHECK(tokenizer.vocabulary_size() == 261);
    CHECK(tokenizer.encode_ids("see the") == Ids{2 + 's', 2 + 'e', 2 + 'e', 260});
    CHECK(tokenizer.encode_ids("<s>") == Ids{1});
    CHECK(tokenizer.decode(Ids{1, 260}) == "<s> the");
}

TEST_CASE("of the ranks, a model has the first") {
    CHECK(load(tekken(260)).encode_ids(" the") == Ids{258, 259});
    CHECK(load(tekken(258)).encode_ids(" the").size() == 4);
    CHECK(load_message(tekken(262)) == "file: vocab: expected at least 260 tokens, got an array");
    CHECK(load_message(tekken(257)) == "file: expected a token for each byte, got none for byte 255");
    CHECK(load_message(tekken(1)) ==
          "file: config.default_vocab_size: expected more tokens than special ones, got 1");
    CHECK(load_message(tekken(-1)) == "file: config.default_vocab_size: expected a number of tokens, got -1");
}

TEST_CASE("a file may name its special tokens") {
    const Tokenizer tokenizer =
        load(tekken(261, R"(, "special_tokens": [{"rank": 1, "token_str": "<go>", "is_control": true}])"));
    CHECK(tokenizer.encode_ids("<go><SPECIAL_0>") == Ids{1, 0});
    CHECK(load_message(tekken(261, R"(, "special_tokens": [{"rank": 2, "token_str": "<go>"}])")) ==
          "file: special_tokens.0.rank: expected the rank of a special token, got 2");
}

TEST_CASE("tokens that come twice, or are no base 64, are refused with their place") {
    CHECK(load_message(tekken(260, "", {"ab", "ab"})) ==
          "file: vocab.257.token_bytes: expected each token once, got a text \"YWI=\"");
    std::string text = tekken(261);
    text.replace(text.find("IHQ="), 4, "IH!=");
    CHECK(load_message(text) ==
          "file: vocab.256.token_bytes: expected a text in base 64, got a text \"IH!=\"");
    text = tekken(261);
    text.replace(text.find("\"rank\": 256"), 11, "\"rank\": 255");
    CHECK(load_message(text) == "file: vocab.256.rank: expected ranks in order: 256, got 255");
}
