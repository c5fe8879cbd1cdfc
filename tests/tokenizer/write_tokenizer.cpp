#include "tenon/tokenizer/write_tokenizer.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "formats.hpp"
#include "tenon/io/embedded_files.hpp"
#include "tenon/tokenizer/tokenizer_json.hpp"
#include "tenon/tokenizer/write_tiktoken.hpp"

using tenon::Tokenizer;
using tokenizer_tests::error_of;
using tokenizer_tests::Ids;

namespace {

Tokenizer parse(const std::string& json) { return Tokenizer(tenon::parse_tokenizer_json(json, "json")); }

const std::vector<std::string_view> texts = {
    "",     " ",   "the hthe",         " See  the\nDON'T 12345",   "caf\u00E9\u3000\u4E2D\u6587",
    "\xff", "a b", "<|end|>the <b> x", "Hello, HELLO \u00C5\u0301"};

/// Checks that what is written of a tokenizer is it, with all that it encodes and decodes, and is written so
/// again.
void check_written(const std::string& json) {
    CAPTURE(json);
    const Tokenizer tokenizer = parse(json);
    const std::string written = tenon::tokenizer_json(tokenizer);
    const Tokenizer read = parse(written);
    CHECK(tenon::tokenizer_json(read) == written);
    for (const std::string_view text : texts) {
        const tenon::Encoding expected = tokenizer.encode(text), encoding = read.encode(text);
        CHECK(encoding.ids == expected.ids);
        CHECK(encoding.offsets == expected.offsets);
        CHECK(read.decode(encoding.ids) == tokenizer.decode(expected.ids));
        CHECK(read.encode_pair(text, "a").ids == tokenizer.encode_pair(text, "a").ids);
    }
}

std::string file_of(const std::string& model, const std::string& more) {
    return "{\"model\": {" + model + "}, " + more + "}";
}

const std::string words =
    R"("type": "WordLevel", "vocab": {"?": 0, "a": 1, "b": 2, "the": 3, "▁the": 4}, "unk_token": "?")";

/// Byte pairs of bytes, with Ġt, he, Ġthe and further tokens, cut by a pattern.
std::string byte_level(const std::string& tokens, const std::string& merges, const std::string& options = "",
                       const std::string& more = "") {
    return file_of("\"type\": \"BPE\"" + options + ", \"vocab\": {" + tokenizer_tests::byte_members() +
                       tokens + "}, \"merges\": [" + merges + "]",
                   R"("pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                          {"type": "Split", "pattern": {"Regex": " ?\\p{L}+|\\p{N}{1,3}|\\s+"},
                           "behavior": "Isolated", "invert": false},
                          {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
                      "decoder": {"type": "ByteLevel"})" +
                       more);
}

const std::string three = R"(, "Ġt": 256, "he": 257, "Ġthe": 258)", three_merges = R"("Ġ t", "h e", "Ġt he")";
const std::string end =
    R"(, "added_tokens": [{"id": 259, "content": "<|end|>", "special": true, "normalized": false}])";

/// What tiktoken's form says of a tokenizer, read again.
Tokenizer through_ranks(const Tokenizer& tokenizer) {
    const TemporaryFolder folder;
    tenon::write_tiktoken(tokenizer, folder / "ranks.tiktoken");
    return Tokenizer::load(folder / "ranks.tiktoken");
}

std::string ranks_message(const std::string& json) {
    const std::string message = error_of([&] { through_ranks(parse(json)); });
    const std::string start = "expected a tokenizer that tiktoken's form can say: ", rest = ", got another";
    REQUIRE(message.starts_with(start));
    REQUIRE(message.ends_with(rest));
    return message.substr(start.size(), message.size() - start.size() - rest.size());
}

}  // namespace

TEST_CASE("a tokenizer.json is written as Hugging Face writes it") {
    const std::string written =
        tenon::tokenizer_json(parse(file_of(words, R"("pre_tokenizer": {"type": "Whitespace"})")));
    CHECK(written ==
          "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [], "
          "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Whitespace\"}, \"post_processor\": null, "
          "\"decoder\": null, \"model\": {\"type\": \"WordLevel\", \"vocab\": {\"?\": 0, \"a\": 1, \"b\": 2, "
          "\"the\": 3, \"▁the\": 4}, \"unk_token\": \"?\"}}\n");
}

