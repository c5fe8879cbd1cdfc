#include "tenon/tokenizer/train.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support.hpp"
#include "tenon/tokenizer/pretokenize.hpp"
#include "tenon/tokenizer/write_vocabulary_files.hpp"

using tenon::byte_pair_merges;
using tenon::TokenId;
using tenon::Tokenizer;
using Merges = std::vector<std::pair<std::string, std::string>>;

namespace {

/// Counts all pairs again before each merge.
Merges reference_merges(std::string_view text, std::size_t merge_count) {
    std::map<std::vector<std::string>, std::size_t> words;
    while (!text.empty()) {
        const std::size_t size = tenon::first_piece_size(text);
        std::vector<std::string> word;
        for (const char byte : text.substr(0, size)) word.emplace_back(1, byte);
        ++words[word];
        text.remove_prefix(size);
    }
    Merges merges;
    while (merges.size() < merge_count) {
        std::map<std::pair<std::string, std::string>, std::size_t> counts;
        for (const auto& [word, count] : words) {
            for (std::size_t i = 0; i + 1 < word.size(); ++i) counts[{word[i], word[i + 1]}] += count;
        }
        if (counts.empty()) break;
        // The map's order makes the last of equal counts the greatest pair.
        auto best = counts.begin();
        for (auto pair = counts.begin(); pair != counts.end(); ++pair) {
            if (pair->second >= best->second) best = pair;
        }
        const auto [left, right] = best->first;
        merges.emplace_back(left, right);
        std::map<std::vector<std::string>, std::size_t> merged_words;
        for (const auto& [word, count] : words) {
            std::vector<std::string> merged;
            for (std::size_t i = 0; i < word.size(); ++i) {
                const bool joins = i + 1 < word.size() && word[i] == left && word[i + 1] == right;
                merged.push_back(joins ? left + right : word[i]);
                i += joins;
            }
            merged_words[merged] += count;
        }
        words = merged_words;
    }
    return merges;
}

}  // namespace

TEST_CASE("merges join the most frequent pair; of equals, the greater") {
    // The words: low 5 times, lower 2, widest 3, newest 6, each after the first with a space in front.
    std::string text = "low low low low low lower lower widest widest widest";
    for (int i = 0; i < 6; ++i) text += " newest";
    const Tokenizer tokenizer = tenon::train_byte_pair_tokenizer(text, 256 + 6);
    // st and es come 9 times: st is greater. Then (e, st) 9; then (l, o), (o, w) 7: o is greater. Then (l,
    // ow) 7. Then " n", "ew", "ne", "w est" and " l" come 6 times: (w, est) is greatest.
    CHECK(byte_pair_merges(tokenizer) ==
          Merges{{"s", "t"}, {"e", "st"}, {"o", "w"}, {"l", "ow"}, {"w", "est"}, {"n", "e"}});
    CHECK(tokenizer.vocabulary_size() == 262);
    CHECK(tokenizer.encode_ids("newest") == std::vector<TokenId>{261, 260});
}

TEST_CASE("ties compare the first token, then the second, as byte strings") {
    CHECK(byte_pair_merges(tenon::train_byte_pair_tokenizer("ab ac b", 257)) == Merges{{"a", "c"}});
    // Bytes from 128 on are greater than ASCII.
    CHECK(byte_pair_merges(tenon::train_byte_pair_tokenizer("zz\né", 257)) == Merges{{"\xC3", "\xA9"}});
    CHECK(byte_pair_merges(tenon::train_byte_pair_tokenizer("aaaa", 258)) ==
          Merges{{"a", "a"}, {"aa", "aa"}});
}

TEST_CASE("ids are GPT-2's: printable bytes, other bytes, merges, special tokens") {
    const Tokenizer tokenizer = tenon::train_byte_pair_tokenizer("hi hi", 260, {"<|a|>", "<|b|>"});
    CHECK(tokenizer.token_bytes(0) == "!");
    CHECK(tokenizer.token_bytes(93) == "~");
    CHECK(tokenizer.token_bytes(94) == "\xA1");
    CHECK(tokenizer.token_bytes(187) == "\xFF");
    CHECK(tokenizer.token_bytes(188) == std::string_view("\0", 1));
    CHECK(tokenizer.token_bytes(220) == " ");
    CHECK(tokenizer.token_bytes(255) == "\xAD");
    CHECK(tokenizer.token_bytes(256) == "hi");
    CHECK(tokenizer.token_bytes(257) == " hi");
    CHECK(tokenizer.token_bytes(258) == "<|a|>");
    CHECK(tokenizer.token_bytes(259) == "<|b|>");
}

TEST_CASE("training agrees with the plain algorithm on random text full of ties") {
    std::mt19937 generator(1);
    const std::vector<std::vector<std::string>> alphabets = {
        {"a"}, {"a", "b"}, {"a", "b", "c", " "}, {"ab", "ba", " a", "aa"}, {"a", "b", " ", "\n", "1", "é"}};
    int differences = 0;
    for (int i = 0; i < 600; ++i) {
        const auto& alphabet = alphabets[tokenizer_tests::below(generator, alphabets.size())];
        const std::string text = tokenizer_tests::random_text(generator, alphabet, generator() % 150);
        const Merges expected = reference_merges(text, 60);
        // Two merges may make one token, so the vocabulary may be smaller than the merges are many.
        std::set<std::string> made;
        for (const auto& [left, right] : expected) made.insert(left + right);
        const Tokenizer tokenizer = tenon::train_byte_pair_tokenizer(text, 256 + made.size());
        Merges merges = byte_pair_merges(tokenizer);
        differences += tokenizer.vocabulary_size() != 256 + made.size();
        differences +=
            merges.size() > expected.size() || !std::equal(merges.begin(), merges.end(), expected.begin());
    }
    for (int i = 0; i < 10; ++i) {
        const std::string text = tokenizer_tests::random_text(generator, tokenizer_tests::text_parts(), 1500);
        differences += byte_pair_merges(tenon::train_byte_pair_tokenizer(text, 256 + 150)) !=
                       reference_merges(text, 150);
    }
    CHECK(differences == 0);
}

