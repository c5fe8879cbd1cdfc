#include "tenon/tokenizer/unigram.hpp"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "encoded.hpp"
#include "tenon/core/error.hpp"

using namespace tenon;
using namespace tokenizer_tests;

namespace {

std::vector<UnigramToken> tokens() {
    return {{"<unk>", 0.0}, {"a", -2.0}, {"b", -2.0}, {"ab", -3.0}, {"abc", -8.0}, {"c", -2.5}, {"bc", -4.4}};
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("text is cut into the tokens of the greatest probability together") {
    const TokenizerModel model = Unigram(tokens(), {.unknown = 0});
    CHECK(tokens_of(model, "abc") == Tokens{{3, 0, 2}, {5, 2, 3}});
    CHECK(tokens_of(model, "ab") == Tokens{{3, 0, 2}});
    CHECK(tokens_of(model, "ba") == Tokens{{2, 0, 1}, {1, 1, 2}});
    CHECK(tokens_of(model, "") == Tokens{});
}

TEST_CASE("of equals, the one that ends with the longer token counts") {
    const TokenizerModel model = Unigram({{"<unk>", 0.0}, {"a", -1.0}, {"aa", -2.0}}, {.unknown = 0});
    CHECK(tokens_of(model, "aa") == Tokens{{2, 0, 2}});
    CHECK(tokens_of(model, "aaa") == Tokens{{1, 0, 1}, {2, 1, 3}});
}

TEST_CASE("unknown characters in a row are one token") {
    const TokenizerModel model = Unigram(tokens(), {.unknown = 0});
    CHECK(tokens_of(model, "azzb") == Tokens{{1, 0, 1}, {0, 1, 3}, {2, 3, 4}});
    CHECK(tokens_of(model, "中ab中") == Tokens{{0, 0, 3}, {3, 3, 5}, {0, 5, 8}});
}

TEST_CASE("unknown characters fall back to their bytes") {
    std::vector<UnigramToken> with_bytes = tokens();
    for (int byte = 0; byte < 256; ++byte)
        with_bytes.push_back({detail::byte_token(static_cast<std::uint8_t>(byte)), 0.0});
    const TokenizerModel model = Unigram(with_bytes, {.unknown = 0, .byte_fallback = true});
    CHECK(tokens_of(model, "a中b") ==
          Tokens{{1, 0, 1}, {7 + 0xE4, 1, 4}, {7 + 0xB8, 1, 4}, {7 + 0xAD, 1, 4}, {2, 4, 5}});
}

TEST_CASE("an unknown character is an error if there is no token for it") {
    const TokenizerModel model = Unigram({{"a", -1.0}}, {});
    CHECK(tokens_of(model, "a") == Tokens{{0, 0, 1}});
    CHECK_THROWS_AS(tokens_of(model, "b"), Error);
    CHECK_THROWS_WITH_AS(Unigram({{"a", -1.0}}, {.unknown = 7}), "expected an unknown token below 1, got 7",
                         Error);
}