TEST_CASE("models are written as they were read") {
    check_written(byte_level(three, three_merges, R"(, "ignore_merges": true)", end));
    check_written(
        file_of(R"("type": "BPE", "unk_token": "?", "fuse_unk": true, "byte_fallback": true, "vocab":
                             {"?": 0, "▁": 1, "h": 2, "e": 3, "he": 4, "<0xFF>": 5, "\"": 6, "\n": 7},
                             "merges": [["h", "e"]])",
                R"("normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"})"));
    check_written(file_of(
        R"("type": "BPE", "unk_token": "?", "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>",
                             "vocab": {"?": 0, "t": 1, "##h": 2, "##e</w>": 3, "th": 4, "the</w>": 5},
                             "merges": ["t ##h", "th ##e</w>"])",
        R"("pre_tokenizer": {"type": "WhitespaceSplit"})"));
    check_written(
        file_of(R"("type": "WordPiece", "unk_token": "[U]", "continuing_subword_prefix": "@", "vocab":
                             {"[U]": 0, "th": 1, "@e": 2, "a": 3}, "max_input_chars_per_word": 7)",
                R"("pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece"})"));
    check_written(file_of(
        R"("type": "Unigram", "unk_id": 0, "vocab": [["?", 0], ["▁", -2.5], ["the", -1e-3], ["h", -7]])",
        R"("pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
                             "split": false})"));
}

TEST_CASE("steps are written as they were read") {
    const auto with = [](const std::string& part, const std::string& step) {
        check_written(file_of(words, "\"" + part + "\": {\"type\": " + step + "}"));
    };
    for (const char* step :
         {R"("Sequence", "normalizers": [])", R"("NFC")", R"("NFD")", R"("NFKC")", R"("NFKD")",
          R"("Lowercase")", R"("StripAccents")", R"("Nmt")", R"("ByteLevel")",
          R"("Strip", "strip_left": false, "strip_right": true)", R"("Prepend", "prepend": "▁")",
          R"("Replace", "pattern": {"Regex": "\\s+"}, "content": " ")",
          R"("BertNormalizer", "clean_text": true, "handle_chinese_chars": false,
                                "strip_accents": true, "lowercase": false)",
          R"("Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}])"})
        with("normalizer", step);
    for (const char* step :
         {R"("ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true)",
          R"("BertPreTokenizer")", R"("Whitespace")", R"("WhitespaceSplit")",
          R"("Digits", "individual_digits": true)", R"("Punctuation", "behavior": "MergedWithNext")",
          R"("CharDelimiterSplit", "delimiter": "h")", R"("FixedLength", "length": 3)",
          R"("Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true)",
          R"("Split", "pattern": {"String": "h"}, "behavior": "Removed", "invert": true)"})
        with("pre_tokenizer", step);
    for (
        const char* step :
        {R"("BertProcessing", "sep": ["a", 1], "cls": ["b", 2])",
         R"("RobertaProcessing", "sep": ["a", 1], "cls": ["b", 2], "trim_offsets": false, "add_prefix_space": false)",
         R"("ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true)",
         R"("TemplateProcessing", "single": [{"SpecialToken": {"id": "a", "type_id": 0}}, {"Sequence": {"id": "A",
             "type_id": 0}}], "pair": [{"Sequence": {"id": "B", "type_id": 1}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "special_tokens": {"a": {"id": "a", "ids": [1, 2], "tokens": ["a", "b"]}})"})
        with("post_processor", step);
    for (
        const char* step :
        {R"("BPEDecoder", "suffix": "h")", R"("ByteLevel")",
         R"("WordPiece", "prefix": "t", "cleanup": false)",
         R"("Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true)", R"("Fuse")",
         R"("CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": true)", R"("ByteFallback")",
         R"("Sequence", "decoders": [{"type": "Strip", "content": "t", "start": 1, "stop": 0}, {"type": "Fuse"}])",
         R"("Replace", "pattern": {"String": "t"}, "content": "-")", R"("Sequence", "decoders": [])"})
        with("decoder", step);
}

TEST_CASE("added tokens, truncation and padding are written as they were read") {
    check_written(file_of(words, R"("added_tokens": [
        {"id": 1, "content": "a", "special": true, "single_word": true, "lstrip": true, "rstrip": false, "normalized": true},
        {"id": 5, "content": "<b>", "special": false, "rstrip": true, "normalized": false}],
        "truncation": {"direction": "Left", "max_length": 6, "strategy": "OnlyFirst", "stride": 1},
        "padding": {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": 4, "pad_id": 1,
                    "pad_type_id": 2, "pad_token": "a"})"));
    // In a vocabulary with gaps, the next free id may lie in one.
    check_written(file_of(R"("type": "WordLevel", "vocab": {"?": 0, "a": 5}, "unk_token": "?")",
                          R"("added_tokens": [{"id": 2, "content": "<b>", "special": true}])"));
}

TEST_CASE("a tokenizer with what tokenizer.json lacks is refused") {
    tokenizer_tests::Message model;
    model.message(1, tokenizer_tests::Message().text(1, "<unk>").number(3, 2))
        .message(1, tokenizer_tests::Message().text(1, "a"));
    const Tokenizer tokenizer(tenon::parse_sentence_piece(model.bytes(), "model"));
    CHECK(error_of([&] { tenon::tokenizer_json(tokenizer); }) ==
          "expected a tokenizer whose normalizer tokenizer.json has, got another");
}

