#include "tenon/tokenizer/vocabulary_files.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "../io/temporary_folder.hpp"
#include "support.hpp"
#include "tenon/io/file.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/train.hpp"
#include "tenon/tokenizer/write_vocabulary_files.hpp"

using tenon::byte_pair_merges;
using tenon::byte_pair_parts;
using tenon::read_gpt2_files;
using tenon::TokenId;
using tenon::Tokenizer;
using tenon::write_gpt2_files;
using Merges = std::vector<std::pair<std::string, std::string>>;

namespace {

/// The members of a vocab.json that has the bytes only.
std::string byte_members() {
    std::string members;
    for (int i = 0; i < 256; ++i) {
        const char byte = static_cast<char>(tenon::detail::byte_order[static_cast<std::size_t>(i)]);
        members += i > 0 ? ", " : "";
        tenon::append_json_string(members, tenon::detail::written_bytes({&byte, 1}));
        members += ": " + std::to_string(i);
    }
    return members;
}

Tokenizer load(const std::string& vocabulary, const std::string& merges) {
    const TemporaryFolder folder;
    tenon::write_file(folder.path() + "/vocab.json", vocabulary);
    tenon::write_file(folder.path() + "/merges.txt", merges);
    return Tokenizer(read_gpt2_files(folder.path()));
}

/// The message of the FileError that loading throws, from the file's name on; empty if none is thrown.
std::string message_of(const std::string& vocabulary, const std::string& merges) {
    try {
        load(vocabulary, merges);
    } catch (const tenon::FileError& error) {
        const std::string message = error.what();
        const std::size_t name = std::min(message.find("vocab.json"), message.find("merges.txt"));
        REQUIRE(name != std::string::npos);
        return message.substr(name);
    }
    return "";
}

/// By id.
std::vector<std::string> special_tokens(const Tokenizer& tokenizer) {
    std::vector<std::string> contents;
    for (const tenon::AddedToken& token : tokenizer.added_tokens()) {
        CHECK(token.special);
        contents.push_back(token.content);
    }
    return contents;
}

std::vector<std::string> sorted(std::vector<std::string> strings) {
    std::sort(strings.begin(), strings.end());
    return strings;
}

std::string vocabulary_message(const std::string& vocabulary) { return message_of(vocabulary, ""); }
std::string merges_message(const std::string& merges) {
    return message_of("{" + byte_members() + ", \"ab\": 256}", merges);
}

}  // namespace

TEST_CASE("what is saved is GPT-2's form") {
    const TemporaryFolder folder;
    write_gpt2_files(tenon::train_byte_pair_tokenizer("\"\"\n a a", 259, {"<|end|>"}),
                     folder.path() + "/new/folder");
    CHECK(tenon::read_file(folder.path() + "/new/folder/merges.txt") == "#version: 0.2\nĠ a\n\" \"\n");
    const std::string vocabulary = tenon::read_file(folder.path() + "/new/folder/vocab.json");
    CHECK(vocabulary.starts_with("{\"!\": 0, \"\\\"\": 1, \"#\": 2,"));
    CHECK(vocabulary.ends_with(", \"Ń\": 255, \"Ġa\": 256, \"\\\"\\\"\": 257, \"<|end|>\": 258}\n"));
}

