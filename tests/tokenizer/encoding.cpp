#include "tenon/tokenizer/encoding.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "encoded.hpp"
#include "tenon/core/error.hpp"
#include "tenon/core/parallel.hpp"
#include "tenon/tokenizer/post_processors.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/word_level.hpp"

using namespace tenon;
using namespace tokenizer_tests;

namespace {

using Ids = std::vector<TokenId>;
using Mask = std::vector<std::uint8_t>;

/// Of the words a to d, 3 to 6, with 1 before and 2 after each text.
Tokenizer words() {
    TokenizerParts parts{WordLevel(vocabulary_of({"[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d"}), "[UNK]")};
    parts.pre_tokenizer = {pre_tokenizer::WhitespaceSplit{}};
    parts.post_processor = {post_processor::BertProcessing{{"[SEP]", 2}, {"[CLS]", 1}}};
    return Tokenizer(std::move(parts));
}

Tokenizer cut_at_6(TruncationStrategy strategy, Side side) {
    return words().with_truncation(
        TruncationOptions{.max_length = 6, .strategy = strategy, .direction = side});
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("one text is truncated at an end, so that the template's tokens fit") {
    const Tokenizer right = cut_at_6(TruncationStrategy::longest_first, Side::right);
    CHECK(tokens_of(right, "a b c d a b") ==
          Tokens{{1, 0, 0}, {3, 0, 1}, {4, 2, 3}, {5, 4, 5}, {6, 6, 7}, {2, 0, 0}});
    CHECK(right.encode_ids("a b c d a b") == Ids{1, 3, 4, 5, 6, 2});
    CHECK(right.encode_ids("a") == Ids{1, 3, 2});
    CHECK(right.encode_ids("a b c d a b", {.truncate = false}).size() == 8);
    CHECK(right.encode_ids("a b c d a b", {.add_special_tokens = false}) == Ids{3, 4, 5, 6, 3, 4});
    const Tokenizer left = cut_at_6(TruncationStrategy::longest_first, Side::left);
    CHECK(tokens_of(left, "a b c d a b") ==
          Tokens{{1, 0, 0}, {5, 4, 5}, {6, 6, 7}, {3, 8, 9}, {4, 10, 11}, {2, 0, 0}});
    CHECK(words().with_truncation(TruncationOptions{.max_length = 2}).encode_ids("a b") == Ids{1, 2});
}

TEST_CASE("of two texts, the longer one loses tokens first") {
    const Tokenizer right = cut_at_6(TruncationStrategy::longest_first, Side::right);
    CHECK(right.encode_pair("a b c d", "a b c").ids == Ids{1, 3, 4, 2, 3, 2});
    CHECK(right.encode_pair("a b", "a b c d").ids == Ids{1, 3, 2, 3, 4, 2});
    const Tokenizer left = cut_at_6(TruncationStrategy::longest_first, Side::left);
    CHECK(left.encode_pair("a b c d", "a b c").ids == Ids{1, 5, 6, 2, 5, 2});
    CHECK(left.encode_pair("a b", "a b c d").ids == Ids{1, 4, 2, 5, 6, 2});
}

TEST_CASE("one of two texts may be the one that is truncated") {
    const Tokenizer first = cut_at_6(TruncationStrategy::only_first, Side::right);
    CHECK(first.encode_ids("a b c d a b") == Ids{1, 3, 4, 5, 6, 2});
    CHECK_THROWS_AS(first.encode_pair("a b", "a b c d"), Error);
    const Tokenizer second = cut_at_6(TruncationStrategy::only_second, Side::right);
    CHECK(second.encode_pair("a b", "a b c d").ids == Ids{1, 3, 4, 2, 3, 2});
    CHECK_THROWS_AS(second.encode_pair("a b c d", "a b c"), Error);
    CHECK_THROWS_WITH_AS(second.encode("a b c d a b"),
                         "expected two texts, as only the second may be truncated, got one", Error);
    CHECK(tokens_of(cut_at_6(TruncationStrategy::only_second, Side::left).encode_pair("a b", "a b c d")) ==
          Tokens{{1, 0, 0}, {3, 0, 1}, {4, 2, 3}, {2, 0, 0}, {6, 6, 7}, {2, 0, 0}});
}

TEST_CASE("padding lengthens to a number of tokens") {
    const Tokenizer tokenizer =
        words().with_padding(PaddingOptions{.fixed_length = 6, .pad_id = 9, .pad_type_id = 7});
    const Encoding encoding = tokenizer.encode("a b");
    CHECK(tokens_of(encoding) == Tokens{{1, 0, 0}, {3, 0, 1}, {4, 2, 3}, {2, 0, 0}, {9, 0, 0}, {9, 0, 0}});
    CHECK(encoding.type_ids == std::vector<std::uint32_t>{0, 0, 0, 0, 7, 7});
    CHECK(encoding.special_mask == Mask{1, 0, 0, 1, 1, 1});
    CHECK(encoding.attention_mask == Mask{1, 1, 1, 1, 0, 0});
    CHECK(tokenizer.encode_ids("a b") == Ids{1, 3, 4, 2, 9, 9});
    CHECK(tokenizer.encode_ids("a b", {.pad = false}) == Ids{1, 3, 4, 2});
    CHECK(tokenizer.encode_ids("a b c d a b").size() == 8);  // is not cut
}

TEST_CASE("padding may be on the left, to a multiple") {
    const Tokenizer tokenizer =
        words().with_padding(PaddingOptions{.direction = Side::left, .pad_to_multiple_of = 4, .pad_id = 9});
    CHECK(tokenizer.encode_ids("a b c") == Ids{9, 9, 9, 1, 3, 4, 5, 2});
    CHECK(tokenizer.encode("a").attention_mask == Mask{0, 1, 1, 1});
}

TEST_CASE("a batch is padded to the longest of it") {
    const Tokenizer tokenizer =
        words().with_padding(PaddingOptions{.direction = Side::left, .pad_to_multiple_of = 4, .pad_id = 9});
    const std::vector<std::string_view> texts{"a", "a b c d"};
    const std::vector<Encoding> batch = tokenizer.encode_batch(texts);
    CHECK(batch[0].ids == Ids{9, 9, 9, 9, 9, 1, 3, 2});
    CHECK(batch[1].ids == Ids{9, 9, 1, 3, 4, 5, 6, 2});
    CHECK(batch[0].attention_mask == Mask{0, 0, 0, 0, 0, 1, 1, 1});
}

TEST_CASE("a batch has the encodings of its texts, in order") {
    const Tokenizer tokenizer = words();
    std::vector<std::string> texts;
    for (int i = 0; i < 1000; ++i) texts.push_back(std::string(i % 3, ' ') + "a b c" + (i % 2 ? " d" : ""));
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    const std::vector<Encoding> batch = tokenizer.encode_batch(views);
    const std::vector<Ids> ids = tokenizer.encode_ids_batch(views);
    REQUIRE(batch.size() == texts.size());
    bool all_right = true;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const Encoding alone = tokenizer.encode(texts[i]);
        all_right &= batch[i].ids == alone.ids && batch[i].offsets == alone.offsets && ids[i] == alone.ids;
    }
    CHECK(all_right);
    CHECK(tokenizer.encode_batch(std::vector<std::string_view>{}).empty());
}

TEST_CASE("an error in a batch is the caller's") {
    const std::vector<std::string_view> texts{"a", "\xFF", "b"};
    CHECK_THROWS_WITH_AS(words().encode_batch(texts, {.refuse_invalid_utf8 = true}),
                         "expected text in UTF-8, got other bytes at byte 0", Error);
    CHECK(words().encode_ids_batch(texts)[1] == Ids{1, 0, 2});
}

TEST_CASE("a word without a token is an error to whoever encodes a long text, on any number of threads") {
    TokenizerParts parts{WordLevel(vocabulary_of({"a"}), "[UNK]")};
    parts.pre_tokenizer = {pre_tokenizer::WhitespaceSplit{}};
    const Tokenizer tokenizer(std::move(parts));
    std::string text;
    for (int i = 0; i < 1 << 20; ++i) text += "a ";
    const int before = thread_count();
    for (const int threads : {1, 3}) {
        set_thread_count(threads);
        CHECK(tokenizer.encode_ids(text) == Ids(1 << 20, 0));
        std::string wrong = text;
        wrong[text.size() / 4] = 'b';
        CHECK_THROWS_AS(tokenizer.encode_ids(wrong), Error);
    }
    set_thread_count(before);
}
