#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support.hpp"
#include "tenon/core/parallel.hpp"
#include "tenon/tokenizer/pretokenize.hpp"
#include "tenon/tokenizer/stream.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/train.hpp"
#include "tenon/tokenizer/vocabulary_files.hpp"
#include "tenon/tokenizer/write_vocabulary_files.hpp"

using tenon::byte_pair_merges;
using tenon::byte_pair_parts;
using tenon::SpecialTokens;
using tenon::TokenId;
using tenon::Tokenizer;
using Ids = std::vector<TokenId>;
using Merges = std::vector<std::pair<std::string, std::string>>;

namespace {

/// The 256 bytes by value, then the results of the merges, then more tokens.
Tokenizer make_tokenizer(const Merges& merges, const std::vector<std::string>& special = {}) {
    std::vector<std::string> vocabulary;
    for (int byte = 0; byte < 256; ++byte) vocabulary.emplace_back(1, static_cast<char>(byte));
    for (const auto& [left, right] : merges) vocabulary.push_back(left + right);
    return Tokenizer(byte_pair_parts(vocabulary, merges, special));
}

/// Joins the leftmost pair of lowest rank, again and again, looking at all pairs each time.
Ids reference_ids(const Tokenizer& tokenizer, std::string_view text) {
    std::map<std::pair<std::string, std::string>, std::size_t> ranks;
    for (const auto& merge : byte_pair_merges(tokenizer)) ranks.emplace(merge, ranks.size());
    Ids ids;
    while (!text.empty()) {
        const std::string_view piece = text.substr(0, tenon::first_piece_size(text));
        text.remove_prefix(piece.size());
        std::vector<std::string> tokens;
        for (const char byte : piece) tokens.emplace_back(1, byte);
        for (;;) {
            std::size_t best_rank = ranks.size(), best = 0;
            for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
                const auto found = ranks.find({tokens[i], tokens[i + 1]});
                if (found != ranks.end() && found->second < best_rank) {
                    best_rank = found->second;
                    best = i;
                }
            }
            if (best_rank == ranks.size()) break;
            tokens[best] += tokens[best + 1];
            tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(best) + 1);
        }
        for (const std::string& token : tokens)
            ids.push_back(tokenizer.token_id(tenon::detail::written_bytes(token)).value());
    }
    return ids;
}

Ids streamed_ids(const Tokenizer& tokenizer, std::string_view text, std::mt19937& generator,
                 std::size_t longest_part) {
    Ids ids;
    const auto sink = [&](TokenId id) { ids.push_back(id); };
    tenon::StreamEncoder encoder(tokenizer);
    while (!text.empty()) {
        const std::string_view part = text.substr(0, generator() % (longest_part + 1));
        encoder.push(part, sink);
        text.remove_prefix(part.size());
    }
    encoder.finish(sink);
    return ids;
}

/// A tokenizer with merges of many lengths, of text and of bytes that are no text.
Tokenizer rich_tokenizer(const std::vector<std::string>& special = {}) {
    std::mt19937 generator(3);
    return tenon::train_byte_pair_tokenizer(
        tokenizer_tests::random_text(generator, tokenizer_tests::text_parts(), 20000) + std::string(600, 'a'),
        900, special);
}

}  // namespace

TEST_CASE("merges apply by rank, not from left to right") {
    const Tokenizer tokenizer = make_tokenizer({{"b", "c"}, {"a", "b"}, {"a", "bc"}});
    CHECK(tokenizer.vocabulary_size() == 259);
    CHECK(tokenizer.encode_ids("ab") == Ids{257});
    CHECK(tokenizer.encode_ids("abc") == Ids{258});
    CHECK(tokenizer.encode_ids("abab bc") == Ids{257, 257, ' ', 256});
    CHECK(tokenizer.encode_ids("").empty());
    CHECK(tokenizer.decode_bytes(Ids{258, 257}) == "abcab");
}

TEST_CASE("of equal pairs in a run the leftmost merges first") {
    const Tokenizer tokenizer = make_tokenizer({{"a", "a"}, {"aa", "aa"}});
    CHECK(tokenizer.encode_ids("aaa") == Ids{256, 'a'});
    CHECK(tokenizer.encode_ids("aaaaaaa") == Ids{257, 256, 'a'});
    const Ids ids = tokenizer.encode_ids(std::string(1003, 'a'));
    CHECK(ids.size() == 252);
    CHECK(ids[250] == 256);
    CHECK(ids[251] == 'a');
}