TEST_CASE("what is saved is read back") {
    std::mt19937 generator(1);
    const std::string text = tokenizer_tests::random_text(generator, tokenizer_tests::text_parts(), 5000);
    // Special tokens that hold spaces, marks, what JSON escapes, and letters that could stand for other
    // bytes.
    const std::vector<std::string> special = {"<|end|>", "two words", "\"quoted\\\n\"", "<｜文｜>", "ü", "Ġt",
                                              "<ü>",     "\t"};
    const Tokenizer tokenizer = tenon::train_byte_pair_tokenizer(text, 600, special);
    const TemporaryFolder folder;
    write_gpt2_files(tokenizer, folder.path());
    const Tokenizer loaded(read_gpt2_files(folder.path()));
    REQUIRE(loaded.vocabulary_size() == tokenizer.vocabulary_size());
    CHECK(byte_pair_merges(loaded) == byte_pair_merges(tokenizer));
    bool same = true;
    for (TokenId id = 0; id < 600; ++id) same &= loaded.token_bytes(id) == tokenizer.token_bytes(id);
    CHECK(same);
    // The tab is a byte too, so it is one token, and special only to those who say so.
    CHECK(special_tokens(loaded) == std::vector<std::string>(special.begin(), special.end() - 1));
    CHECK(sorted(special_tokens(Tokenizer(read_gpt2_files(folder.path(), special)))) == sorted(special));
    const std::string all = text + "<|end|>two words<ü>ü";
    CHECK(loaded.encode_ids(all) == tokenizer.encode_ids(all));
}

TEST_CASE("tokens that no merge makes are read back as special, so they must be text") {
    std::vector<std::string> vocabulary;
    for (int byte = 0; byte < 256; ++byte) vocabulary.emplace_back(1, static_cast<char>(byte));
    vocabulary.push_back("a b");
    const TemporaryFolder folder;
    write_gpt2_files(Tokenizer(byte_pair_parts(vocabulary, Merges{})), folder.path());
    CHECK(special_tokens(Tokenizer(read_gpt2_files(folder.path()))) == std::vector<std::string>{"a b"});
    CHECK(Tokenizer(read_gpt2_files(folder.path())).token_bytes(255) == "\xff");
    vocabulary.back() = "a\xff";
    CHECK_THROWS_AS(write_gpt2_files(Tokenizer(byte_pair_parts(vocabulary, Merges{})), folder.path()),
                    tenon::Error);
}

TEST_CASE("special tokens given at loading are appended, unless the vocabulary has them") {
    const TemporaryFolder folder;
    write_gpt2_files(tenon::train_byte_pair_tokenizer("", 257, {"<|end|>"}), folder.path());
    const std::vector<std::string> special = {"<|end|>", "<|pad|>"};
    const Tokenizer tokenizer(read_gpt2_files(folder.path(), special));
    CHECK(tokenizer.vocabulary_size() == 258);
    CHECK(tokenizer.encode_ids("<|pad|><|end|>") == std::vector<TokenId>{257, 256});
    const std::vector<std::string> twice = {"<|pad|>", "<|pad|>"};
    CHECK_THROWS_AS(read_gpt2_files(folder.path(), twice), tenon::Error);
}

TEST_CASE("JSON may be written in any way that JSON allows") {
    std::string vocabulary =
        "\n{\t" + byte_members() +
        "\r\n , \"\\u0061b\" :256,\"\\uD83D\\ude00\\/\\b\\f\\n\\r\\t\\\\\\\"\": 257 } \n";
    const Tokenizer tokenizer = load(vocabulary, "a b\n");
    CHECK(byte_pair_merges(tokenizer) == Merges{{"a", "b"}});
    CHECK(tokenizer.token_bytes(256) == "ab");
    CHECK(special_tokens(tokenizer) == std::vector<std::string>{"😀/\b\f\n\r\t\\\""});
}

TEST_CASE("merges.txt may lack its version and its last newline") {
    const std::string vocabulary = "{" + byte_members() + ", \"ab\": 256, \"#version:\": 257}";
    CHECK(byte_pair_merges(load(vocabulary, "a b")) == Merges{{"a", "b"}});
    CHECK(byte_pair_merges(load(vocabulary, "#version: 0.2\na b\n")) == Merges{{"a", "b"}});
    CHECK(byte_pair_merges(load(vocabulary, "#version: 0.2\n")).empty());
    CHECK(byte_pair_merges(load(vocabulary, "")).empty());
    CHECK(byte_pair_merges(load("{" + byte_members() + ", \"##\": 256}", "#version: 0.2\n# #\n")) ==
          Merges{{"#", "#"}});
}

