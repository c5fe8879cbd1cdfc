#include "tenon/tokenizer/unicode.hpp"

#include <algorithm>
#include <array>
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
