#include "tenon/tokenizer/gguf_tokenizer.hpp"

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "formats.hpp"
#include "support.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/published_patterns.hpp"

using tenon::Tokenizer;
using tenon::support::GgufFile;
using tokenizer_tests::error_of;
using tokenizer_tests::gguf_file;
using tokenizer_tests::Ids;
using tokenizer_tests::load;
using tokenizer_tests::load_message;

namespace {

std::vector<std::string> written_bytes() {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) {
        const char character = static_cast<char>(byte);
        tokens.push_back(tenon::detail::written_bytes({&character, 1}));
    }
    return tokens;
}

/// GPT-2's kind: 256 bytes, three tokens that merges make, and a special one.
GgufFile byte_pairs(const std::string& pre = "gpt-2") {
    std::vector<std::string> tokens = written_bytes();
    for (const char* token : {"Ġt", "he", "Ġthe", "<|end|>"}) tokens.push_back(token);
    std::vector<std::int32_t> types(tokens.size(), 1);
    types.back() = 3;
    return gguf_file()
        .text("model", "gpt2")
        .text("pre", pre)
        .texts("tokens", tokens)
        .integers("token_type", types)
        .texts("merges", {"Ġ t", "h e", "Ġt he"})
        .integer("bos_token_id", 259);
}

/// Llama's kind: special tokens 0 to 2, bytes 3 to 258, and others from 259 up.
GgufFile sentence_piece(std::vector<std::string> bytes = tokenizer_tests::byte_tokens()) {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<std::int32_t> types = {2, 3, 3};
    std::vector<float> scores = {0, 0, 0};
    for (const std::string& byte : bytes) {
        tokens.push_back(byte);
        types.push_back(6);
        scores.push_back(0);
    }
    float score = -10;
    for (const char* token : {"▁", "t", "h", "e", "he", "▁the", "▁t"}) {
        tokens.push_back(token);
        types.push_back(1);
        scores.push_back(score++);
    }
    return gguf_file()
        .text("model", "llama")
        .texts("tokens", tokens)
        .reals("scores", scores)
        .integers("token_type", types)
        .integer("bos_token_id", 1)
        .integer("eos_token_id", 2);
}

}  // namespace

TEST_CASE("byte pairs of a GGUF file") {
    const Tokenizer tokenizer = load(byte_pairs().bytes());
    CHECK(tokenizer.encode_ids("see the<|end|>\xff") == Ids{'s', 'e', 'e', 258, 259, 255});
    CHECK(tokenizer.decode(Ids{258, 259}) == " the<|end|>");
    CHECK(load(byte_pairs().bytes(2)).vocabulary_size() == 260);
}

TEST_CASE("how text is cut hangs on a name, and so do the tokens around it") {
    CHECK(load(byte_pairs("llama-bpe").bytes()).encode_ids("a 1234") ==
          Ids{259, 'a', ' ', '1', '2', '3', '4'});
    CHECK(load(byte_pairs("llama-bpe").flag("add_bos_token", false).bytes()).encode_ids("a") == Ids{'a'});
    CHECK(load(byte_pairs("gpt-2").flag("add_bos_token", true).bytes()).encode_ids("a") == Ids{259, 'a'});
    const std::string message = load_message(byte_pairs("gpt-9").bytes());
    CHECK(message.starts_with("file: tokenizer.ggml.pre: expected one of gpt-2, phi-2, "));
    CHECK(message.ends_with(", default, got \"gpt-9\""));
}

