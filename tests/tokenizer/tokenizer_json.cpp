#include "tenon/tokenizer/tokenizer_json.hpp"

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "formats.hpp"
#include "support.hpp"

using tenon::Tokenizer;
using tokenizer_tests::error_of;
using tokenizer_tests::Ids;
using tokenizer_tests::load;
using tokenizer_tests::load_message;

namespace {

/// A tokenizer.json of a model, and of further members.
std::string file_of(const std::string& model, const std::string& more = "") {
    return "{\"version\": \"1.0\", \"model\": {" + model + "}" + (more.empty() ? "" : ", " + more) + "}";
}

const std::string word_level = R"("type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?")";
const std::string by_spaces = R"("pre_tokenizer": {"type": "WhitespaceSplit"})";

std::string byte_level(const std::string& merges) {
    return file_of("\"type\": \"BPE\", \"vocab\": {" + tokenizer_tests::byte_members() +
                       R"(, "Ġt": 256, "he": 257, "Ġthe": 258}, "merges": )" + merges,
                   R"("added_tokens": [{"id": 259, "content": "<|end|>", "special": true}],
                      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
                      "decoder": {"type": "ByteLevel"})");
}

/// The message of a model that is wrong, after the file's name.
std::string model_message(const std::string& model) { return load_message(file_of(model)); }

std::string characters(const std::string& vocabulary, const std::string& merges) {
    return model_message("\"type\": \"BPE\", \"vocab\": {" + vocabulary + "}, \"merges\": [" + merges + "]");
}

}  // namespace

TEST_CASE("byte pairs of bytes") {
    const Tokenizer tokenizer = load(byte_level(R"([["Ġ", "t"], ["h", "e"], ["Ġt", "he"]])"));
    CHECK(tokenizer.vocabulary_size() == 260);
    CHECK(tokenizer.encode_ids("see the<|end|>") == Ids{'s', 'e', 'e', 258, 259});
    CHECK(tokenizer.encode_ids("\xff") == Ids{255});
    CHECK(tokenizer.decode(Ids{258, 0xC3, 0xA9, 259}) == " theé<|end|>");
    CHECK(tokenizer.decode(Ids{259, 0xC3}, {.skip_special_tokens = true}) == "\uFFFD");
}

