#include "tenon/tokenizer/unicode.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

using tenon::CharacterClass;

namespace {

std::string decoded(std::string bytes) {
    std::string text;
    tenon::detail::finish_utf8(bytes, text);
    return text;
}

std::string as_utf8(char32_t code_point) {
    std::string text;
    tenon::append_utf8(text, code_point);
    return text;
}

}  // namespace

TEST_CASE("code points are classified as Unicode 16.0 has them") {
    CHECK(tenon::character_class(U'a') == CharacterClass::letter);
    CHECK(tenon::character_class(U'ß') == CharacterClass::letter);
    CHECK(tenon::character_class(U'中') == CharacterClass::letter);
    CHECK(tenon::character_class(0x1C89) == CharacterClass::letter);  // new in 16.0
    CHECK(tenon::character_class(0xA7CE) == CharacterClass::other);   // a letter from 17.0 on
    CHECK(tenon::character_class(U'7') == CharacterClass::number);
    CHECK(tenon::character_class(U'½') == CharacterClass::number);
    CHECK(tenon::character_class(U'Ⅷ') == CharacterClass::number);
    CHECK(tenon::character_class(0x0301) == CharacterClass::other);  // a combining mark
    CHECK(tenon::character_class(0x200B) == CharacterClass::other);  // zero width space: no White_Space
    CHECK(tenon::character_class(0x001C) == CharacterClass::other);  // Python's \s differs here
    CHECK(tenon::character_class(0x85) == CharacterClass::whitespace);
    CHECK(tenon::character_class(0x3000) == CharacterClass::whitespace);
    CHECK(tenon::character_class(0x10FFFF) == CharacterClass::other);
    CHECK(tenon::character_class(0xFFFFFFFF) == CharacterClass::other);

    std::array<int, 4> count{};
    for (char32_t c = 0; c <= 0x10FFFF; ++c) ++count[static_cast<std::size_t>(tenon::character_class(c))];
    CHECK(count[static_cast<std::size_t>(CharacterClass::letter)] == 141028);
    CHECK(count[static_cast<std::size_t>(CharacterClass::number)] == 1911);
    CHECK(count[static_cast<std::size_t>(CharacterClass::whitespace)] == 25);
}

TEST_CASE(
    "general categories are those of Unicode 16.0, as tiktoken 0.14 and Hugging Face tokenizers 0.23.3 have "
    "them") {
    using G = tenon::GeneralCategory;
    CHECK(tenon::general_category(U'A') == G::uppercase_letter);
    CHECK(tenon::general_category(U'ǅ') == G::titlecase_letter);
    CHECK(tenon::general_category(U'ʰ') == G::modifier_letter);
    CHECK(tenon::general_category(0x0903) == G::spacing_mark);
    CHECK(tenon::general_category(0x20DD) == G::enclosing_mark);
    CHECK(tenon::general_category(U'٣') == G::decimal_number);
    CHECK(tenon::general_category(U'Ⅷ') == G::letter_number);
    CHECK(tenon::general_category(U'½') == G::other_number);
    CHECK(tenon::general_category(U'_') == G::connector_punctuation);
    CHECK(tenon::general_category(U'—') == G::dash_punctuation);
    CHECK(tenon::general_category(U'«') == G::initial_punctuation);
    CHECK(tenon::general_category(U'$') == G::currency_symbol);
    CHECK(tenon::general_category(U'😀') == G::other_symbol);
    CHECK(tenon::general_category(0x2028) == G::line_separator);
    CHECK(tenon::general_category(0x200B) == G::format);
    CHECK(tenon::general_category(0xD800) == G::surrogate);
    CHECK(tenon::general_category(0xE000) == G::private_use);
    CHECK(tenon::general_category(0x0378) == G::unassigned);
    CHECK(tenon::general_category(0xFFFFFFFF) == G::unassigned);

    // How many characters of tiktoken's match \p{Lu}, \p{Ll} and so on; surrogates are no characters.
    constexpr std::array<int, 30> expected = {1858, 2258, 31, 404, 136477, 2020, 468, 13,   760,    236,
                                              915,  10,   27, 79,  77,     12,   10,  640,  950,    63,
                                              125,  7376, 17, 1,   1,      65,   170, 2048, 137468, 819533};
    std::array<int, 30> count{};
    for (char32_t c = 0; c <= 0x10FFFF; ++c) ++count[static_cast<std::size_t>(tenon::general_category(c))];
    CHECK(count == expected);
}

