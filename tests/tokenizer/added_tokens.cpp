#include "tenon/tokenizer/added_tokens.hpp"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "encoded.hpp"
#include "tenon/core/error.hpp"
#include "tenon/tokenizer/normalizers.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/word_level.hpp"

using namespace tenon;
using namespace tokenizer_tests;

namespace {

/// A tokenizer of the words a and b, whose added tokens have ids from 3 up.
Tokenizer words(std::vector<AddedToken> added, Normalizer normalizer = {}) {
    TokenizerParts parts{WordLevel(vocabulary_of({"[UNK]", "a", "b"}), "[UNK]")};
    parts.pre_tokenizer = {pre_tokenizer::WhitespaceSplit{}};
    parts.normalizer = std::move(normalizer);
    TokenId id = 3;
    for (AddedToken& token : added) token.id = id++;
    parts.added_tokens = std::move(added);
    return Tokenizer(std::move(parts));
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("added tokens are found before text is cut") {
    const Tokenizer tokenizer = words({{.content = "<s>", .special = true}});
    CHECK(tokens_of(tokenizer, "a<s>b") == Tokens{{1, 0, 1}, {3, 1, 4}, {2, 4, 5}});
    CHECK(tokens_of(tokenizer, "<s><s>") == Tokens{{3, 0, 3}, {3, 3, 6}});
    CHECK(tokens_of(tokenizer, "<s") == Tokens{{0, 0, 2}});
}

TEST_CASE("of those that begin at one place, the longest counts") {
    const Tokenizer tokenizer = words({{.content = "ab"}, {.content = "abc"}, {.content = "bcd"}});
    CHECK(tokens_of(tokenizer, "abcd") == Tokens{{4, 0, 3}, {0, 3, 4}});
    CHECK(tokens_of(tokenizer, "abd") == Tokens{{3, 0, 2}, {0, 2, 3}});
}

TEST_CASE("they may take the whitespace before or after them") {
    const Tokenizer tokenizer =
        words({{.content = "<m>", .lstrip = true}, {.content = "<r>", .rstrip = true}});
    CHECK(tokens_of(tokenizer, "a  <m> b") == Tokens{{1, 0, 1}, {3, 1, 6}, {2, 7, 8}});
    CHECK(tokens_of(tokenizer, "a <r>  b") == Tokens{{1, 0, 1}, {4, 2, 7}, {2, 7, 8}});
    CHECK(tokens_of(tokenizer, "<r>  <m>") == Tokens{{4, 0, 5}, {3, 5, 8}});  // the first has it
}

TEST_CASE("they may be found as single words only") {
    const Tokenizer tokenizer = words({{.content = "foo", .single_word = true}});
    CHECK(tokens_of(tokenizer, "foo") == Tokens{{3, 0, 3}});
    CHECK(tokens_of(tokenizer, "foo foo") == Tokens{{3, 0, 3}, {3, 4, 7}});
    CHECK(tokens_of(tokenizer, "foob") == Tokens{{0, 0, 4}});
    CHECK(tokens_of(tokenizer, "a foo-b") == Tokens{{1, 0, 1}, {3, 2, 5}, {0, 5, 7}});
    CHECK(tokens_of(tokenizer, "éfoo") == Tokens{{0, 0, 5}});
}

TEST_CASE("normalized ones are found, normalized, in normalized text") {
    const Tokenizer tokenizer =
        words({{.content = "Foo", .normalized = true}, {.content = "Bar"}}, {normalizer::Lowercase{}});
    CHECK(tokens_of(tokenizer, "FOO") == Tokens{{3, 0, 3}});
    CHECK(tokens_of(tokenizer, "aFOOb") == Tokens{{1, 0, 1}, {3, 1, 4}, {2, 4, 5}});
    CHECK(tokens_of(tokenizer, "Bar") == Tokens{{4, 0, 3}});
    CHECK(tokens_of(tokenizer, "BAR") == Tokens{{0, 0, 3}});
}

TEST_CASE("special ones may be read as text, or refused; the others are found whatever is asked") {
    const Tokenizer tokenizer = words({{.content = "<s>", .special = true}, {.content = "foo"}});
    CHECK(tokenizer.encode_ids("a <s>", {.special_tokens = SpecialTokens::ordinary}) ==
          std::vector<TokenId>{1, 0});
    CHECK(tokenizer.encode_ids("foo", {.special_tokens = SpecialTokens::ordinary}) ==
          std::vector<TokenId>{4});
    CHECK_THROWS_WITH_AS(tokenizer.encode_ids("a <s>", {.special_tokens = SpecialTokens::refused}),
                         "expected text without special tokens, got \"<s>\" at byte 2", Error);
    CHECK(tokenizer.encode_ids("foo", {.special_tokens = SpecialTokens::refused}) == std::vector<TokenId>{4});
}

TEST_CASE("special ones are left out on decoding if asked") {
    const Tokenizer tokenizer = words({{.content = "<s>", .special = true}, {.content = "foo"}});
    const std::vector<TokenId> ids{3, 1, 4};
    CHECK(tokenizer.decode(ids) == "<s> a foo");
    CHECK(tokenizer.decode(ids, {.skip_special_tokens = true}) == "a foo");
    CHECK(tokenizer.is_special(3));
    CHECK_FALSE(tokenizer.is_special(4));
    CHECK(tokenizer.token_id("<s>") == 3);
    CHECK(tokenizer.token_text(4) == "foo");
    CHECK(tokenizer.vocabulary_size() == 5);
}

TEST_CASE("ids that are no token's, or out of range, are errors") {
    const Tokenizer tokenizer = words({});
    CHECK_THROWS_WITH_AS(tokenizer.decode(std::vector<TokenId>{3}), "expected a token id below 3, got 3",
                         Error);
    TokenizerParts parts{WordLevel(vocabulary_of({"[UNK]"}), "[UNK]")};
    parts.added_tokens = {{.content = "x", .id = 0xFFFFFFFF}};
    CHECK_THROWS_AS(Tokenizer(std::move(parts)), Error);
}
