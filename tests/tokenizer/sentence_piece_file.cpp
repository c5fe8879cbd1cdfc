#include "tenon/tokenizer/sentence_piece_file.hpp"

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "formats.hpp"
#include "support.hpp"
#include "tenon/tokenizer/protobuf.hpp"

using tenon::Tokenizer;
using tokenizer_tests::error_of;
using tokenizer_tests::Ids;
using tokenizer_tests::load;
using tokenizer_tests::load_message;
using tokenizer_tests::Message;

namespace {

enum Type { normal = 1, unknown, control, user_defined, unused, byte };

struct Token {
    std::string text;
    float score = 0;
    Type type = normal;
};

/// A ModelProto: its tokens, and what trainer and normalizer say.
std::string model_of(const std::vector<Token>& tokens, const Message& trainer = {},
                     const Message& normalizer = {}) {
    Message model;
    for (const Token& token : tokens)
        model.message(1, Message().text(1, token.text).real(2, token.score).number(3, token.type));
    return model.message(2, trainer).message(3, normalizer).bytes();
}

const std::vector<Token> unigram = {
    {"<unk>", 0, unknown}, {"<s>", 0, control}, {"▁a", -1.5},           {"b", -2},
    {"ab", -3.25},         {"▁", -4},           {"xy", 0, user_defined}};
/// Special tokens 0 and 1, pieces 2 to 7, and the bytes from 8 up.
std::vector<Token> byte_pairs() {
    std::vector<Token> tokens = {{"<unk>", 0, unknown},
                                 {"<s>", 0, control},
                                 {"▁h", -1},
                                 {"he", 0},
                                 {"▁", -9},
                                 {"h", -9},
                                 {"e", -9},
                                 {"▁he", -2}};
    for (const std::string& text : tokenizer_tests::byte_tokens()) tokens.push_back({text, 0, byte});
    return tokens;
}

Message bpe() { return Message().number(3, 2); }

}  // namespace

TEST_CASE("a SentencePiece model of the likeliest tokens") {
    const Tokenizer tokenizer = load(model_of(unigram));
    CHECK(tokenizer.encode_ids("ab b") == Ids{2, 3, 5, 3});
    CHECK(tokenizer.encode_ids("abzzb") == Ids{2, 3, 0, 3});
    CHECK(tokenizer.encode_ids("axyb") == Ids{2, 6, 3});
    CHECK(tokenizer.decode(Ids{1, 2, 3, 5, 3, 0}) == "ab b \u2047 ");
    // Names of control tokens are text.
    CHECK(tokenizer.encode_ids("<s>") == Ids{5, 0});
}

// What SentencePiece 0.2.3 makes of these, measured around the score at which it changes.
TEST_CASE("user-defined tokens count 0.1 for each byte after the first, whatever the file says") {
    const auto ids = [](const std::string& user_defined, float score) {
        const std::vector<Token> tokens = {{"<unk>", 0, unknown},
                                           {"▁a", -1.5},
                                           {"b", -2},
                                           {"▁", -4},
                                           {user_defined, -7, Type::user_defined},
                                           {"▁a" + user_defined + "b", score}};
        return load(model_of(tokens)).encode_ids("a" + user_defined + "b");
    };
    CHECK(ids("x", -3.51F) == Ids{1, 4, 2});
    CHECK(ids("x", -3.49F) == Ids{5});
    CHECK(ids("xyzwv", -3.11F) == Ids{1, 4, 2});
    CHECK(ids("xyzwv", -3.09F) == Ids{5});
    CHECK(ids("é中xyzwvuts", -2.31F) == Ids{1, 4, 2});
    CHECK(ids("é中xyzwvuts", -2.29F) == Ids{5});
}

TEST_CASE("a SentencePiece model of byte pairs") {
    const Tokenizer tokenizer = load(model_of(byte_pairs(), bpe().number(35, 1)));
    CHECK(tokenizer.encode_ids("he") == Ids{7});
    CHECK(tokenizer.encode_ids("h é") == Ids{2, 4, 8 + 0xC3, 8 + 0xA9});
    CHECK(tokenizer.decode(Ids{2, 4, 8 + 0xC3, 8 + 0xA9}) == "h é");
    CHECK(load(model_of(byte_pairs(), bpe())).encode_ids("zé") == Ids{4, 0});
}