TEST_CASE("a broken vocab.json is refused with its place") {
    CHECK(vocabulary_message("") == "vocab.json:1: expected '{', found the end of the file at offset 0");
    CHECK(vocabulary_message("\n\n[1]") == "vocab.json:3: expected '{', found '[' at offset 2");
    CHECK(vocabulary_message("{\"a\": 0") ==
          "vocab.json:1: expected ',' or '}', found the end of the file at offset 7");
    CHECK(vocabulary_message("{\"a\": 0,\n}") == "vocab.json:2: expected a string, found '}' at offset 9");
    CHECK(vocabulary_message("{\"a\" 0}") == "vocab.json:1: expected ':', found '0' at offset 5");
    CHECK(vocabulary_message("{\"a\": 0} x") ==
          "vocab.json:1: expected the end of the file, found 'x' at offset 9");
    CHECK(vocabulary_message("{\"a") == "vocab.json:1: expected '\"', found the end of the file at offset 3");
    CHECK(vocabulary_message("{\"a\n\": 0}") ==
          "vocab.json:1: expected control characters to be escaped, found byte 10 at offset 3");
    CHECK(vocabulary_message("{\"\xff\": 0}") == "vocab.json:1: expected UTF-8, found byte 255 at offset 2");
    CHECK(vocabulary_message("{\"\": 0}") ==
          "vocab.json:1: expected a token, found an empty string at offset 1");
    CHECK(vocabulary_message(std::string("{\0}", 3)) ==
          "vocab.json:1: expected a string, found byte 0 at offset 1");
}

TEST_CASE("broken escapes are refused with their place") {
    CHECK(vocabulary_message("{\"\\x\": 0}") ==
          "vocab.json:1: expected one of \"\\/bfnrtu after a backslash, found 'x' at offset 3");
    CHECK(vocabulary_message("{\"\\u12g4\": 0}") ==
          "vocab.json:1: expected four hexadecimal digits, found 'g' at offset 6");
    CHECK(vocabulary_message("{\"\\ud83dx\": 0}") ==
          "vocab.json:1: expected a surrogate pair, found 'x' at offset 8");
    CHECK(vocabulary_message("{\"\\ude00\": 0}") ==
          "vocab.json:1: expected a surrogate pair, found '\"' at offset 8");
    CHECK(vocabulary_message("{\"\\ud83d\\u0041\": 0}") ==
          "vocab.json:1: expected a low surrogate before here, found '\"' at offset 14");
    CHECK(
        vocabulary_message("{\"\\") ==
        "vocab.json:1: expected one of \"\\/bfnrtu after a backslash, found the end of the file at offset 3");
}

TEST_CASE("numbers that are not those of tokens are refused with their place") {
    const std::string whole = "expected a token's number: a whole number from 0 up, found ";
    CHECK(vocabulary_message("{\"a\": -1}") == "vocab.json:1: " + whole + "'-' at offset 6");
    CHECK(vocabulary_message("{\"a\": 1.5}") == "vocab.json:1: " + whole + "'.' at offset 7");
    CHECK(vocabulary_message("{\"a\": 01}") == "vocab.json:1: " + whole + "'}' at offset 8");
    CHECK(vocabulary_message("{\"a\": 1e3}") == "vocab.json:1: " + whole + "'e' at offset 7");
    CHECK(vocabulary_message("{\"a\": \"0\"}") == "vocab.json:1: " + whole + "'\"' at offset 6");
    CHECK(vocabulary_message("{\"a\": 99999999999999999999}") ==
          "vocab.json:1: expected a token's number of at most 19 digits, found '9' at offset 25");
    CHECK(vocabulary_message("{\"a\": 0,\n\"b\": 7}") ==
          "vocab.json:2: expected the numbers 0 to 1, each once, found 7 for \"b\" at offset 9");
    CHECK(vocabulary_message("{\"a\": 1, \"b\": 1}") ==
          "vocab.json:1: expected each number once, found 1 for \"b\" and for \"a\" at offset 9");
    CHECK(vocabulary_message("{\"a\": 0, \"\\u0061\": 1}") ==
          "vocab.json:1: expected each token once, found \"a\" again at offset 9");
}