TEST_CASE("merges are pairs, or two tokens with a space between") {
    const Tokenizer pairs = load(byte_level(R"([["Ġ", "t"], ["h", "e"], ["Ġt", "he"]])"));
    const Tokenizer lines = load(byte_level(R"(["#version: 0.2", "Ġ t", "h e", "Ġt he"])"));
    CHECK(lines.encode_ids("on the the") == pairs.encode_ids("on the the"));
}

TEST_CASE("byte pairs of characters, and bytes for those that are missing") {
    const Tokenizer tokenizer = load(file_of(
        R"("type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
           "vocab": {"<unk>": 0, "<s>": 1, "<0xC3>": 2, "<0xA9>": 3, "▁": 4, "h": 5, "e": 6, "he": 7, "▁he": 8},
           "merges": ["h e", "▁ he"])",
        R"("added_tokens": [{"id": 1, "content": "<s>", "special": true}],
           "normalizer": {"type": "Sequence", "normalizers": [
               {"type": "Prepend", "prepend": "▁"},
               {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
           "post_processor": {"type": "TemplateProcessing",
               "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
               "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
               "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
           "decoder": {"type": "Sequence", "decoders": [
               {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
               {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})"));
    CHECK(tokenizer.encode_ids("he hé") == Ids{1, 8, 4, 5, 2, 3});
    CHECK(tokenizer.encode_ids("he xy", {.add_special_tokens = false}) == Ids{8, 4, 0});
    CHECK(tokenizer.decode(Ids{1, 8, 4, 5, 2, 3}, {.skip_special_tokens = true}) == "he hé");
}

TEST_CASE("pieces of words") {
    const Tokenizer tokenizer = load(file_of(
        R"("type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
           "max_input_chars_per_word": 8, "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "un": 3, "##do": 4, ",": 5})",
        R"("normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                          "strip_accents": null, "lowercase": true},
           "pre_tokenizer": {"type": "BertPreTokenizer"},
           "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
           "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true})"));
    CHECK(tokenizer.encode_ids("Undo, undododo") == Ids{1, 3, 4, 5, 3, 4, 4, 4, 2});
    CHECK(tokenizer.encode_ids("undodododo do") == Ids{1, 0, 0, 2});
    CHECK(tokenizer.decode(Ids{3, 4, 5, 3}) == "undo, un");
}

TEST_CASE("the likeliest tokens") {
    const Tokenizer tokenizer = load(file_of(
        R"("type": "Unigram", "unk_id": 0, "vocab": [["?", 0.0], ["▁a", -1.5], ["b", -2], ["ab", -3.25], ["▁", -4]])",
        R"("pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
           "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})"));
    CHECK(tokenizer.encode_ids("ab b") == Ids{1, 2, 4, 2});
    CHECK(tokenizer.encode_ids("abc") == Ids{1, 2, 0});
    CHECK(tokenizer.decode(Ids{1, 2, 4, 2}) == "ab b");
}

TEST_CASE("whole words") {
    const Tokenizer tokenizer = load(file_of(word_level, by_spaces));
    CHECK(tokenizer.encode_ids("a b c") == Ids{0, 1, 2});
    CHECK(tokenizer.decode(Ids{0, 1, 2}) == "a b ?");
}

TEST_CASE("old files don't say of what type the model is") {
    CHECK(load(file_of(R"("vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"])")).encode_ids("abb") ==
          Ids{2, 1});
    CHECK(
        load(file_of(R"("vocab": {"a": 0, "##b": 1}, "continuing_subword_prefix": "##")")).encode_ids("ab") ==
        Ids{0, 1});
    CHECK(load(file_of(R"("vocab": [["?", 0.0], ["a", -1.0]], "unk_id": 0)")).encode_ids("aa") == Ids{1, 1});
}

TEST_CASE("parts may stand in any order, and members that nobody knows between them") {
    const std::string text =
        "{\"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, \"vocab\": [1, {\"merges\": 2}], \"model\": "
        "{\"vocab\": {\"a\": 0, \"?\": 1}, \"more\": [[[]]], \"unk_token\": \"?\", \"type\": \"WordLevel\"}}";
    CHECK(load(text).encode_ids("a b") == Ids{0, 1});
}

TEST_CASE("added tokens that the model has keep its ids, and others get the next, whatever the file says") {
    const Tokenizer tokenizer = load(file_of(word_level, by_spaces + R"(, "added_tokens": [
        {"id": 7, "content": "b", "special": false, "normalized": false},
        {"id": 9, "content": "<end>", "special": true}, {"id": 12, "content": "", "special": true}])"));
    CHECK(tokenizer.encode_ids("ab<end>") == Ids{0, 1, 3});
    CHECK(tokenizer.vocabulary_size() == 4);
}

TEST_CASE("truncation and padding") {
    const Tokenizer tokenizer = load(file_of(word_level, by_spaces + R"(,
        "truncation": {"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 5}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 2,
                    "pad_type_id": 0, "pad_token": "?"})"));
    CHECK(tokenizer.encode_ids("a b a a") == Ids{2, 2, 1, 0, 0});
    CHECK(tokenizer.encode_ids("a b a a", {.truncate = false, .pad = false}) == Ids{0, 1, 0, 0});
}

TEST_CASE("what is no JSON is refused with its place") {
    const std::string start = "file: expected a tokenizer's JSON, got at byte ";
    CHECK(load_message("{\"model\": ") == start + "10: Invalid value.");
    CHECK(load_message("{\"a\": []} x") ==
          start + "10: The document root must not be followed by other values.");
    CHECK(load_message(std::string("{\"a\": []}\0", 10)) == start + "9: a NUL byte");
    CHECK(load_message("{\"\xff\": []}") == "file: expected JSON in UTF-8, got other bytes");
    CHECK(load_message("{\"a\": " + std::string(2000, '[')).find("nesting deeper than 256 levels") !=
          std::string::npos);
}

TEST_CASE("a file of something else is refused") {
    CHECK(load_message("") == "file: expected a tokenizer's file, got something else");
    CHECK(load_message("hello\n") == "file: expected a tokenizer's file, got something else");
    CHECK(load_message("{}") == "file: the whole text: expected a key \"model\", got none");
    CHECK(load_message("{\"model\": [1]}") == "file: model: expected an object, got an array");
}

TEST_CASE("what is wrong in a model is refused with its place") {
    CHECK(model_message("\"type\": \"BPE\"") ==
          "file: model: expected a model with a vocabulary, got an object");
    CHECK(model_message("\"type\": \"XYZ\", \"vocab\": {}") ==
          "file: model.type: expected one of BPE WordPiece WordLevel Unigram, got a text \"XYZ\"");
    CHECK(model_message("\"type\": \"BPE\", \"vocab\": {\"a\": 0}") ==
          "file: model: expected a model with merges, got an object");
    CHECK(model_message("\"type\": \"WordLevel\", \"vocab\": {\"a\": \"0\"}")
              .find("the text \"0\" in the vocabulary") != std::string::npos);
    CHECK(model_message("\"type\": \"WordLevel\", \"vocab\": {\"a\": 0.5}")
              .find("a token's id that is no whole number") != std::string::npos);
    CHECK(model_message("\"type\": \"WordLevel\", \"vocab\": {\"a\": -1}")
              .find("a token's id that is no whole number") != std::string::npos);
    CHECK(model_message("\"type\": \"Unigram\", \"vocab\": [[\"a\"]]").find("a token without a score") !=
          std::string::npos);
    CHECK(model_message("\"type\": \"Unigram\", \"vocab\": {\"a\": 0}") ==
          "file: model.vocab: expected the vocabulary of a model of this type, got null");
    CHECK(model_message("\"type\": \"Unigram\", \"vocab\": [[\"a\", -1]], \"unk_id\": 1") ==
          "file: model: expected an unknown token below 1, got 1");
    CHECK(model_message("\"vocab\": {\"a\": 0}, \"vocab\": {\"b\": 0}").find("a second \"vocab\"") !=
          std::string::npos);
}

TEST_CASE("ids and tokens that come twice are refused, and ids beyond all bounds") {
    const std::string start = "file: model: expected ";
    CHECK(characters(R"("a": 0, "b": 0)", "") == start + "each token id once, got 0 for \"a\" and for \"b\"");
    CHECK(characters(R"("a": 0, "a": 1)", "") == start + "each token once, got \"a\" twice");
    CHECK(characters(R"("a": 1152921504606846976)", "") ==
          start + "token ids below 16777216, got 4294967295 for \"a\"");
    CHECK(characters(R"("a": 16777216)", "") == start + "token ids below 16777216, got 16777216 for \"a\"");
}

TEST_CASE("merges of what is no token are refused") {
    CHECK(characters(R"("a": 0, "b": 1)", R"("a b")") ==
          "file: model: merge 0: expected a token of the vocabulary, got \"ab\"");
    CHECK(characters(R"("a": 0, "ab": 1)", R"("a b")") ==
          "file: model: merge 0: expected a token of the vocabulary, got \"b\"");
    CHECK(characters(R"("a": 0)", R"("ab")").find("no two tokens with a space between in the merges") !=
          std::string::npos);
    CHECK(characters(R"("a": 0)", R"(["a"])").find("a merge that is no two tokens in the merges") !=
          std::string::npos);
    CHECK(characters(R"("a": 0)", R"(["a", "a", "a"])").find("the text \"a\" in the merges") !=
          std::string::npos);
    CHECK(characters(R"("a": 0)", R"({})").find("an object in the merges") != std::string::npos);
}

TEST_CASE("merges make longer tokens of shorter ones, so none can make what it is made of") {
    // Each of the two tokens is made before the other: neither is reached.
    const Tokenizer tokenizer =
        load(file_of(R"("type": "BPE", "vocab": {"a": 0, "aa": 1, "aaa": 2}, "merges": ["aa a", "a aa"])"));
    CHECK(tokenizer.encode_ids("aaaa") == Ids{0, 0, 0, 0});
    // The empty token, which text never begins with, would make something of nothing for ever.
    CHECK(
        load(file_of(R"("type": "BPE", "vocab": {"": 0, "a": 1}, "merges": [["", "a"]])")).encode_ids("aa") ==
        Ids{1, 1});
}

TEST_CASE("a vocabulary that lacks bytes has no token for them") {
    const Tokenizer tokenizer =
        load(file_of(R"("type": "BPE", "vocab": {"a": 0, "Ġ": 1, "Ġa": 2}, "merges": ["Ġ a"])",
                     R"("pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
                                                "decoder": {"type": "ByteLevel"})"));
    CHECK(tokenizer.encode_ids("ab a\xff") == Ids{0, 2});
    CHECK(tokenizer.decode(Ids{0, 2}) == "a a");
}

TEST_CASE("parts of no known name are refused, and parts of other kinds") {
    CHECK(load_message(file_of(word_level, R"("normalizer": {"type": "Sort"})")) ==
          "file: normalizer.type: expected the name of a normalizer, got a text \"Sort\"");
    CHECK(load_message(file_of(word_level,
                               R"("pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": 1}]})")) ==
          "file: pre_tokenizer.pretokenizers.0.type: expected a text, got 1");
    CHECK(load_message(file_of(word_level, R"("decoder": [])")) ==
          "file: decoder: expected an object, got an array");
    CHECK(load_message(file_of(word_level, R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"},
                                              "behavior": "Isolated"})"))
              .starts_with("file: pre_tokenizer.pattern.Regex: "));
    CHECK(load_message(file_of(word_level,
                               R"("normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAA"})")) ==
          "file: normalizer.precompiled_charsmap: expected a text in base 64, got a text \"AAA\"");
    CHECK(load_message(file_of(word_level, R"("added_tokens": [{"id": -1, "content": "x"}])")) ==
          "file: added_tokens.0.id: expected a whole number below 4294967296, got -1");
    CHECK(load_message(file_of(word_level, R"("post_processor": {"type": "TemplateProcessing", "pair": [],
              "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "special_tokens": {}})"))
              .starts_with("file: post_processor.special_tokens: expected the special token \"x\""));
}

TEST_CASE("text that a model has no token for is refused when it comes") {
    const Tokenizer words = load(file_of(R"("type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?")"));
    CHECK(words.encode_ids("a") == Ids{0});
    CHECK(error_of([&] { words.encode_ids("b"); }) ==
          "expected the unknown token \"?\" in the vocabulary, for text that has no other, got none");
}

TEST_CASE("ids of no token are refused") {
    const Tokenizer tokenizer =
        load(file_of(R"("type": "WordLevel", "vocab": {"a": 0, "b": 2}, "unk_token": "a")"));
    CHECK(error_of([&] { tokenizer.decode(Ids{0, 3}); }) == "expected a token id below 3, got 3");
    CHECK(error_of([&] { tokenizer.decode(Ids{1}); }) == "expected the id of a token, got 1, which none has");
    CHECK(error_of([&] { tokenizer.decode(Ids{0xFFFFFFFF}); }) ==
          "expected a token id below 3, got 4294967295");
}

TEST_CASE("bytes that are no UTF-8 are encoded one by one, or refused on request") {
    const Tokenizer tokenizer = load(byte_level("[]"));
    const std::string text = "a\xC3(\xFF\xE4\xB8";
    CHECK(tokenizer.encode_ids(text) == Ids{'a', 0xC3, '(', 0xFF, 0xE4, 0xB8});
    CHECK(tokenizer.decode_bytes(tokenizer.encode_ids(text)) == text);
    CHECK(tokenizer.decode(tokenizer.encode_ids(text)) == "a\uFFFD(\uFFFD\uFFFD");
    CHECK(error_of([&] { tokenizer.encode_ids(text, {.refuse_invalid_utf8 = true}); }) ==
          "expected text in UTF-8, got other bytes at byte 1");
    CHECK(error_of([&] { tokenizer.decode(Ids{0xC3}, {.refuse_invalid_utf8 = true}); }) ==
          "expected tokens of UTF-8");
}

TEST_CASE("a line of megabytes") {
    const Tokenizer tokenizer = load(byte_level(R"([["Ġ", "t"], ["h", "e"], ["Ġt", "he"]])"));
    const std::size_t size = std::size_t{1} << 22;
    CHECK(tokenizer.encode_ids(std::string(size, 'x')) == Ids(size, 'x'));
    const std::string spaces(size, ' ');
    CHECK(tokenizer.decode(tokenizer.encode_ids(spaces)) == spaces);
}

TEST_CASE("no damage to the file crashes the reader") {
    const std::string whole = file_of(
        R"("type": "BPE", "unk_token": "?", "vocab": {"?": 0, "a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]])",
        by_spaces +
            R"(, "added_tokens": [{"id": 4, "content": "<e>", "special": true}], "decoder": {"type": "Fuse"})");
    std::mt19937 generator(5);
    int refused = 0;
    for (int i = 0; i < 3000; ++i) {
        const std::string damaged = tokenizer_tests::damaged(generator, whole, i);
        try {
            const Tokenizer tokenizer(tenon::parse_tokenizer_json(damaged, "damaged"));
            tokenizer.decode(tokenizer.encode_ids("ab <e> \xff"));
        } catch (const tenon::Error&) {
            ++refused;
        }
    }
    CHECK(refused > 1500);
}
