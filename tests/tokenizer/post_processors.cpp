#include "tenon/tokenizer/post_processors.hpp"

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "encoded.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/word_level.hpp"

using namespace tenon;
using namespace tokenizer_tests;
namespace post = tenon::post_processor;

namespace {

const post::NamedToken cls{"[CLS]", 1}, sep{"[SEP]", 2};

Tokenizer words(PostProcessor post_processor) {
    TokenizerParts parts{WordLevel(vocabulary_of({"[UNK]", "[CLS]", "[SEP]", "a", "b", "c"}), "[UNK]")};
    parts.pre_tokenizer = {pre_tokenizer::WhitespaceSplit{}};
    parts.post_processor = std::move(post_processor);
    return Tokenizer(std::move(parts));
}

post::TemplatePiece text(std::size_t sequence, std::uint32_t type_id = 0) { return {sequence, {}, type_id}; }
post::TemplatePiece special(const char* name, std::uint32_t type_id = 0) { return {{}, name, type_id}; }

/// "Ġ" is a space.
Tokenizer byte_level(bool trims, bool has_prefix_space) {
    const Vocabulary vocabulary = vocabulary_of({"Ġ", "a", "b", "Ġa", "Ġb", "ĠĠ"});
    TokenizerParts parts{
        BytePair(vocabulary, merges_of(vocabulary, {{"Ġ", "a", "Ġa"}, {"Ġ", "b", "Ġb"}, {"Ġ", "Ġ", "ĠĠ"}}),
                 {}, BytePairUnits::characters)};
    parts.pre_tokenizer = {pre_tokenizer::ByteLevel{.add_prefix_space = has_prefix_space}};
    parts.post_processor = {post::ByteLevel{.add_prefix_space = true, .trim_offsets = trims}};
    return Tokenizer(std::move(parts));
}

using Numbers = std::vector<std::uint32_t>;
using Mask = std::vector<std::uint8_t>;

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("BertProcessing begins with one token and ends each text with another") {
    const Tokenizer tokenizer = words({post::BertProcessing{sep, cls}});
    const Encoding one = tokenizer.encode("a b");
    CHECK(tokens_of(one) == Tokens{{1, 0, 0}, {3, 0, 1}, {4, 2, 3}, {2, 0, 0}});
    CHECK(one.special_mask == Mask{1, 0, 0, 1});
    CHECK(one.attention_mask == Mask{1, 1, 1, 1});
    const Encoding two = tokenizer.encode_pair("a b", "c");
    CHECK(two.ids == Numbers{1, 3, 4, 2, 5, 2});
    CHECK(two.type_ids == Numbers{0, 0, 0, 0, 1, 1});
    CHECK(tokenizer.encode_ids("") == Numbers{1, 2});
    CHECK(tokenizer.encode_ids("a", {.add_special_tokens = false}) == Numbers{3});
}

TEST_CASE("RobertaProcessing has two tokens between texts, all of one type") {
    const Encoding two = words({post::RobertaProcessing{sep, cls}}).encode_pair("a b", "c");
    CHECK(two.ids == Numbers{1, 3, 4, 2, 2, 5, 2});
    CHECK(two.type_ids == Numbers(7, 0));
    CHECK(two.special_mask == Mask{1, 0, 0, 1, 1, 0, 1});
}

TEST_CASE("a template puts tokens and texts where it says, with the types that it says") {
    const std::vector<post::TemplateProcessing::Special> specials = {{"[CLS]", {cls}}, {"[SEP]", {sep}}};
    const Tokenizer bert = words({post::TemplateProcessing{
        {special("[CLS]"), text(0), special("[SEP]")},
        {special("[CLS]"), text(0), special("[SEP]"), text(1, 1), special("[SEP]", 1)},
        specials}});
    CHECK(bert.encode("a b").ids == Numbers{1, 3, 4, 2});
    CHECK(bert.encode_ids("a b") == Numbers{1, 3, 4, 2});
    CHECK(bert.encode_pair("a b", "c").type_ids == Numbers{0, 0, 0, 0, 1, 1});

    const Tokenizer other =
        words({post::TemplateProcessing{{text(0, 2), special("[SEP]", 3)}, {text(1, 1), text(0)}, specials}});
    CHECK(other.encode("a b").ids == Numbers{3, 4, 2});
    CHECK(other.encode("a b").type_ids == Numbers{2, 2, 3});
    CHECK(other.encode_pair("a b", "c").ids == Numbers{5, 3, 4});
    CHECK(other.encode_pair("a b", "c").type_ids == Numbers{1, 0, 0});
    CHECK(other.encode_pair("a b", "c", {.add_special_tokens = false}).ids == Numbers{5, 3, 4});
}

TEST_CASE("a special of a template may be several tokens") {
    const Tokenizer tokenizer = words(
        {post::TemplateProcessing{{special("both"), text(0)}, {text(0), text(1)}, {{"both", {cls, sep}}}}});
    CHECK(tokenizer.encode_ids("a") == Numbers{1, 2, 3});
}

TEST_CASE("without a post-processor, texts follow each other") {
    const Encoding two = words({}).encode_pair("a b", "c");
    CHECK(tokens_of(two) == Tokens{{3, 0, 1}, {4, 2, 3}, {5, 0, 1}});
    CHECK(two.type_ids == Numbers{0, 0, 1});
}

TEST_CASE("ByteLevel takes the spaces of a token from its offsets") {
    CHECK(tokens_of(byte_level(true, false), "a b  a") == Tokens{{1, 0, 1}, {4, 2, 3}, {0, 4, 4}, {3, 5, 6}});
    CHECK(tokens_of(byte_level(false, false), "a b  a") ==
          Tokens{{1, 0, 1}, {4, 1, 3}, {0, 3, 4}, {3, 4, 6}});
}

TEST_CASE("the space that was put before a text takes nothing from offsets") {
    CHECK(tokens_of(byte_level(true, true), "a b") == Tokens{{3, 0, 1}, {4, 2, 3}});
    CHECK(tokens_of(byte_level(true, true), " a b") == Tokens{{3, 0, 2}, {4, 3, 4}});
}

TEST_CASE("steps follow each other") {
    CHECK(words({post::ByteLevel{}, post::BertProcessing{sep, cls}}).encode_ids("a b") ==
          Numbers{1, 3, 4, 2});
}