// Expected values are those of Hugging Face tokenizers 0.23.3 for the same patterns.
TEST_CASE("each name cuts text by its patterns, one after the other") {
    using Pieces = std::vector<std::string>;
    const auto pieces = [](std::string_view name, std::string_view text) {
        tenon::detail::CutText cut;
        cut.text.assign(text, 0, true);
        cut.start();
        for (const std::string_view expression : tenon::detail::published_pattern(name).expressions)
            tenon::pre_tokenizer::Split{tenon::TextPattern::regex(std::string(expression))}.apply(cut, true);
        Pieces all;
        for (const tenon::Span piece : cut.pieces)
            all.emplace_back(tenon::detail::part(cut.text.text(), piece));
        return all;
    };
    CHECK(pieces("superbpe", "a 1234567, 12") == Pieces{"a ", "1", "234", "567", ", ", "12"});
    CHECK(pieces("tiny_aya", "It's 1234567") == Pieces{"It's", " ", "1", "234", "567"});
    CHECK(pieces("afmoe", "1234567 你好 ab") == Pieces{"1", "234", "567", " ", "你好", " ab"});
    CHECK(pieces("chameleon", "<sentinel:12>IMGIMGABZ\tab 12,    x") ==
          Pieces{"<", "sentinel", ":", "1", "2", ">", "IMGIMGABZ", "\t", "ab", " ", "1", "2", ",", "    ",
                 "x"});
    CHECK(pieces("kimi-k2", "中文abc你好's 1234") == Pieces{"中文", "abc", "你好", "'s", " ", "123", "4"});
    CHECK(pieces("youtu", "你好，한국abc's 12") == Pieces{"你好", "，", "한국", "abc's", " ", "1", "2"});
    CHECK(pieces("seed-coder", "x.\n\n12 y") == Pieces{"x", ".", "\n\n", "1", "2", " y"});
    CHECK(pieces("exaone-moe", "나는 학교 12!/\n\n") == Pieces{"나는 학교", " ", "1", "2", "!/\n", "\n"});
    CHECK(pieces("jais-2", "a       b") == Pieces{"a", "    ", "  ", " b"});
    CHECK(pieces("minicpm5", "It's 12345\n\nx") == Pieces{"It", "'s", " ", "123", "45", "\n\n", "x"});
    CHECK(pieces("k2-horizon", "न\u200dम 12345") == Pieces{"न\u200dम", " ", "123", "45"});
    CHECK(pieces("laguna", "ab\n\ncd  ef") == Pieces{"ab", "\n\n", "cd", " ", " ef"});
    CHECK(pieces("ufakzeka", "Ankara'da 12\n\nx") == Pieces{"Ankara", "'da", " ", "1", "2", "\n\n", "x"});
    CHECK(pieces("spark2_5", "x!\n\ny\n\n1234 你好a") ==
          Pieces{"x", "!", "\n", "\n", "y", "\n", "\n", "1", "2", "3", "4", " ", "你好", "a"});
    CHECK(pieces("gpt-2", "ab\n\ncd  ef") == Pieces{"ab", "\n", "\n", "cd", " ", " ef"});
}

TEST_CASE("byte pairs of characters of a GGUF file, with a mark for spaces") {
    const auto file = [](const char* pre, const char* model = "gpt2") {
        std::vector<std::string> tokens = {"<s>"};
        std::vector<std::int32_t> types = {3};
        for (const std::string& byte : tokenizer_tests::byte_tokens()) {
            tokens.push_back(byte);
            types.push_back(6);
        }
        for (const char* token : {"▁", "t", "h", "é", "\n", "\n\n", "▁t", "th", "▁th", "t"}) {
            tokens.push_back(token);
            types.push_back(1);
        }
        return gguf_file()
            .text("model", model)
            .text("pre", pre)
            .texts("tokens", tokens)
            .integers("token_type", types)
            .texts("merges", {"▁ t", "t h", "▁t h"})
            .integer("bos_token_id", 0);
    };
    constexpr tenon::TokenId space = 257, h = 259, e = 260, line = 261, lines = 262, space_t = 263,
                             space_th = 265, t = 266;  // of the two tokens "t" the last counts
    const auto byte = [](int value) { return static_cast<tenon::TokenId>(1 + value); };
    const Tokenizer gemma = load(file("gemma4").flag("add_bos_token", false).bytes());
    CHECK(gemma.encode_ids("th  t\n\n\né") == Ids{0, 264, space, space_t, lines, line, e});
    CHECK(gemma.encode_ids("x", {.add_special_tokens = false}) == Ids{byte('x')});
    CHECK(gemma.decode(Ids{space_th, lines, byte('x')}) == " th\n\nx");
    CHECK(load(file("default", "gemma4").bytes()).encode_ids(" th") == Ids{0, space_th});
    CHECK(load(file("granite-embed-multi-311m").bytes()).encode_ids(" t") == Ids{0, space_t});

    const Tokenizer sarvam = load(file("sarvam-moe").bytes());
    CHECK(sarvam.encode_ids("t th\n\n") == Ids{t, space_th, line, line});

    const Tokenizer words = load(file("mmbert").bytes());
    CHECK(words.encode_ids("th  t\n\nh") == Ids{space_th, space, space_t, lines, space, h});
    CHECK(words.decode(Ids{space_th, space, space_t}) == "th  t");

    const Tokenizer plain = load(file("whitespace", "whitespace").bytes());
    CHECK(plain.encode_ids(" th\n t\th T") == Ids{264, t, h, byte('T')});
    CHECK(
        load(file("whitespace", "whitespace").flag("normalizer.lowercase", true).bytes()).encode_ids("TH") ==
        Ids{264});
}