TEST_CASE("no merge reaches over the border of two pieces") {
    const Tokenizer tokenizer = make_tokenizer({{"a", " "}, {" ", "b"}, {"a", " b"}});
    CHECK(tokenizer.encode_ids("a b") == Ids{'a', 257});
}

TEST_CASE("a token that its merges do not lead to is decoded but never encoded") {
    std::vector<std::string> vocabulary;
    for (int byte = 0; byte < 256; ++byte) vocabulary.emplace_back(1, static_cast<char>(byte));
    vocabulary.insert(vocabulary.end(), {"ab", "abc"});
    const Tokenizer tokenizer(byte_pair_parts(vocabulary, Merges{{"a", "b"}}));
    CHECK(tokenizer.encode_ids("abc") == Ids{256, 'c'});
    CHECK(tokenizer.decode_bytes(Ids{257}) == "abc");
}

TEST_CASE("encoding agrees with the plain algorithm on random text, short pieces and long") {
    const Tokenizer tokenizer = rich_tokenizer();
    REQUIRE(tokenizer.vocabulary_size() == 900);
    std::mt19937 generator(4);
    int differences = 0;
    for (int i = 0; i < 2000; ++i) {
        const std::string text =
            tokenizer_tests::random_text(generator, tokenizer_tests::text_parts(), generator() % 30);
        differences += tokenizer.encode_ids(text) != reference_ids(tokenizer, text);
    }
    // Around the sizes at which keys, caches and the merging algorithm change.
    for (std::size_t size = 1; size < 150; ++size) {
        for (const std::vector<std::string>& parts :
             {std::vector<std::string>{"a"}, {"a", "b"}, {"a", "b", "Z", "don"}, {"é", "Ж", "中", "한"}}) {
            std::string text = tokenizer_tests::random_text(generator, parts, size);
            text.resize(size);
            differences += tokenizer.encode_ids(text) != reference_ids(tokenizer, text);
        }
    }
    CHECK(differences == 0);
}

TEST_CASE("whatever the bytes, decoding gives them back") {
    const Tokenizer tokenizer = rich_tokenizer({"<|endoftext|>"});
    std::mt19937 generator(5);
    int differences = 0;
    for (std::size_t size = 0; size < 300; ++size) {
        for (int i = 0; i < 5; ++i) {
            const std::string bytes = tokenizer_tests::random_bytes(generator, size);
            differences += tokenizer.decode_bytes(tokenizer.encode_ids(bytes)) != bytes;
            differences += tokenizer.decode_bytes(tokenizer.encode_ids(
                               bytes, {.special_tokens = SpecialTokens::ordinary})) != bytes;
        }
    }
    const std::string large = tokenizer_tests::random_bytes(generator, 300000);
    differences += tokenizer.decode_bytes(tokenizer.encode_ids(large)) != large;
    CHECK(differences == 0);
}

TEST_CASE("a megabyte of one letter is encoded") {
    const Tokenizer tokenizer = make_tokenizer({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}});
    const std::string text(std::size_t{1} << 20, 'a');
    CHECK(tokenizer.encode_ids(text) == Ids(text.size() / 8, 258));
    std::mt19937 generator(6);
    CHECK(streamed_ids(tokenizer, text, generator, 5000) == Ids(text.size() / 8, 258));
}

TEST_CASE("a text of megabytes has the same ids from several threads as from one") {
    const Tokenizer tokenizer = rich_tokenizer({"<|end|>"});
    std::mt19937 generator(7);
    std::string text;
    // Some nine parts, which threads share out.
    while (text.size() < std::size_t{9} << 18)
        text += tokenizer_tests::random_text(generator, tokenizer_tests::text_parts(), 500) + "<|end|>";
    const int before = tenon::thread_count();
    tenon::set_thread_count(1);
    const Ids alone = tokenizer.encode_ids(text);
    tenon::set_thread_count(3);
    const Ids together = tokenizer.encode_ids(text);
    tenon::set_thread_count(before);
    CHECK(together == alone);
    CHECK(tokenizer.decode_bytes(together) == text);
}

