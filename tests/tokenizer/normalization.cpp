#include "tenon/tokenizer/normalization.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using tenon::normalize;
using Form = tenon::NormalizationForm;

namespace {

/// What each part of the normalized text comes from: its bytes, and how many bytes of the text they stand
/// for.
std::vector<std::pair<std::string, std::size_t>> aligned(std::string_view text, Form form) {
    std::vector<std::pair<std::string, std::size_t>> parts;
    normalize(
        text, form, [&](std::string_view bytes) { parts.emplace_back(bytes, bytes.size()); },
        [&](std::string_view bytes, std::size_t size) { parts.emplace_back(bytes, size); });
    return parts;
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3, whose tables are of Unicode 9.0.

TEST_CASE("NFD takes characters apart, NFC puts them together") {
    CHECK(normalize("é", Form::nfd) == "e\u0301");
    CHECK(normalize("e\u0301", Form::nfc) == "é");
    CHECK(normalize("ǖ", Form::nfd) == "u\u0308\u0304");  // all the way
    CHECK(normalize("u\u0308\u0304", Form::nfc) == "ǖ");
    CHECK(normalize("\u212B\u2126\u212A", Form::nfc) == "\u00C5\u03A9K");  // Ångström, Ohm, Kelvin
    CHECK(normalize("", Form::nfc) == "");
    CHECK(normalize("plain text, 中文", Form::nfkd) == "plain text, 中文");
}

TEST_CASE("marks are sorted by their class, those of one class keep their order") {
    CHECK(normalize("a\u0301\u0323", Form::nfd) == "a\u0323\u0301");
    CHECK(normalize("a\u0323\u0301", Form::nfd) == "a\u0323\u0301");
    CHECK(normalize("a\u0301\u0300", Form::nfd) == "a\u0301\u0300");
    CHECK(normalize("a\u0301\u0323", Form::nfc) == "ạ\u0301");
    CHECK(normalize("a\u0315\u0300\u05AE\u0300b", Form::nfd) == "a\u05AE\u0300\u0300\u0315b");
    CHECK(normalize("\u0323\u0301", Form::nfc) == "\u0323\u0301");  // without a letter before
}

TEST_CASE("a mark between blocks another of its class") {
    CHECK(normalize("a\u0305\u0301", Form::nfc) == "a\u0305\u0301");
    CHECK(normalize("a\u0327\u0301", Form::nfc) == "á\u0327");
    CHECK(normalize("a\u200D\u0301", Form::nfc) == "a\u200D\u0301");
}

TEST_CASE("syllables of Hangul are computed") {
    CHECK(normalize("각", Form::nfd) == "\u1100\u1161\u11A8");
    CHECK(normalize("가", Form::nfd) == "\u1100\u1161");
    CHECK(normalize("\u1100\u1161\u11A8", Form::nfc) == "각");
    CHECK(normalize("\uAC00\u11A8", Form::nfc) == "각");
    CHECK(normalize("\uAC01\u11A8", Form::nfc) == "각\u11A8");  // has a tail
    CHECK(normalize("\u1100\u1100\u1161", Form::nfc) == "\u1100가");
    CHECK(normalize("힣", Form::nfd) == "\u1112\u1175\u11C2");
}

TEST_CASE("some characters are never composed") {
    CHECK(normalize("\u0958", Form::nfc) == "\u0915\u093C");  // composition exclusions
    CHECK(normalize("\uFB2A", Form::nfc) == "\u05E9\u05C1");
    CHECK(normalize("\u0344", Form::nfc) == "\u0308\u0301");  // no starter
    CHECK(normalize("\u0340", Form::nfc) == "\u0300");        // singletons
    CHECK(normalize("\uF900", Form::nfc) == "豈");
    CHECK(normalize("\U0002F800", Form::nfc) == "丽");
}

TEST_CASE("compatible characters become the plain ones") {
    CHECK(normalize("ﬁ①½Ⅷ㎏", Form::nfkc) == "fi11\u20442VIIIkg");
    CHECK(normalize("ﬁ①", Form::nfc) == "ﬁ①");
    CHECK(normalize("ＡＢｶﾞ", Form::nfkc) == "ABガ");
    CHECK(normalize("ｶﾞ", Form::nfkd) == "カ\u3099");
    CHECK(normalize("\u00A0\u3000", Form::nfkc) == "  ");
    CHECK(normalize("ſ\u0307", Form::nfkc) == "ṡ");
    CHECK(normalize("ﷺ", Form::nfkd) == "صلى الله عليه وسلم");
    CHECK(normalize("\u1E9B\u0323", Form::nfkc) == "ṩ");
}

TEST_CASE("characters that came after Unicode 9.0 stay as they are") {
    CHECK(normalize("\U00011938", Form::nfd) == "\U00011938");  // of 13.0, which takes it apart
    CHECK(normalize("\u32FF", Form::nfkc) == "\u32FF");         // of 12.1
}

TEST_CASE("bytes that are no UTF-8 stay, each for itself") {
    CHECK(normalize("e\xFF\u0301\xC3", Form::nfc) == "e\xFF\u0301\xC3");
    CHECK(normalize("\xE4\xB8 é", Form::nfd) == "\xE4\xB8 e\u0301");
}

TEST_CASE("what is normalized is aligned with what it comes from") {
    using Parts = std::vector<std::pair<std::string, std::size_t>>;
    CHECK(aligned("xyé", Form::nfc) == Parts{{"xyé", 4}});
    CHECK(aligned("xyé", Form::nfd) == Parts{{"x", 1}, {"y", 1}, {"e", 2}, {"\u0301", 0}});
    CHECK(aligned("e\u0301z", Form::nfc) == Parts{{"é", 3}, {"z", 1}});
    CHECK(aligned("ﬃ", Form::nfkc) == Parts{{"f", 3}, {"f", 0}, {"i", 0}});
    CHECK(aligned("\u1100\u1161\u11A8", Form::nfc) == Parts{{"각", 9}});
    CHECK(aligned("a\u0301\u0323", Form::nfd) == Parts{{"a", 1}, {"\u0323", 2}, {"\u0301", 2}});
}

TEST_CASE("a fast look finds text that is normalized") {
    CHECK(tenon::is_surely_normalized("plain, é, 각", Form::nfc));
    CHECK_FALSE(tenon::is_surely_normalized("é", Form::nfd));
    CHECK_FALSE(tenon::is_surely_normalized("ﬁ", Form::nfkc));
}

TEST_CASE("normalizing twice changes nothing more") {
    for (const Form form : {Form::nfc, Form::nfd, Form::nfkc, Form::nfkd}) {
        bool all_right = true;
        // Nothing is assigned beyond but ideographs and what is private, which are normalized.
        for (char32_t c = 0; c <= 0x2FFFF; ++c) {
            if (c >= 0xD800 && c <= 0xDFFF) continue;
            std::string text = "a";
            tenon::append_utf8(text, c);
            text += "\u0301";
            const std::string once = normalize(text, form);
            all_right &= normalize(once, form) == once;
        }
        CHECK(all_right);
    }
}
