#include "tenon/tokenizer/tiktoken_file.hpp"

#include <random>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "formats.hpp"
#include "support.hpp"
#include "tenon/tokenizer/base64.hpp"

using tenon::Tokenizer;
using tokenizer_tests::error_of;
using tokenizer_tests::Ids;

namespace {

/// Ranks of all bytes, and of further tokens from 256 up.
std::string ranks_of(const std::vector<std::string>& tokens) {
    std::string text;
    for (std::size_t rank = 0; rank < 256 + tokens.size(); ++rank) {
        const std::string token = rank < 256 ? std::string(1, static_cast<char>(rank)) : tokens[rank - 256];
        text += tenon::detail::write_base64(token) + " " + std::to_string(rank) + "\n";
    }
    return text;
}

const tenon::TiktokenEncoding words{R"( ?\p{L}+|\s+|[^\s\p{L}]+)", {{"<|end|>", 300}}};

Tokenizer parse(const std::string& ranks, const tenon::TiktokenEncoding& encoding = words) {
    return Tokenizer(tenon::parse_tiktoken(ranks, "ranks", encoding));
}

std::string message_of(const std::string& ranks, const tenon::TiktokenEncoding& encoding = words) {
    return error_of([&] { parse(ranks, encoding); });
}

}  // namespace

TEST_CASE("text in base 64") {
    for (const std::string_view bytes : {"", "f", "fo", "foo", "foob", "\xff\xfe\xfd"})
        CHECK(tenon::detail::read_base64(tenon::detail::write_base64(bytes)) == bytes);
    CHECK(tenon::detail::write_base64("foob") == "Zm9vYg==");
    for (const std::string_view text : {"Zg", "Z===", "Zm9v!A==", "Zg==Zg==", "Zm9 "})
        CHECK_FALSE(tenon::detail::read_base64(text));
}

TEST_CASE("ranks are ids, and neighbours that are a token together become it, the lowest rank first") {
    const Tokenizer tokenizer = parse(ranks_of({"th", "he", "the", " the"}));
    CHECK(tokenizer.vocabulary_size() == 301);
    CHECK(tokenizer.encode_ids("the hthex") == Ids{258, ' ', 'h', 258, 'x'});
    CHECK(tokenizer.encode_ids("see the<|end|>") == Ids{'s', 'e', 'e', 259, 300});
    // Not by merges, which lead to ["t", "hen"], but as a piece that is a token.
    CHECK(parse(ranks_of({"he", "hen", "then"})).encode_ids("then") == Ids{258});
    CHECK(parse(ranks_of({"he", "hen", "then"})).encode_ids("thenx") == Ids{258, 'x'});
}

TEST_CASE("of the pairs that a token can be cut into, that which its bytes come to becomes it") {
    const Tokenizer tokenizer = parse(ranks_of({"ab", "bc", "abc", "wxyz"}));
    const auto& merges = tokenizer.model().get_if<tenon::BytePair>()->merges();
    CHECK(merges.size() == 3);
    CHECK(merges.find(256, 'c').result == 258);
    CHECK(merges.find('a', 257).result == tenon::detail::absent);  // "ab" comes before "bc"
    CHECK(tokenizer.encode_ids("abcx bcx xabc") == Ids{258, 'x', ' ', 257, 'x', ' ', 'x', 258});
    // No merges lead to the last token: only a piece that is it becomes it.
    CHECK(tokenizer.encode_ids("wxyz") == Ids{259});
    CHECK(tokenizer.encode_ids("wxyza") == Ids{'w', 'x', 'y', 'z', 'a'});
}

TEST_CASE("the order of lines is free, and so are their ends") {
    CHECK(parse(ranks_of({"ab"}) + "\nYWJj 257\r\n\r\n").encode_ids("abc") == Ids{257});
    CHECK(parse("YWI= 256\n" + ranks_of({})).encode_ids("ab") == Ids{256});
}

TEST_CASE("a token of no bytes, which Whisper's ranks have, is what no text becomes") {
    const Tokenizer tokenizer = parse(ranks_of({"ab"}) + "= 257\n");
    CHECK(tokenizer.encode_ids("ab ") == Ids{256, ' '});
    CHECK(tokenizer.decode(Ids{256, 257}) == "ab");
}