TEST_CASE("bytes that the vocabulary lacks are left out of text") {
    const Tokenizer tokenizer = load(gguf_file()
                                         .text("model", "gpt2")
                                         .text("pre", "gpt-2")
                                         .texts("tokens", {"a", "b", "ab", "Ġ"})
                                         .texts("merges", {"a b"})
                                         .bytes());
    CHECK(tokenizer.encode_ids("ab xa") == Ids{2, 3, 0});
    CHECK(tokenizer.decode(Ids{2, 3, 0}) == "ab a");
}

TEST_CASE("SentencePiece's byte pairs of a GGUF file") {
    const Tokenizer tokenizer = load(sentence_piece().bytes());
    CHECK(tokenizer.encode_ids("the he") == Ids{1, 264, 259, 263});
    CHECK(tokenizer.encode_ids("é", {.add_special_tokens = false}) == Ids{259, 3 + 0xC3, 3 + 0xA9});
    CHECK(tokenizer.decode(Ids{1, 264, 259, 3 + 0xC3, 3 + 0xA9}, {.skip_special_tokens = true}) == "the é");
    CHECK(load(sentence_piece().flag("add_space_prefix", false).bytes()).encode_ids("the") ==
          Ids{1, 260, 263});
    CHECK(load(sentence_piece().flag("add_eos_token", true).bytes()).encode_ids("the") == Ids{1, 264, 2});
    CHECK(load_message(sentence_piece({"<0x00>"}).bytes()) ==
          "file: expected a token for each byte, got none for <0x01>");
}

TEST_CASE("pieces of words of a GGUF file") {
    const Tokenizer tokenizer = load(gguf_file()
                                         .text("model", "bert")
                                         .texts("tokens", {"[UNK]", "[CLS]", "[SEP]", "▁un", "do", "▁,"})
                                         .integers("token_type", {2, 3, 3, 1, 1, 1})
                                         .integer("unknown_token_id", 0)
                                         .integer("bos_token_id", 1)
                                         .integer("seperator_token_id", 2)
                                         .bytes());
    CHECK(tokenizer.encode_ids("Undo, x") == Ids{1, 3, 4, 5, 0, 2});
    CHECK(tokenizer.decode(Ids{3, 4, 5}) == "undo ,");
}

TEST_CASE("the likeliest tokens of a GGUF file") {
    const Tokenizer tokenizer = load(gguf_file()
                                         .text("model", "t5")
                                         .texts("tokens", {"<pad>", "</s>", "<unk>", "▁", "▁a", "b", "<x>"})
                                         .reals("scores", {0, 0, 0, -4, -2, -3, 0})
                                         .integers("token_type", {3, 3, 2, 1, 1, 1, 4})
                                         .integer("unknown_token_id", 2)
                                         .integer("eos_token_id", 1)
                                         .bytes());
    CHECK(tokenizer.encode_ids("ab b") == Ids{4, 5, 3, 5, 1});
    CHECK(tokenizer.encode_ids("abc<x>", {.add_special_tokens = false}) == Ids{4, 5, 2, 6});
}