TEST_CASE("special tokens become their ids, are text like any other, or an error") {
    const Tokenizer tokenizer = make_tokenizer({{"<", "|"}}, {"<|end|>"});
    REQUIRE(tokenizer.added_tokens().size() == 1);
    CHECK(tokenizer.added_tokens()[0].content == "<|end|>");
    CHECK(tokenizer.token_id("<|end|>") == 257u);
    CHECK(tokenizer.is_special(257));
    CHECK_FALSE(tokenizer.is_special(256));
    CHECK(tokenizer.encode_ids("a<|end|><|end|>b") == Ids{'a', 257, 257, 'b'});
    CHECK(tokenizer.encode_ids("<|end") == Ids{256, 'e', 'n', 'd'});
    CHECK(tokenizer.encode_ids("<|end|>", {.special_tokens = SpecialTokens::ordinary}) ==
          Ids{256, 'e', 'n', 'd', '|', '>'});
    CHECK_THROWS_WITH_AS(tokenizer.encode_ids("a<|end|>", {.special_tokens = SpecialTokens::refused}),
                         "expected text without special tokens, got \"<|end|>\" at byte 1", tenon::Error);
    CHECK(tokenizer.decode_bytes(Ids{257, 'b'}) == "<|end|>b");
}

TEST_CASE("the text before a special token ends there") {
    // Of two spaces before a word the second belongs to it, but before a special token they are one piece.
    const Tokenizer tokenizer = make_tokenizer({{" ", " "}}, {"<|end|>"});
    CHECK(tokenizer.encode_ids("  <|end|>") == Ids{256, 257});
    CHECK(tokenizer.encode_ids("  x") == Ids{' ', ' ', 'x'});
}

TEST_CASE("of special tokens that overlap, the leftmost and then the longest wins") {
    const Tokenizer tokenizer = make_tokenizer({}, {"<|a|>", "<|a|><|a|>", "|>x", "<|"});
    const TokenId one = 256, two = 257, tail = 258, start = 259;
    CHECK(tokenizer.encode_ids("<|a|><|a|><|a|>") == Ids{two, one});
    CHECK(tokenizer.encode_ids("<|a|>x") == Ids{one, 'x'});
    CHECK(tokenizer.encode_ids("a|>x") == Ids{'a', tail});
    CHECK(tokenizer.encode_ids("<|a<|a|>") == Ids{start, 'a', one});
}

TEST_CASE("a special token that the vocabulary holds keeps its id") {
    const Tokenizer tokenizer = make_tokenizer({{"a", "b"}}, {"ab", "!"});
    CHECK(tokenizer.vocabulary_size() == 257);
    CHECK(tokenizer.encode_ids("cab!") == Ids{'c', 256, '!'});
    // It cuts the text like any special token.
    CHECK(make_tokenizer({{"c", "a"}}).encode_ids("cab") == Ids{256, 'b'});
    CHECK(make_tokenizer({{"c", "a"}, {"a", "b"}}, {"ab"}).encode_ids("cab") == Ids{'c', 257});
}

TEST_CASE("a stream gives the ids of the whole text, wherever it is cut") {
    const Tokenizer tokenizer = rich_tokenizer({"<|a|>", "<|a|><|b|>", "'t"});
    std::vector<std::string> parts = tokenizer_tests::text_parts();
    parts.insert(parts.end(), {"<|a|>", "<|b|>", "<|a|"});
    std::mt19937 generator(7);
    int differences = 0;
    for (int i = 0; i < 200; ++i) {
        const std::string text = tokenizer_tests::random_text(generator, parts, generator() % 40);
        differences += streamed_ids(tokenizer, text, generator, 5) != tokenizer.encode_ids(text);
    }
    for (const std::size_t longest_part : {100, 5000, 200000, 1000000}) {
        const std::string text = tokenizer_tests::random_text(generator, parts, 150000);
        differences += streamed_ids(tokenizer, text, generator, longest_part) != tokenizer.encode_ids(text);
    }
    CHECK(differences == 0);
}

TEST_CASE("a stream that has finished begins anew") {
    const Tokenizer tokenizer = make_tokenizer({{"a", "b"}});
    tenon::StreamEncoder encoder(tokenizer);
    Ids ids;
    const auto sink = [&](TokenId id) { ids.push_back(id); };
    for (int text = 0; text < 2; ++text) {
        encoder.push("a", sink);
        encoder.finish(sink);
    }
    encoder.push("b", sink);
    encoder.push("", sink);
    encoder.finish(sink);
    CHECK(ids == Ids{'a', 'a', 'b'});
}

TEST_CASE("a stream delivers ids before the text ends") {
    const Tokenizer tokenizer = make_tokenizer({});
    tenon::StreamEncoder encoder(tokenizer);
    std::size_t count = 0;
    for (int i = 0; i < 100; ++i) {
        std::string word(5000, 'x');
        word += ' ';
        encoder.push(word, [&](TokenId) { ++count; });
    }
    CHECK(count > 300000);
}

