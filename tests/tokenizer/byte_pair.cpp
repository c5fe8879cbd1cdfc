#include "tenon/tokenizer/byte_pair.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "encoded.hpp"
#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"

using namespace tenon;
using namespace tokenizer_tests;

namespace {

BytePair of_characters(Vocabulary vocabulary, const std::vector<NamedMerge>& merges,
                       BytePairOptions options) {
    detail::MergeTable table = merges_of(vocabulary, merges);
    return BytePair(std::move(vocabulary), std::move(table), std::move(options), BytePairUnits::characters);
}

Vocabulary letters() { return vocabulary_of({"<unk>", "a", "b", "c", "ab", "abc", "é", "bc"}); }
const std::vector<NamedMerge> letter_merges = {{"a", "b", "ab"}, {"ab", "c", "abc"}, {"b", "c", "bc"}};

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("the merge of lowest rank comes first, of equals the leftmost") {
    const TokenizerModel model = of_characters(letters(), letter_merges, {.unknown = "<unk>"});
    CHECK(tokens_of(model, "abc") == Tokens{{5, 0, 3}});
    CHECK(tokens_of(model, "abbc") == Tokens{{4, 0, 2}, {7, 2, 4}});
    CHECK(tokens_of(model, "bcabc") == Tokens{{7, 0, 2}, {5, 2, 5}});
    CHECK(tokens_of(model, "é") == Tokens{{6, 0, 2}});
    CHECK(tokens_of(model, "") == Tokens{});

    const TokenizerModel twins = of_characters(vocabulary_of({"a", "aa"}), {{"a", "a", "aa"}}, {});
    CHECK(tokens_of(twins, "aaa") == Tokens{{1, 0, 2}, {0, 2, 3}});
    CHECK(tokens_of(twins, "aaaa") == Tokens{{1, 0, 2}, {1, 2, 4}});
}

TEST_CASE("unknown characters are the unknown token, one each or one for all, or left out") {
    const TokenizerModel each = of_characters(letters(), letter_merges, {.unknown = "<unk>"});
    CHECK(tokens_of(each, "azzb") == Tokens{{1, 0, 1}, {0, 1, 2}, {0, 2, 3}, {2, 3, 4}});
    const TokenizerModel fused =
        of_characters(letters(), letter_merges, {.unknown = "<unk>", .fuse_unknown = true});
    CHECK(tokens_of(fused, "azzb") == Tokens{{1, 0, 1}, {0, 1, 3}, {2, 3, 4}});
    CHECK(tokens_of(fused, "zz") == Tokens{{0, 0, 2}});
    const TokenizerModel none = of_characters(letters(), letter_merges, {});
    CHECK(tokens_of(none, "azzb") == Tokens{{4, 0, 2}});  // whose offsets forget what is left out
}

TEST_CASE("unknown characters fall back to their bytes, if all of them are tokens") {
    Vocabulary vocabulary = vocabulary_of({"<unk>", "a", "b"});
    add_byte_tokens(vocabulary);
    const TokenizerModel model = of_characters(vocabulary, {}, {.unknown = "<unk>", .byte_fallback = true});
    CHECK(tokens_of(model, "a中b") ==
          Tokens{{1, 0, 1}, {3 + 0xE4, 1, 4}, {3 + 0xB8, 1, 4}, {3 + 0xAD, 1, 4}, {2, 4, 5}});
    const TokenizerModel without = of_characters(vocabulary_of({"<unk>", "<0xE4>", "<0xB8>"}), {},
                                                 {.unknown = "<unk>", .byte_fallback = true});
    CHECK(tokens_of(without, "中") == Tokens{{0, 0, 3}});
}

TEST_CASE("tokens within a word have a prefix, its last one a suffix") {
    const TokenizerModel prefixed = of_characters(vocabulary_of({"<unk>", "a", "##b", "##c", "##bc", "ab"}),
                                                  {{"##b", "##c", "##bc"}, {"a", "##b", "ab"}},
                                                  {.unknown = "<unk>", .continuing_prefix = "##"});
    CHECK(tokens_of(prefixed, "abc") == Tokens{{1, 0, 1}, {4, 1, 3}});
    CHECK(tokens_of(prefixed, "ab") == Tokens{{5, 0, 2}});
    CHECK(tokens_of(prefixed, "ba") == Tokens{{0, 0, 1}, {0, 1, 2}});

    const TokenizerModel suffixed =
        of_characters(vocabulary_of({"<unk>", "a", "b</w>", "b", "ab</w>", "a</w>"}),
                      {{"a", "b</w>", "ab</w>"}}, {.unknown = "<unk>", .end_suffix = "</w>"});
    CHECK(tokens_of(suffixed, "aab") == Tokens{{1, 0, 1}, {4, 1, 3}});
    CHECK(tokens_of(suffixed, "ba") == Tokens{{3, 0, 1}, {5, 1, 2}});
    CHECK(tokens_of(suffixed, "a") == Tokens{{5, 0, 1}});
}

TEST_CASE("a piece that is a token need not be merged, if merges are ignored") {
    const auto make = [](bool ignores) {
        return of_characters(vocabulary_of({"a", "b", "c", "bc", "abc"}), {{"b", "c", "bc"}},
                             {.ignore_merges = ignores});
    };
    CHECK(tokens_of(make(true), "abc") == Tokens{{4, 0, 3}});
    CHECK(tokens_of(make(true), "abcb") == Tokens{{0, 0, 1}, {3, 1, 3}, {1, 3, 4}});
    CHECK(tokens_of(make(false), "abc") == Tokens{{0, 0, 1}, {3, 1, 3}});
}

TEST_CASE("units may be bytes, of which the vocabulary has all") {
    Vocabulary vocabulary;
    for (int byte = 0; byte < 256; ++byte) {
        const char character = static_cast<char>(byte);
        vocabulary.add(detail::written_bytes({&character, 1}), vocabulary.size());
    }
    vocabulary.add(detail::written_bytes("\xC3\xA9"), 256);
    detail::MergeTable merges;
    merges.add(0xC3, 0xA9, {0, 256});
    const BytePair model(vocabulary, merges, {}, BytePairUnits::bytes);
    CHECK(tokens_of(model, "é\xFF") == Tokens{{256, 0, 2}, {0xFF, 2, 3}});
    // Parts of a character stand for the whole.
    CHECK(tokens_of(model, "a中") == Tokens{{'a', 0, 1}, {0xE4, 1, 4}, {0xB8, 1, 4}, {0xAD, 1, 4}});
    CHECK(model.token_bytes(256) == "é");
    CHECK_THROWS_AS(BytePair(vocabulary_of({"a"}), {}, {}, BytePairUnits::bytes), Error);
}

TEST_CASE("pieces of bytes fall into parts where no token goes on") {
    Vocabulary vocabulary;
    for (int byte = 0; byte < 256; ++byte) {
        const char character = static_cast<char>(byte);
        vocabulary.add(detail::written_bytes({&character, 1}), vocabulary.size());
    }
    detail::MergeTable merges;
    const auto add = [&](TokenId left, TokenId right) {
        const std::string written = std::string(vocabulary[left]) + std::string(vocabulary[right]);
        merges.add(left, right, {vocabulary.size() - 256, vocabulary.size()});
        vocabulary.add(written, vocabulary.size());
        return vocabulary.size() - 1;
    };
    const TokenId ab = add('a', 'b'), cd = add('c', 'd'), abc = add(ab, 'c'), ea = add('e', 'a');
    add(cd, cd);
    add(abc, cd);
    add(ea, abc);
    const BytePair model(vocabulary, merges, {}, BytePairUnits::bytes);
    const Tokenizer tokenizer{TokenizerParts{model}};
    std::uint32_t state = 1;
    for (int i = 0; i < 2000; ++i) {
        std::string text;
        for (std::uint32_t size = 1 + i % 40; size > 0; --size) {
            state = state * 1664525u + 1013904223u;
            text += static_cast<char>('a' + (state >> 24) % 6);
        }
        // With offsets, all of a piece is merged at once.
        REQUIRE(tokenizer.encode_ids(text) == tokenizer.encode(text).ids);
    }
}

TEST_CASE("merges that are done early change nothing, whatever the order of merges") {
    std::mt19937 generator(1);
    for (int i = 0; i < 40; ++i) {
        Vocabulary vocabulary;
        for (int byte = 0; byte < 256; ++byte) {
            const char character = static_cast<char>(byte);
            vocabulary.add(detail::written_bytes({&character, 1}), vocabulary.size());
        }
        // Tokens of a few letters, their ranks in no order.
        std::vector<TokenId> tokens = {'a', 'b', 'c', 'd'};
        std::vector<std::uint32_t> ranks(60);
        std::iota(ranks.begin(), ranks.end(), 0u);
        std::shuffle(ranks.begin(), ranks.end(), generator);
        detail::MergeTable merges;
        for (const std::uint32_t rank : ranks) {
            const TokenId left = tokens[generator() % tokens.size()];
            const TokenId right = tokens[generator() % tokens.size()];
            const std::string written = std::string(vocabulary[left]) + std::string(vocabulary[right]);
            TokenId id = vocabulary.find(written);
            if (id == detail::absent) vocabulary.add(written, id = vocabulary.size());
            merges.add(left, right, {rank, id});
            if (i % 2 == 0) tokens.push_back(id);
        }
        const Tokenizer tokenizer{TokenizerParts{BytePair(vocabulary, merges, {}, BytePairUnits::bytes)}};
        for (std::size_t size = 1; size < 60; ++size) {
            std::string text(size, 'a');
            for (char& letter : text) letter = static_cast<char>('a' + generator() % 4);
            // With offsets, none is done early.
            REQUIRE(tokenizer.encode_ids(text) == tokenizer.encode(text).ids);
        }
    }
}

// Were merges to take time with the square of a piece's length, this would take hours.
TEST_CASE("a piece may have a megabyte") {
    const TokenizerModel model =
        of_characters(vocabulary_of({"a", "aa", "aaaa"}), {{"a", "a", "aa"}, {"aa", "aa", "aaaa"}}, {});
    const std::vector<TokenId> ids = Tokenizer(TokenizerParts{model}).encode_ids(std::string(1 << 20, 'a'));
    CHECK(ids == std::vector<TokenId>(1 << 18, 2));
}

TEST_CASE("the key of a short piece is its bytes and its size, whatever follows it") {
    const std::string bytes("\0a\xFF\0bcdefghijk\0", 16);
    std::vector<detail::PieceKey> keys;
    for (std::size_t size = 0; size <= detail::PieceKey::maximum_size; ++size) {
        const std::string_view piece = std::string_view(bytes).substr(0, size);
        const detail::PieceKey key = detail::key_of_piece(piece, piece.size());
        CHECK(detail::key_of_piece(piece, bytes.size()) == key);
        CHECK(std::find(keys.begin(), keys.end(), key) == keys.end());
        keys.push_back(key);
    }
}
