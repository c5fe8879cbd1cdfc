#include "tenon/tokenizer/word_level.hpp"

#include <doctest/doctest.h>

#include "encoded.hpp"
#include "tenon/core/error.hpp"

using namespace tenon;
using namespace tokenizer_tests;

TEST_CASE("a word is a token, or the unknown one") {
    const TokenizerModel model = WordLevel(vocabulary_of({"<unk>", "hello"}), "<unk>");
    CHECK(tokens_of(model, "hello") == Tokens{{1, 0, 5}});
    CHECK(tokens_of(model, "hi") == Tokens{{0, 0, 2}});
    CHECK(tokens_of(model, "") == Tokens{});
}

TEST_CASE("an unknown word is an error if there is no token for it") {
    const TokenizerModel model = WordLevel(vocabulary_of({"hello"}), "<unk>");
    CHECK_THROWS_AS(tokens_of(model, "hi"), Error);
}
