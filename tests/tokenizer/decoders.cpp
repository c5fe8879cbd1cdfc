#include "tenon/tokenizer/decoders.hpp"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace tenon;
namespace d = tenon::decoder;

namespace {

std::string decoded(Decoder steps, std::vector<std::string> tokens) {
    return detail::decode(std::optional(std::move(steps)), std::move(tokens));
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("without a decoder, tokens are separated by spaces") {
    CHECK(detail::decode(std::nullopt, {"a", "b"}) == "a b");
    CHECK(detail::decode(std::nullopt, {}) == "");
    CHECK(decoded({}, {"a", "b"}) == "ab");
}

TEST_CASE("ByteLevel joins bytes; what is no UTF-8 becomes U+FFFD") {
    CHECK(decoded({d::ByteLevel{}}, {"HÃ©", "ĠyouÃ", "©!"}) == "Hé youé!");
    CHECK(decoded({d::ByteLevel{}}, {"Ã"}) == "\uFFFD");
    CHECK(decoded({d::ByteLevel{}}, {"é中", "Ġa"}) == "é中 a");  // what isn't written so stands for itself
}

TEST_CASE("WordPiece joins what continues a word") {
    CHECK(decoded({d::WordPiece{}}, {"Hel", "##lo", "world", "'", "s", ",", "do", "not", "n", "##'t", "!"}) ==
          "Hello world ' s, do not n't!");
    CHECK(decoded({d::WordPiece{}}, {"do", "n't", "."}) == "don't.");
    CHECK(decoded({d::WordPiece{}}, {"##a", "b"}) == "##a b");
    CHECK(decoded({d::WordPiece{.cleanup = false}}, {"a", ".", "b"}) == "a . b");
}

TEST_CASE("BPEDecoder ends words at the suffix") {
    CHECK(decoded({d::BPEDecoder{}}, {"hel", "lo</w>", "you</w>"}) == "hello you");
    CHECK(decoded({d::BPEDecoder{"@"}}, {"a@", "b"}) == "a b");
}

TEST_CASE("Metaspace makes spaces, but for the one before the text") {
    CHECK(decoded({d::Metaspace{}}, {"▁Hey", "▁you▁x", "▁"}) == "Hey you x ");
    CHECK(decoded({d::Metaspace{}}, {"Hey", "▁a"}) == "Hey a");
    CHECK(decoded({d::Metaspace{{.prepend_scheme = PrependScheme::never}}}, {"▁Hey", "▁you"}) == " Hey you");
}

TEST_CASE("CTC drops repeated tokens, and padding") {
    CHECK(decoded({d::CTC{}}, {"<pad>", "h", "h", "<pad>", "e", "l", "l", "<pad>", "l", "o", "|", "w"}) ==
          "hello w");
    CHECK(decoded({d::CTC{.cleanup = false}}, {"a", "|", "."}) == "a|.");
}

TEST_CASE("Strip takes some of a character from the ends of each token") {
    CHECK(decoded({d::Strip{" ", 1, 0}}, {"  a ", " b"}) == " a b");
    CHECK(decoded({d::Strip{"x", 2, 1}}, {"xxxayx", "ax"}) == "xaya");
    CHECK(decoded({d::Strip{"x", 2, 1}}, {"xx"}) == "");
}

TEST_CASE("ByteFallback makes bytes of their tokens, all of a run or none") {
    CHECK(decoded({d::ByteFallback{}}, {"<0x61>", "<0xE4>", "<0xB8>", "<0xAD>", "b", "<0xFF>", "<0xE4>",
                                        "<0xB8>"}) == "a中b\uFFFD\uFFFD\uFFFD");
    CHECK(decoded({d::ByteFallback{}}, {"<0x6>", "<0xzz>", "<0x0a>"}) == "<0x6><0xzz>\n");
}

TEST_CASE("Replace acts on each token") {
    CHECK(decoded({d::Replace{TextPattern::literal("▁"), " "}}, {"▁a▁", "b"}) == " a b");
    CHECK(decoded({d::Replace{TextPattern::regex(R"(\d)"), "x"}}, {"a12", "3"}) == "axxx");
}

TEST_CASE("steps follow each other: Llama 2's") {
    const Decoder llama{d::Replace{TextPattern::literal("▁"), " "}, d::ByteFallback{}, d::Fuse{},
                        d::Strip{" ", 1, 0}};
    CHECK(decoded(llama, {"▁Hey", "▁", "<0xC3>", "<0xA9>"}) == "Hey é");
}