TEST_CASE("a file appears whole, or the error names it") {
    const TemporaryFolder folder;
    const Tokenizer tokenizer = parse(file_of(words, R"("decoder": {"type": "Fuse"})"));
    tenon::write_tokenizer_json(tokenizer, folder / "tokenizer.json");
    CHECK(Tokenizer::load(folder.path()).encode_ids("the") == Ids{3});
    CHECK(error_of([&] {
              tenon::write_tokenizer_json(tokenizer, folder / "none/tokenizer.json");
          }).starts_with(folder / "none/tokenizer.json"));
}

TEST_CASE("a tokenizer that is part of the program is read like another") {
    static const std::string text = tenon::tokenizer_json(parse(file_of(words, R"("decoder": null)")));
    static const tenon::EmbeddedFile files[] = {
        {"embedded:words/tokenizer.json", std::as_bytes(std::span(text))}};
    static const tenon::EmbeddedFiles all(files);
    CHECK(Tokenizer::load("embedded:words").encode_ids("the") == Ids{3});
    CHECK(Tokenizer::load("embedded:words/tokenizer.json").encode_ids("the") == Ids{3});
}

TEST_CASE("byte pairs of bytes are written as tiktoken's ranks") {
    for (const std::string& options : {std::string(), std::string(R"(, "ignore_merges": true)")}) {
        const Tokenizer tokenizer = parse(byte_level(three, three_merges, options, end));
        const Tokenizer read = through_ranks(tokenizer);
        for (const std::string_view text : texts) {
            CHECK(read.encode_ids(text) == tokenizer.encode_ids(text));
            CHECK(read.decode(read.encode_ids(text)) == tokenizer.decode(tokenizer.encode_ids(text)));
        }
        CHECK(read.encode_ids(" the<|end|>") == Ids{258, 259});
    }
    tenon::TiktokenEncoding encoding;
    const std::string ranks =
        tenon::tiktoken_ranks(parse(byte_level(three, three_merges, "", end)), encoding);
    CHECK(ranks.starts_with("AA== 0\nAQ== 1\n"));
    CHECK(ranks.ends_with("/w== 255\nIHQ= 256\naGU= 257\nIHRoZQ== 258\n"));
    CHECK(encoding.pattern == R"( ?\p{L}+|\p{N}{1,3}|\s+)");
    CHECK(encoding.special_tokens == std::vector<std::pair<std::string, tenon::TokenId>>{{"<|end|>", 259}});
}

TEST_CASE("what was written as tiktoken's ranks is written as tokenizer.json with the same ids") {
    const Tokenizer tokenizer = through_ranks(parse(byte_level(three, three_merges, "", end)));
    const Tokenizer read = parse(tenon::tokenizer_json(tokenizer));
    for (const std::string_view text : texts) CHECK(read.encode_ids(text) == tokenizer.encode_ids(text));
}

TEST_CASE("a tokenizer that tiktoken's form cannot say is refused") {
    CHECK(ranks_message(file_of(words, R"("decoder": {"type": "Fuse"})")) ==
          "byte pairs of bytes, without a normalizer");
    CHECK(ranks_message(byte_level(three, three_merges, "", R"(, "normalizer": {"type": "NFC"})")) ==
          "byte pairs of bytes, without a normalizer");
    CHECK(ranks_message(
              byte_level(three, three_merges, "", R"(, "added_tokens": [{"id": 9, "content": "x"}])")) ==
          "added tokens that are special, and no more than their text");
    // The merges' order is not that of the ids.
    CHECK(ranks_message(byte_level(three, R"("h e", "Ġ t", "Ġt he")")) ==
          "merges in the order of the tokens that they make");
    // By ranks, "Ġt" and "he" would be joined; here no merge does.
    CHECK(ranks_message(byte_level(three, R"("Ġ t", "h e")")) ==
          "merges in the order of the tokens that they make");
    CHECK(ranks_message(byte_level(three, R"("Ġ t", "h e")", R"(, "ignore_merges": true)")) ==
          "merges in the order of the tokens that they make");
    // A gap, and a special token in the midst.
    CHECK(ranks_message(byte_level(R"(, "he": 257)", R"("h e")")) == "tokens of bytes with ids from 0 up");
    CHECK(ranks_message(
              byte_level(R"(, "<|x|>": 256, "he": 257)", R"("h e")", "",
                         R"(, "added_tokens": [{"id": 256, "content": "<|x|>", "special": true}])")) ==
          "special tokens after all others");
}