TEST_CASE("a GGUF file that says too little is refused with what is missing") {
    CHECK(load_message(gguf_file().bytes()) ==
          "file: expected texts under the key tokenizer.ggml.tokens, got none");
    CHECK(load_message(gguf_file().texts("tokens", {"a"}).bytes()) ==
          "file: expected texts under the key tokenizer.ggml.model, got none");
    CHECK(load_message(gguf_file().texts("tokens", {"a"}).text("model", "rwkv").bytes()) ==
          "file: tokenizer.ggml.model: expected gpt2, gemma4, whitespace, llama, bert or t5, got rwkv");
    CHECK(
        load_message(gguf_file().texts("tokens", {"a"}).text("model", "gpt2").text("pre", "gpt-2").bytes()) ==
        "file: expected texts under the key tokenizer.ggml.merges, got none");
    CHECK(load_message(gguf_file().texts("tokens", {"a", "b"}).integers("token_type", {1}).bytes()) ==
          "file: expected a type for each token, got fewer");
    CHECK(load_message(
              gguf_file().texts("tokens", {"a", "b"}).text("model", "t5").reals("scores", {0}).bytes()) ==
          "file: expected a score for each token, got fewer");
    CHECK(load_message(gguf_file().texts("tokens", {"\xff"}).bytes()) ==
          "file: expected tokens in UTF-8, got other bytes");
}

TEST_CASE("tokens that come twice and merges of what is no token are refused") {
    CHECK(
        load_message(
            gguf_file().text("model", "gpt2").texts("tokens", {"a", "a"}).texts("merges", {"a a"}).bytes()) ==
        "file: expected each token once, got \"a\" twice");
    CHECK(
        load_message(
            gguf_file().text("model", "gpt2").texts("tokens", {"a", "b"}).texts("merges", {"a b"}).bytes()) ==
        "file: expected merges of tokens into a token, got \"a b\"");
    CHECK(load_message(
              gguf_file().text("model", "gpt2").texts("tokens", {"a", "b"}).texts("merges", {"a"}).bytes()) ==
          "file: expected merges of tokens into a token, got \"a\"");
}

TEST_CASE("a header that promises more than the file holds asks for no memory") {
    const std::uint64_t many = std::uint64_t{1} << 60;
    for (const std::uint32_t type : {0u, 4u, 6u, 8u, 10u, 12u}) {
        const std::string message = load_message(gguf_file().begin_list("tokens", type, many).bytes());
        CHECK(message.starts_with("file: byte 69: tokenizer.ggml.tokens: expected 1152921504606846976 "));
        CHECK(message.ends_with(", got 0 bytes: the file is cut off"));
    }
    std::string file = gguf_file().bytes();
    file.replace(16, 8, std::string("\0\0\0\0\0\0\0\x10", 8));
    CHECK(load_message(file) ==
          "file: byte 24: expected 1152921504606846976 elements of at least 13 bytes, got 0 bytes: the file "
          "is cut off");
    CHECK(load_message(gguf_file().begin_list("tokens", 9, 1).bytes() + "x")
              .find("of a known type, got one of type 9") != std::string::npos);
    CHECK(load_message(gguf_file().bytes(1)) ==
          "file: byte 4: expected a GGUF file of version 2 or 3, little-endian, got version 1");
    CHECK(load_message("GGUF") == "file: byte 4: expected 4 bytes, got 0 bytes: the file is cut off");
    CHECK(load_message(gguf_file().flag("a", true).flag("a", true).bytes()) ==
          "file: expected one value of the key tokenizer.ggml.a, got several");
}

TEST_CASE("a GGUF file that is cut off anywhere is refused") {
    const std::string whole = sentence_piece().bytes();
    for (std::size_t size = 4; size < whole.size(); ++size) {
        const std::string message =
            error_of([&] { tenon::parse_gguf_tokenizer(whole.substr(0, size), "file"); });
        CAPTURE(message);
        CHECK(message.starts_with("file: byte "));
        CHECK(message.ends_with(" bytes: the file is cut off"));
    }
}

TEST_CASE("no damage to a GGUF file crashes the reader") {
    std::mt19937 generator(4);
    for (const std::string& whole : {byte_pairs().bytes(), sentence_piece().bytes()}) {
        for (int i = 0; i < 400; ++i) {
            std::string damaged = whole;
            damaged[tokenizer_tests::below(generator, damaged.size())] = static_cast<char>(generator());
            try {
                const Tokenizer tokenizer(tenon::parse_gguf_tokenizer(damaged, "damaged"));
                tokenizer.decode(tokenizer.encode_ids("the \xff<s>é"));
            } catch (const tenon::Error&) {
            }
        }
    }
}