TEST_CASE("lowercase is that of one character, whatever stands around it") {
    const auto lower = [](char32_t c) {
        const tenon::Lowercase lowercase = tenon::to_lowercase(c);
        return as_utf8(lowercase.first) + (lowercase.second ? as_utf8(lowercase.second) : "");
    };
    CHECK(lower(U'A') == "a");
    CHECK(lower(U'z') == "z");
    CHECK(lower(U'É') == "é");
    CHECK(lower(U'Σ') == "σ");  // also at the end of a word
    CHECK(lower(U'ẞ') == "ß");
    CHECK(lower(U'ǅ') == "ǆ");
    CHECK(lower(0x130) == "i\u0307");  // the only one of two code points
    CHECK(lower(0x212A) == "k");       // Kelvin
    CHECK(lower(0x10400) == as_utf8(0x10428));
    CHECK(lower(0xA7CE) == as_utf8(0xA7CF));  // of Unicode 17.0

    int changed = 0;
    for (char32_t c = 0; c <= 0x10FFFF; ++c) changed += tenon::to_lowercase(c).first != c;
    CHECK(changed == 1488);  // as many as Hugging Face's normalizer Lowercase changes
}

TEST_CASE("some parts of Hugging Face tokenizers 0.23.3 have older classes of characters") {
    CHECK(tenon::is_bert_punctuation(U'$'));  // a symbol in ASCII
    CHECK(tenon::is_bert_punctuation(U'。'));
    CHECK_FALSE(tenon::is_bert_punctuation(U'€'));
    CHECK_FALSE(tenon::is_bert_punctuation(0x2E4F));  // of Unicode 12.0
    CHECK(tenon::is_bert_control(0xFFFD));
    CHECK(tenon::is_bert_control(0xE000));
    CHECK_FALSE(tenon::is_bert_control(U'\t'));
    CHECK(tenon::is_bert_ideograph(U'中'));
    CHECK_FALSE(tenon::is_bert_ideograph(U'か'));
    CHECK_FALSE(tenon::is_bert_ideograph(0x2B820));  // the one between two blocks
    CHECK(tenon::is_bert_accent(0x0301));
    CHECK_FALSE(tenon::is_bert_accent(0x0903));  // a spacing mark
    CHECK(tenon::is_hugging_face_accent(0x0903));

    int accents = 0;
    for (char32_t c = 0; c <= 0x10FFFF; ++c) accents += tenon::is_hugging_face_accent(c);
    CHECK(accents == 2097);  // as many as the normalizer StripAccents removes
}

TEST_CASE("every code point survives encoding and decoding, and its beginnings are known to be cut off") {
    bool all_right = true;
    for (char32_t c = 0; c <= 0x10FFFF; ++c) {
        const std::string bytes = as_utf8(c);
        const tenon::Utf8Character character = tenon::decode_utf8_character(bytes + "x");
        const bool is_surrogate = c >= 0xD800 && c <= 0xDFFF;
        if (is_surrogate) {
            all_right &= character.code_point == tenon::Utf8Character::invalid && character.size == 1;
            continue;
        }
        all_right &= character.code_point == c && character.size == bytes.size() && !character.is_cut_off;
        for (std::size_t size = 1; size < bytes.size(); ++size) {
            const tenon::Utf8Character part = tenon::decode_utf8_character(bytes.substr(0, size));
            all_right &= part.is_cut_off && part.size == size;
        }
    }
    CHECK(all_right);
}

TEST_CASE("what is not UTF-8 becomes U+FFFD, one for each maximal subpart") {
    // The Unicode Standard, section 3.9, tables 3-8 to 3-11.
    CHECK(decoded("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") ==
          "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
    CHECK(decoded("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") ==
          "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
    CHECK(decoded("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") ==
          "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41\uFFFD\uFFFD\x42");
    CHECK(decoded("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == "\uFFFD\uFFFD\uFFFD\uFFFD\x41");
    CHECK(decoded("a\xE4\xB8") == "a\uFFFD");
    CHECK(decoded("") == "");
}

TEST_CASE("a character that is cut off waits for its end") {
    std::string bytes = "a\xE4\xB8", text;
    tenon::detail::move_utf8(bytes, text);
    CHECK(text == "a");
    CHECK(bytes == "\xE4\xB8");
    bytes += "\xAD!";
    tenon::detail::move_utf8(bytes, text);
    CHECK(text == "a中!");
    CHECK(bytes.empty());
}
