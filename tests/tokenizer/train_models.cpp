#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/core/parallel.hpp>
#include <tenon/io/atomic_file.hpp>
#include <tenon/tokenizer/train.hpp>
#include <tenon/tokenizer/train_unigram.hpp>
#include <tenon/tokenizer/train_word_piece.hpp>
#include <tenon/tokenizer/write_vocabulary_files.hpp>

#include "../io/temporary_folder.hpp"

using namespace tenon;

namespace {

WordCounts counted(std::initializer_list<std::pair<std::string_view, std::uint64_t>> words) {
    WordCounts counts;
    for (const auto& [word, count] : words) counts.add(word, count);
    return counts;
}

/// Words of a made-up language, each of up to three syllables, some far more frequent than others.
WordCounts syllables(unsigned seed) {
    std::mt19937 generator(seed);
    const std::vector<std::string> parts = {"ka", "to", "mi", "ren", "shu", "é", "lo", "x"};
    WordCounts counts;
    for (int i = 0; i < 2000; ++i) {
        std::string word;
        for (unsigned left = 1 + generator() % 3; left > 0; --left)
            word += parts[generator() % (1 + generator() % parts.size())];
        counts.add("\u2581" + word);
    }
    return counts;
}

}  // namespace

TEST_CASE("counts are the same for any number of threads, in the order in which words came first") {
    const TemporaryFolder folder;
    std::string text;
    std::mt19937 generator(7);
    while (text.size() < (std::size_t{9} << 20)) text += "w" + std::to_string(generator() % 5000) + " ";
    write_file(folder / "text", text);
    write_file(folder / "more", "w1 last");
    const std::vector<std::string> paths = {folder / "text", folder / "more"};
    const int before = thread_count();
    std::vector<std::string> trained;
    for (const int threads : {1, 3}) {
        set_thread_count(threads);
        BytePairTrainer trainer({"<|end|>"});
        std::int64_t seen = 0;
        trainer.read(paths, [&](std::int64_t bytes) { seen = bytes; });
        CHECK(seen == static_cast<std::int64_t>(text.size()) + 7);
        std::string merges;
        for (const auto& [left, right] : byte_pair_merges(trainer.train(400)))
            merges += left + "|" + right + "\n";
        trained.push_back(merges);
    }
    set_thread_count(before);
    CHECK(trained[0] == trained[1]);
    BytePairTrainer whole({"<|end|>"});
    whole.push(text);
    whole.finish();
    whole.push("w1 last");
    std::string merges;
    for (const auto& [left, right] : byte_pair_merges(whole.train(400))) merges += left + "|" + right + "\n";
    CHECK(merges == trained[0]);
}

TEST_CASE(
    "of pairs equally frequent, the one of the greater bytes is merged first, or of the tokens that came "
    "earlier") {
    const auto first_merge = [](MergeTies ties) {
        BytePairTrainer trainer;
        trainer.push("ab cd");
        return byte_pair_merges(trainer.train(257, BytePairTrainingOptions{.ties = ties})).at(0);
    };
    CHECK(first_merge(MergeTies::greater_bytes) == std::pair<std::string, std::string>("c", "d"));
    CHECK(first_merge(MergeTies::lower_ids) == std::pair<std::string, std::string>("a", "b"));
}

TEST_CASE("pairs that come too rarely are not merged") {
    BytePairTrainer trainer;
    trainer.push("abab ab xy");
    CHECK(byte_pair_merges(trainer.train(1000, BytePairTrainingOptions{.minimum_count = 3})) ==
          std::vector<std::pair<std::string, std::string>>{{"a", "b"}});
}

TEST_CASE("WordPiece: special tokens, characters, characters within words, then merges") {
    const WordCounts words = counted({{"low", 5}, {"lower", 2}, {"wow", 1}});
    const std::vector<std::string> tokens =
        train_word_piece(words, {.vocabulary_size = 14, .special_tokens = {"[UNK]"}});
    CHECK(std::vector<std::string>(tokens.begin(), tokens.begin() + 10) ==
          std::vector<std::string>{"[UNK]", "e", "l", "o", "r", "w", "##o", "##w", "##e", "##r"});
    CHECK(tokens.size() <= 14);
    CHECK(tokens[10] == "##ow");  // in eight words
    CHECK(std::find(tokens.begin(), tokens.end(), "low") != tokens.end());
    CHECK_THROWS_WITH_AS(train_word_piece(words, {.vocabulary_size = 3}),
                         doctest::Contains("expected a vocabulary of at least"), Error);
}

TEST_CASE("WordPiece drops characters beyond the alphabet") {
    const std::vector<std::string> tokens = train_word_piece(
        counted({{"aaab", 9}, {"a", 5}}), {.vocabulary_size = 50, .maximum_alphabet_size = 1});
    for (const std::string& token : tokens) CHECK((token[0] == '[' || token.find('b') == std::string::npos));
}

TEST_CASE(
    "unigram: all characters and the parts that make the text likely, probabilities that sum to about one") {
    const WordCounts words = syllables(1);
    const std::vector<ScoredToken> tokens = train_unigram(words, {.vocabulary_size = 60});
    CHECK(tokens.size() <= 60);
    std::set<std::string> texts;
    double sum = 0;
    for (const ScoredToken& token : tokens) {
        texts.insert(token.text);
        sum += std::exp(token.score);
    }
    CHECK(texts.size() == tokens.size());
    CHECK(sum == doctest::Approx(1).epsilon(0.05));
    for (const char* character : {"\u2581", "é", "x", "k", "u"}) CHECK(texts.count(character) == 1);
    CHECK((texts.count("ka") == 1 || texts.count("\u2581ka") == 1));
    CHECK(std::is_sorted(tokens.begin(), tokens.end(),
                         [](const ScoredToken& a, const ScoredToken& b) { return a.score > b.score; }));
    CHECK_THROWS_WITH_AS(train_unigram(words, {.vocabulary_size = 3}),
                         doctest::Contains("expected a vocabulary of at least"), Error);
}

TEST_CASE("unigram training has the same bits on any number of threads") {
    const WordCounts words = syllables(2);
    const int before = thread_count();
    set_thread_count(1);
    const std::vector<ScoredToken> one = train_unigram(words, {.vocabulary_size = 40});
    set_thread_count(3);
    const std::vector<ScoredToken> three = train_unigram(words, {.vocabulary_size = 40});
    set_thread_count(before);
    REQUIRE(one.size() == three.size());
    for (std::size_t i = 0; i < one.size(); ++i) {
        CHECK(one[i].text == three[i].text);
        CHECK(one[i].score == three[i].score);
    }
}
