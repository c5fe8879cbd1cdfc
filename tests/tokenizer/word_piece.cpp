#include "tenon/tokenizer/word_piece.hpp"

#include <doctest/doctest.h>

#include "encoded.hpp"
#include "tenon/core/error.hpp"

using namespace tenon;
using namespace tokenizer_tests;

namespace {

Vocabulary vocabulary() {
    return vocabulary_of({"[UNK]", "un", "##aff", "##able", "u", "##n", "##a", "é", "##中"});
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("a word is cut into the longest token, and again, from the left") {
    const TokenizerModel model = WordPiece(vocabulary(), {});
    CHECK(tokens_of(model, "unaffable") == Tokens{{1, 0, 2}, {2, 2, 5}, {3, 5, 9}});
    CHECK(tokens_of(model, "é中") == Tokens{{7, 0, 2}, {8, 2, 5}});
    CHECK(tokens_of(model, "") == Tokens{});
}

TEST_CASE("a word that cannot be cut to its end is unknown as a whole") {
    const TokenizerModel model = WordPiece(vocabulary(), {});
    CHECK(tokens_of(model, "unx") == Tokens{{0, 0, 3}});
    CHECK(tokens_of(model, "n") == Tokens{{0, 0, 1}});  // only within a word
}

TEST_CASE("a word of too many characters is unknown") {
    const TokenizerModel model = WordPiece(vocabulary(), {.longest_word = 3});
    CHECK(tokens_of(model, "una") == Tokens{{1, 0, 2}, {6, 2, 3}});
    CHECK(tokens_of(model, "unaa") == Tokens{{0, 0, 4}});
    CHECK(tokens_of(model, "é中中") == Tokens{{7, 0, 2}, {8, 2, 5}, {8, 5, 8}});  // of more bytes
}

TEST_CASE("what tokens within a word begin with is the model's choice") {
    const TokenizerModel model = WordPiece(vocabulary_of({"[UNK]", "a", "@b"}), {.continuing_prefix = "@"});
    CHECK(tokens_of(model, "ab") == Tokens{{1, 0, 1}, {2, 1, 2}});
}

TEST_CASE("an unknown word is an error if there is no token for it") {
    const TokenizerModel model = WordPiece(vocabulary_of({"a"}), {});
    CHECK(tokens_of(model, "a") == Tokens{{0, 0, 1}});
    CHECK_THROWS_WITH_AS(
        tokens_of(model, "b"),
        "expected the unknown token \"[UNK]\" in the vocabulary, for text that has no other, got none",
        Error);
}