TEST_CASE("text is decoded with U+FFFD in place of what is not UTF-8") {
    const Tokenizer tokenizer = make_tokenizer({});
    CHECK(tokenizer.decode(Ids{'a', 0xE4, 0xB8, 0xAD, 0xFF, 'b', 0xE4, 0xB8}) == "a中\uFFFDb\uFFFD");
    CHECK(tokenizer.decode_bytes(Ids{0xFF, 0xE4}) == "\xFF\xE4");
}

TEST_CASE("a stream decoder shows whole characters only") {
    const Tokenizer tokenizer = make_tokenizer({{"\xB8\xAD", "\xE6"}, {"\xB8", "\xAD"}});
    tenon::StreamDecoder decoder(tokenizer);
    CHECK(decoder.push(0xE4) == "");
    CHECK(decoder.push(256) == "中");
    CHECK(decoder.push(0x96) == "");
    CHECK(decoder.push(0x87) == "文");
    CHECK(decoder.push(0xF0) == "");
    CHECK(decoder.push('a') == "\uFFFDa");
    CHECK(decoder.push(0xF0) == "");
    CHECK(decoder.flush() == "\uFFFD");
    CHECK(decoder.flush() == "");
    CHECK_THROWS_AS(decoder.push(1000), tenon::Error);
}

TEST_CASE("what a stream decoder returns is valid UTF-8 and in all the decoded text") {
    const Tokenizer tokenizer = rich_tokenizer();
    std::mt19937 generator(8);
    bool all_right = true;
    for (int i = 0; i < 500; ++i) {
        Ids ids;
        for (std::size_t n = generator() % 30; n > 0; --n) {
            ids.push_back(
                static_cast<TokenId>(tokenizer_tests::below(generator, tokenizer.vocabulary_size())));
        }
        tenon::StreamDecoder decoder(tokenizer);
        std::string all;
        for (const TokenId id : ids) {
            const std::string text = decoder.push(id);
            all_right &= tenon::detail::is_valid_utf8(text);
            all += text;
        }
        all += decoder.flush();
        all_right &= all == tokenizer.decode(ids);
    }
    CHECK(all_right);
}

TEST_CASE("ids beyond the vocabulary are refused") {
    const Tokenizer tokenizer = make_tokenizer({});
    CHECK_THROWS_WITH_AS(tokenizer.decode(Ids{1, 256}), "expected a token id below 256, got 256",
                         tenon::Error);
    CHECK_THROWS_AS(tokenizer.token_bytes(0xFFFFFFFF), tenon::Error);
    CHECK_FALSE(tokenizer.token_id("ab").has_value());
}

TEST_CASE("a vocabulary that contradicts itself is refused") {
    std::vector<std::string> bytes;
    for (int byte = 0; byte < 256; ++byte) bytes.emplace_back(1, static_cast<char>(byte));
    const auto with = [&](const std::string& token) {
        std::vector<std::string> vocabulary = bytes;
        vocabulary.push_back(token);
        return vocabulary;
    };
    CHECK_THROWS_WITH_AS(byte_pair_parts(std::vector<std::string>(bytes.begin() + 1, bytes.end()), Merges{}),
                         "expected a token for each byte, got none for byte 0", tenon::Error);
    CHECK_THROWS_WITH_AS(byte_pair_parts(with("a"), Merges{}), "expected each token once, got \"a\" twice",
                         tenon::Error);
    CHECK_THROWS_WITH_AS(byte_pair_parts(with(""), Merges{}),
                         "expected tokens with at least one byte, got an empty one", tenon::Error);
    CHECK_THROWS_WITH_AS(byte_pair_parts(bytes, Merges{{"a", " "}}),
                         "merge 0: expected a token of the vocabulary, got \"aĠ\"", tenon::Error);
    CHECK_THROWS_WITH_AS(byte_pair_parts(with("ab"), Merges{{"a", "b"}, {"a", "b"}}),
                         "merge 1: expected each merge once, got \"a b\" again", tenon::Error);
    const auto special = [&](const std::vector<std::string>& tokens) {
        byte_pair_parts(bytes, Merges{}, tokens);
    };
    CHECK_THROWS_AS(special({""}), tenon::Error);
    CHECK_THROWS_AS(special({"x", "y", "x"}), tenon::Error);
    CHECK_THROWS_AS(special({"a\xff"}), tenon::Error);
}

TEST_CASE("a tokenizer can be copied and moved") {
    Tokenizer tokenizer = make_tokenizer({{"a", "b"}}, {"<|end|>"});
    const Tokenizer copy = tokenizer;
    const Tokenizer moved = std::move(tokenizer);
    CHECK(copy.encode_ids("ab<|end|>") == Ids{256, 257});
    CHECK(moved.encode_ids("ab<|end|>") == Ids{256, 257});
}