TEST_CASE("a vocabulary that lacks a byte is refused") {
    CHECK(vocabulary_message("{}") == "vocab.json: expected a token for each byte, got none for byte 0");
    CHECK(vocabulary_message("{\"a\": 0}") ==
          "vocab.json: expected a token for each byte, got none for byte 0");
}

TEST_CASE("a broken merges.txt is refused with its line") {
    const std::string two = ": expected two tokens with one space between them, found ";
    CHECK(merges_message("a b\n") == "");
    CHECK(merges_message("#version: 0.2\nab\n") == "merges.txt:2" + two + "\"ab\"");
    CHECK(merges_message("a b c\n") == "merges.txt:1" + two + "\"a b c\"");
    CHECK(merges_message("a  b\n") == "merges.txt:1" + two + "\"a  b\"");
    CHECK(merges_message(" b\n") == "merges.txt:1" + two + "\" b\"");
    CHECK(merges_message("a \n") == "merges.txt:1" + two + "\"a \"");
    CHECK(merges_message("\na b\n") == "merges.txt:1" + two + "\"\"");
    CHECK(merges_message("a b\r\n") == "merges.txt:1" + two + "\"a b\r\"");
    CHECK(merges_message("a 中\n") == "merges.txt:1" + two + "\"a 中\"");
    CHECK(merges_message("a \xff\n") == "merges.txt:1" + two + "\"a \xff\"");
    CHECK(merges_message("a b\na b\n") == "merges.txt:2: expected each merge once, got \"a b\" again");
    CHECK(merges_message("a b\nab c\n") == "merges.txt:2: expected a token of the vocabulary, got \"abc\"");
    CHECK(merges_message("a b\nax b\n") == "merges.txt:2: expected a token of the vocabulary, got \"ax\"");
}

TEST_CASE("files that are missing or no files are named") {
    const TemporaryFolder folder;
    CHECK_THROWS_AS(read_gpt2_files(folder.path()), tenon::FileError);
    CHECK_THROWS_AS(read_gpt2_files(""), tenon::FileError);
    tenon::write_file(folder.path() + "/merges.txt", "");
    CHECK_THROWS_AS(read_gpt2_files(folder.path()), tenon::FileError);
    tenon::create_folder(folder.path() + "/vocab.json");
    CHECK_THROWS_AS(read_gpt2_files(folder.path()), tenon::FileError);
    CHECK_THROWS_AS(
        write_gpt2_files(tenon::train_byte_pair_tokenizer("", 256), folder.path() + "/merges.txt"),
        tenon::FileError);
}

TEST_CASE("no damage to the files crashes the reader") {
    const std::string vocabulary = "{" + byte_members() + ", \"ab\": 256, \"<|end|>\": 257}";
    const std::string merges = "#version: 0.2\na b\n";
    const TemporaryFolder folder;
    std::mt19937 generator(2);
    int refused = 0;
    for (int i = 0; i < 2000; ++i) {
        std::string damaged_vocabulary = vocabulary, damaged_merges = merges;
        std::string& damaged = i % 4 == 0 ? damaged_merges : damaged_vocabulary;
        const std::size_t at = tokenizer_tests::below(generator, damaged.size());
        switch (generator() % 4) {
            case 0:
                damaged.resize(at);
                break;
            case 1:
                damaged[at] = static_cast<char>(generator());
                break;
            case 2:
                damaged.erase(at, generator() % 9);
                break;
            default:
                damaged.insert(at, tokenizer_tests::random_bytes(generator, 1 + generator() % 3));
        }
        try {
            // What is still a tokenizer must still be right.
            const Tokenizer tokenizer = load(damaged_vocabulary, damaged_merges);
            CHECK(tokenizer.decode_bytes(tokenizer.encode_ids("ab <|end|> \xff")) == "ab <|end|> \xff");
        } catch (const tenon::FileError&) {
            ++refused;
        }
    }
    CHECK(refused > 1000);
}