TEST_CASE("without a token for each byte, a model cannot fall back to bytes") {
    std::vector<Token> tokens = byte_pairs();
    tokens.pop_back();
    for (const std::uint64_t model : {1, 2}) {
        CHECK(load_message(model_of(tokens, Message().number(3, model).number(35, 1))) ==
              "file: expected a token for each byte, got none for <0xFF>");
        CHECK(load(model_of(tokens, Message().number(3, model))).encode_ids("z") == Ids{4, 0});
    }
}

TEST_CASE("what the normalizer of a SentencePiece model says") {
    const auto ids = [](const Message& normalizer, std::string_view text) {
        return load(model_of(unigram, {}, normalizer)).encode_ids(text);
    };
    CHECK(ids({}, "  ab  b ") == Ids{2, 3, 5, 3});
    CHECK(ids(Message().number(4, 0), " b") == Ids{5, 5, 3});
    CHECK(ids(Message().number(3, 0), "b") == Ids{3});
    CHECK(load(model_of(unigram, Message().number(24, 1))).encode_ids("b b") == Ids{3, 5, 3, 5});
    CHECK(load_message(model_of(unigram, {}, Message().text(2, "abc"))).starts_with("file: expected "));
}

TEST_CASE("tokens may lack a score and a type") {
    std::string model = Message().message(1, Message().text(1, "<unk>").number(3, 2)).bytes();
    model += Message().message(1, Message().text(1, "▁")).message(1, Message().text(1, "a")).bytes();
    CHECK(load(model).encode_ids("a") == Ids{1, 2});
}

TEST_CASE("a SentencePiece model that is unsound is refused") {
    const auto message = [](std::vector<Token> tokens) { return load_message(model_of(tokens)); };
    CHECK(message({{"a"}}) == "file: expected one unknown token, got 0");
    CHECK(message({{"<unk>", 0, unknown}, {"?", 0, unknown}}) == "file: expected one unknown token, got 2");
    CHECK(message({{"<unk>", 0, unknown}, {"a"}, {"a"}}) ==
          "file: expected each token once, got \"a\" twice");
    CHECK(message({{"<unk>", 0, unknown}, {""}}) == "file: expected tokens with a text, got an empty one");
    CHECK(message({{"<unk>", 0, unknown}, {"\xff"}}) == "file: expected tokens in UTF-8, got other bytes");
    CHECK(message({{"<unk>", 0, unknown}, {"a", 0, static_cast<Type>(7)}}) ==
          "file: expected a token of a type from 1 to 6, got 7");
    CHECK(load_message(model_of(unigram, Message().number(3, 3))) ==
          "file: expected a SentencePiece model of type unigram or bpe, got one of words or characters");
    CHECK(error_of([] { tenon::parse_sentence_piece("", "empty"); }) ==
          "empty: expected a SentencePiece model with tokens, got none");
}

TEST_CASE("messages of protocol buffers that are none are refused") {
    const auto message = [](std::string_view bytes) {
        return error_of([&] {
            tenon::detail::ProtobufReader reader(bytes);
            for (tenon::detail::ProtobufField field; reader.next(field);) {
            }
        });
    };
    const std::string start = "expected a message of protocol buffers, with ", end = ", got other bytes";
    using namespace std::string_view_literals;
    CHECK(message("\x0a\x02ok") == "");
    CHECK(message("\x0a\x03ok") == start + "fields that end within it" + end);
    CHECK(message("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f") == start + "fields that end within it" + end);
    CHECK(message("\x0d\x01\x02\x03") == start + "fields that end within it" + end);
    CHECK(message("\x08") == start + "fields that end within it" + end);
    CHECK(message("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") ==
          start + "numbers of at most ten bytes" + end);
    CHECK(message("\x0b") == start + "a field of a known kind" + end);
    CHECK(message("\0\x01"sv) == start + "the number of a field" + end);
}

TEST_CASE("no damage to a SentencePiece model crashes the reader") {
    std::mt19937 generator(6);
    for (const std::string& whole : {model_of(unigram), model_of(byte_pairs(), bpe().number(35, 1))}) {
        for (int i = 0; i < 1500; ++i) {
            std::string damaged = whole;
            const std::size_t at = tokenizer_tests::below(generator, damaged.size());
            if (i % 2 == 0) damaged.resize(at);
            if (i % 2 == 1) damaged[at] = static_cast<char>(generator());
            try {
                const Tokenizer tokenizer(tenon::parse_sentence_piece(damaged, "damaged"));
                tokenizer.decode(tokenizer.encode_ids(" abé\xff he"));
            } catch (const tenon::Error&) {
            }
        }
    }
}