TEST_CASE("training stops where no pair is left") {
    const Tokenizer tokenizer = tenon::train_byte_pair_tokenizer("ab", 1000, {"<|end|>"});
    CHECK(byte_pair_merges(tokenizer) == Merges{{"a", "b"}});
    CHECK(tokenizer.vocabulary_size() == 258);
    CHECK(tenon::train_byte_pair_tokenizer("", 1000).vocabulary_size() == 256);
}

TEST_CASE("special tokens cut the text, never merge, and count for the vocabulary") {
    std::string text;
    for (int i = 0; i < 50; ++i) text += "ab<|end|>ab";
    const Tokenizer tokenizer = tenon::train_byte_pair_tokenizer(text, 300, {"<|end|>"});
    CHECK(byte_pair_merges(tokenizer) == Merges{{"a", "b"}, {"ab", "ab"}});
    CHECK(tokenizer.vocabulary_size() == 259);
    CHECK(tokenizer.token_id("<|end|>") == 258u);
    CHECK_FALSE(tokenizer.token_id("<|").has_value());

    // Of tokens that overlap the longest cuts.
    const Tokenizer longest =
        tenon::train_byte_pair_tokenizer("<|a|><|b|>x <|a|>", 300, {"<|a|>", "<|a|><|b|>"});
    CHECK(byte_pair_merges(longest) == Merges{});
}

TEST_CASE("a special token with the bytes of another token is that token") {
    const Tokenizer byte = tenon::train_byte_pair_tokenizer("abab", 257, {"!"});
    CHECK(byte.vocabulary_size() == 257);
    CHECK(byte_pair_merges(byte) == Merges{{"a", "b"}});
    // The text is cut at "ab", which so has no occurrence left.
    const Tokenizer cut = tenon::train_byte_pair_tokenizer("abab cd cd", 258, {"ab"});
    CHECK(byte_pair_merges(cut) == Merges{{"c", "d"}});
    CHECK(cut.vocabulary_size() == 258);
}

TEST_CASE("a vocabulary without room for bytes and special tokens is refused") {
    CHECK_THROWS_WITH_AS(
        tenon::train_byte_pair_tokenizer("a", 257, {"<|a|>", "<|b|>"}),
        "expected a vocabulary of at least 258 tokens, for the bytes and the special tokens, got 257",
        tenon::Error);
    CHECK(byte_pair_merges(tenon::train_byte_pair_tokenizer("aa", 258, {"<|a|>", "<|b|>"})).empty());
    CHECK_THROWS_AS(tenon::BytePairTrainer({"", "x"}), tenon::Error);
}

TEST_CASE("text in parts trains as the whole does, and words end with their text") {
    std::mt19937 generator(2);
    std::vector<std::string> parts = tokenizer_tests::text_parts();
    parts.push_back("<|end|>");
    const std::string text = tokenizer_tests::random_text(generator, parts, 60000);
    tenon::BytePairTrainer trainer({"<|end|>"});
    for (std::string_view rest = text; !rest.empty();) {
        const std::string_view part = rest.substr(0, 1 + generator() % 30000);
        trainer.push(part);
        rest.remove_prefix(part.size());
    }
    CHECK(byte_pair_merges(trainer.train(500)) ==
          byte_pair_merges(tenon::train_byte_pair_tokenizer(text, 500, {"<|end|>"})));

    tenon::BytePairTrainer two_texts;
    two_texts.push("a");
    two_texts.finish();
    two_texts.push("b");
    CHECK(byte_pair_merges(two_texts.train(300)).empty());
}

TEST_CASE("a trainer can go on after training") {
    tenon::BytePairTrainer trainer;
    trainer.push("ab");
    CHECK(byte_pair_merges(trainer.train(300)) == Merges{{"a", "b"}});
    trainer.push("cd cd");
    CHECK(byte_pair_merges(trainer.train(257)) == Merges{{"c", "d"}});
}

TEST_CASE("a long word costs no more than its tokens") {
    std::mt19937 generator(3);
    std::string word;
    for (int i = 0; i < 300000; ++i) word += static_cast<char>('a' + generator() % 26);
    CHECK(tenon::train_byte_pair_tokenizer(word, 3000).vocabulary_size() == 3000);
    CHECK(tenon::train_byte_pair_tokenizer(std::string(1 << 20, 'a'), 1000).vocabulary_size() == 256 + 20);
}

TEST_CASE("a trainer says how many distinct words it has read") {
    tenon::BytePairTrainer trainer({"<|end|>"});
    CHECK(trainer.distinct_words() == 0);
    trainer.push("the cat, the dog<|end|>the cat");
    trainer.finish();
    CHECK(trainer.distinct_words() == 5);  // "the", " cat", ",", " the", " dog"
}

TEST_CASE("progress is told after each new token") {
    tenon::BytePairTrainer trainer({"<|end|>"});
    trainer.push("abcd abcd abce");
    std::vector<std::pair<std::size_t, std::size_t>> seen;
    trainer.train(260, [&](std::size_t done, std::size_t total) { seen.emplace_back(done, total); });
    CHECK(seen == std::vector<std::pair<std::size_t, std::size_t>>{{258, 260}, {259, 260}, {260, 260}});
}
