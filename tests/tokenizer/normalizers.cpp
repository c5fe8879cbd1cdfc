#include "tenon/tokenizer/normalizers.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tenon/core/error.hpp"

using namespace tenon;
namespace n = tenon::normalizer;

namespace {

/// Each character of the normalized text, and the bytes of the text that it comes from.
using Aligned = std::vector<std::pair<std::string, Span>>;

Aligned aligned(const Normalizer& steps, std::string_view text) {
    detail::AlignedText normalized;
    normalized.assign(text, 0, true);
    detail::normalize(steps, normalized);
    Aligned characters;
    for (std::size_t at = 0; at < normalized.text().size();) {
        const std::size_t size = decode_utf8_character(normalized.text().substr(at)).size;
        characters.emplace_back(normalized.text().substr(at, size), normalized.source_of({at, at + size}));
        at += size;
    }
    return characters;
}

std::string normalized(const Normalizer& steps, std::string_view text) {
    detail::AlignedText result;
    result.assign(text, 0, false);
    detail::normalize(steps, result);
    std::string joined;
    for (const auto& [character, source] : aligned(steps, text)) joined += character;
    CHECK(joined == result.text());  // whether sources are kept or not
    return joined;
}

/// A character map that replaces `from`, one byte, by `to`.
CharacterMap character_map(char from, std::string_view to) {
    std::string bytes;
    const auto append = [&](std::uint32_t word) {
        for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(word >> shift & 0xFF);
    };
    const auto label = static_cast<std::uint32_t>(from);
    append(4 * 256);
    for (std::uint32_t node = 0; node < 256; ++node) {
        append(node == 0             ? 2 << 10
               : node == (2 ^ label) ? (1 << 10 | 0x100 | label)
               : node == (3 ^ label) ? 0x80000000
                                     : 0);
    }
    bytes += to;
    bytes += '\0';
    return CharacterMap(bytes);
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("BERT's normalizer cleans text, sets ideographs apart, strips accents and lowers case") {
    CHECK(aligned({n::BertNormalizer{}}, "Café\t中x\x07 \uFFFDÑ") == Aligned{{"c", {0, 1}},
                                                                             {"a", {1, 2}},
                                                                             {"f", {2, 3}},
                                                                             {"e", {3, 5}},
                                                                             {" ", {5, 6}},
                                                                             {" ", {6, 9}},
                                                                             {"中", {6, 9}},
                                                                             {" ", {6, 9}},
                                                                             {"x", {9, 10}},
                                                                             {" ", {11, 12}},
                                                                             {"n", {15, 17}}});
    CHECK(normalized({n::BertNormalizer{.strip_accents = false}}, "CAFÉ") == "café");
    CHECK(normalized({n::BertNormalizer{.strip_accents = true, .lowercase = false}}, "CAFÉ") == "CAFE");
    CHECK(normalized({n::BertNormalizer{.clean_text = false, .handle_chinese_chars = false}}, "A\t中\x07") ==
          "a\t中\x07");
}

TEST_CASE("accents are stripped as lowercase is, unless it is said") {
    CHECK(normalized({n::BertNormalizer{.lowercase = false}}, "CAFÉ") == "CAFÉ");
    CHECK(normalized({n::BertNormalizer{.lowercase = true}}, "CAFÉ") == "cafe");
}

TEST_CASE("Strip takes whitespace from the ends") {
    CHECK(aligned({n::Strip{}}, " \u3000a b\n") == Aligned{{"a", {4, 5}}, {" ", {5, 6}}, {"b", {6, 7}}});
    CHECK(normalized({n::Strip{.strip_right = false}}, " a ") == "a ");
    CHECK(normalized({n::Strip{.strip_left = false}}, " a ") == " a");
    CHECK(normalized({n::Strip{}}, "  ") == "");
    CHECK(normalized({n::Strip{}}, "") == "");
}

TEST_CASE("StripAccents removes marks that stand by themselves") {
    CHECK(aligned({n::StripAccents{}}, "e\u0301é") == Aligned{{"e", {0, 1}}, {"é", {3, 5}}});
}

TEST_CASE("normalization forms keep where characters come from") {
    const n::Unicode nfd{NormalizationForm::nfd}, nfkc{NormalizationForm::nfkc};
    CHECK(aligned({nfd}, "éa") == Aligned{{"e", {0, 2}}, {"\u0301", {0, 2}}, {"a", {2, 3}}});
    // What is composed comes from the first of its parts.
    CHECK(aligned({nfkc}, "ﬁe\u0301") == Aligned{{"f", {0, 3}}, {"i", {0, 3}}, {"é", {3, 4}}});
}

TEST_CASE("Lowercase looks at each character for itself") {
    CHECK(aligned({n::Lowercase{}}, "AİΣß") ==
          Aligned{{"a", {0, 1}}, {"i", {1, 3}}, {"\u0307", {1, 3}}, {"σ", {3, 5}}, {"ß", {5, 7}}});
}

TEST_CASE("Nmt removes controls and makes spaces") {
    CHECK(aligned({n::Nmt{}}, "a\x01\tb\u200Bc\uFEFF\u0085") == Aligned{{"a", {0, 1}},
                                                                        {" ", {2, 3}},
                                                                        {"b", {3, 4}},
                                                                        {" ", {4, 7}},
                                                                        {"c", {7, 8}},
                                                                        {" ", {8, 11}},
                                                                        {"\u0085", {11, 13}}});
}

TEST_CASE("Replace puts a text in place of another or of what a pattern matches") {
    const auto literal = [](const char* text, const char* by) {
        return Normalizer{n::Replace{TextPattern::literal(text), by}};
    };
    CHECK(aligned(literal(" ", "▁"), "a  b") ==
          Aligned{{"a", {0, 1}}, {"▁", {1, 2}}, {"▁", {2, 3}}, {"b", {3, 4}}});
    // What is put there comes from the last character of what it replaces.
    CHECK(aligned(literal("aa", "b"), "aaaac") == Aligned{{"b", {1, 2}}, {"b", {3, 4}}, {"c", {4, 5}}});
    CHECK(aligned(literal("x", "yz"), "axb") ==
          Aligned{{"a", {0, 1}}, {"y", {1, 2}}, {"z", {1, 2}}, {"b", {2, 3}}});
    CHECK(normalized(literal("a", ""), "abca") == "bc");
    CHECK(aligned({n::Replace{TextPattern::regex(R"(\s+)"), " "}}, " a \n b") ==
          Aligned{{" ", {0, 1}}, {"a", {1, 2}}, {" ", {4, 5}}, {"b", {5, 6}}});
}

TEST_CASE("Prepend writes before all text but none") {
    CHECK(aligned({n::Prepend{"▁"}}, "ab") == Aligned{{"▁", {0, 1}}, {"a", {0, 1}}, {"b", {1, 2}}});
    CHECK(normalized({n::Prepend{"▁"}}, "") == "");
}

TEST_CASE("ByteLevel writes bytes as characters") {
    CHECK(aligned({n::ByteLevel{}}, "é a") ==
          Aligned{{"Ã", {0, 2}}, {"©", {0, 2}}, {"Ġ", {2, 3}}, {"a", {3, 4}}});
}

TEST_CASE("Precompiled replaces what its map has") {
    CHECK(aligned({n::Precompiled{character_map('x', "yz")}}, "axb") ==
          Aligned{{"a", {0, 1}}, {"y", {1, 2}}, {"z", {1, 2}}, {"b", {2, 3}}});
    CHECK(normalized({n::Precompiled{character_map('x', "")}}, "axb") == "ab");
    CHECK(normalized({n::Precompiled{}}, "axb") == "axb");
    CHECK_THROWS_AS(CharacterMap("abc"), Error);
    CHECK_THROWS_AS(CharacterMap(std::string("\xFF\xFF\0\0abc", 7)), Error);
}

TEST_CASE("steps follow each other") {
    const Normalizer steps{n::Unicode{NormalizationForm::nfd}, n::StripAccents{}, n::Lowercase{}};
    CHECK(aligned(steps, "ÉA") == Aligned{{"e", {0, 2}}, {"a", {2, 3}}});
}

TEST_CASE("bytes that are no UTF-8 pass through") {
    const Normalizer steps{n::BertNormalizer{}, n::Nmt{}, n::Unicode{NormalizationForm::nfkc}, n::Strip{}};
    CHECK(normalized(steps, "\xFF É\xE4\xB8") == "\xFF e\xE4\xB8");
}