TEST_CASE("a file is known by its first line, and encoding.json beside it says the rest") {
    const TemporaryFolder folder;
    tenon::write_file(folder / "any.name", ranks_of({" the"}));
    CHECK(error_of([&] {
              Tokenizer::load(folder / "any.name");
          }).ends_with("/encoding.json: opening for reading failed: No such file or directory"));
    tenon::write_file(folder / "encoding.json",
                      R"({"pattern": " ?\\p{L}+|\\s+", "special_tokens": {"<|e|>": 257}})");
    CHECK(Tokenizer::load(folder / "any.name").encode_ids("a the<|e|>") == Ids{'a', 256, 257});
    tenon::write_file(folder / "encoding.json", R"({"pattern": "(a", "special_tokens": {}})");
    CHECK(error_of([&] { Tokenizer::load(folder / "any.name"); }).starts_with(folder / "any.name: "));
    tenon::write_file(folder / "encoding.json", R"({"pattern": "a", "special_tokens": {"x": -1}})");
    CHECK(error_of([&] {
              Tokenizer::load(folder / "any.name");
          }).ends_with("encoding.json: special_tokens.x: expected a token's id, got -1"));
    tenon::write_file(folder / "encoding.json", R"({"special_tokens": {}})");
    CHECK(error_of([&] {
              Tokenizer::load(folder / "any.name");
          }).ends_with("encoding.json: the whole text: expected a key \"pattern\", got none"));
}

TEST_CASE("lines that are no ranks are refused with their number") {
    const std::string expected = "expected a token in base 64, a space and its rank, got ";
    CHECK(message_of("IQ== 0\nIg==\n") == "ranks:2: " + expected + "\"Ig==\"");
    CHECK(message_of("IQ== x") == "ranks:1: " + expected + "\"IQ== x\"");
    CHECK(message_of("IQ== 0 1") == "ranks:1: " + expected + "\"IQ== 0 1\"");
    CHECK(message_of("IQ== -1") == "ranks:1: " + expected + "\"IQ== -1\"");
    CHECK(message_of("IQ=! 0") == "ranks:1: " + expected + "\"IQ=! 0\"");
    CHECK(message_of(" 0") == "ranks:1: " + expected + "\" 0\"");
    CHECK(message_of("IQ== 99999999999999999999") ==
          "ranks:1: " + expected + "\"IQ== 99999999999999999999\"");
    CHECK(message_of(std::string(1 << 20, 'A')) ==
          "ranks:1: " + expected + "\"" + std::string(60, 'A') + "\"");
}

TEST_CASE("ranks and tokens that come twice or are missing are refused") {
    CHECK(message_of("IQ== 0\nIg== 0\n") == "ranks:2: expected each rank once, got 0 again");
    CHECK(message_of("IQ== 0\nIg== 2\n") == "ranks:2: expected the ranks 0 to 1, each once, got 2");
    CHECK(message_of("IQ== 0\nIQ== 1\n") == "ranks: expected each token once, got \"!\" with ranks 0 and 1");
    CHECK(message_of("IQ== 0\n") == "ranks: expected a token for each byte, got none for byte 0");
    CHECK(message_of("") == "ranks: expected a token for each byte, got none for byte 0");
}

TEST_CASE("special tokens are text, with ids after the ranks") {
    const auto with = [](std::string text, tenon::TokenId id) {
        return tenon::TiktokenEncoding{"a", {{text, id}}};
    };
    CHECK(message_of(ranks_of({}), with("<e>", 255)) ==
          "ranks: expected ids of special tokens from 256 up, got 255 for \"<e>\"");
    CHECK(message_of(ranks_of({}), with("", 256)) ==
          "ranks: expected special tokens with at least one byte, got an empty one");
}

TEST_CASE("special tokens in text are recognized, text, or refused") {
    const Tokenizer tokenizer = parse(ranks_of({}));
    CHECK(tokenizer.encode_ids("<|end|>") == Ids{300});
    CHECK(tokenizer.encode_ids("<|end|>", {.special_tokens = tenon::SpecialTokens::ordinary}).size() == 7);
    CHECK(error_of([&] {
              tokenizer.encode_ids("<|end|>", {.special_tokens = tenon::SpecialTokens::refused});
          }) != "");
    CHECK(error_of([&] { tokenizer.decode(Ids{256}); }) ==
          "expected the id of a token, got 256, which none has");
}

TEST_CASE("no damage to ranks crashes the reader") {
    const std::string whole = ranks_of({"th", "he", "the"});
    std::mt19937 generator(3);
    int refused = 0;
    for (int i = 0; i < 600; ++i) {
        const std::string damaged = tokenizer_tests::damaged(generator, whole, i);
        try {
            const Tokenizer tokenizer = parse(damaged);
            CHECK(tokenizer.decode_bytes(tokenizer.encode_ids("the \xff")) == "the \xff");
        } catch (const tenon::FileError&) {
            ++refused;
        }
    }
    CHECK(refused > 300);
}
