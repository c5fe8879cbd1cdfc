#include "tenon/tokenizer/regex.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/text_pattern.hpp"

using tenon::Regex;
using Strings = std::vector<std::string>;

namespace {

/// What a pattern matches in a text from left to right, but for nothing.
Strings matches(const std::string& pattern, std::string_view text,
                tenon::RegexDialect dialect = tenon::RegexDialect::oniguruma) {
    Strings found;
    tenon::TextPattern::regex(pattern, dialect).for_each_match(text, [&](tenon::Span match) {
        if (match.size() > 0) found.emplace_back(text.substr(match.begin, match.size()));
    });
    return found;
}

std::string message_of(std::string_view pattern) {
    try {
        Regex regex(pattern);
    } catch (const tenon::Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3 (Split with invert, removed).

TEST_CASE("of alternatives the first that matches counts, not the longest") {
    CHECK(matches(R"(a|ab)", "abab") == Strings{"a", "a"});
    CHECK(matches(R"(ab|a)", "aba") == Strings{"ab", "a"});
    CHECK(matches(R"((?:a|ab)c)", "abcac") == Strings{"abc", "ac"});
    CHECK(matches(R"(x|)", "axb") == Strings{"x"});
}

TEST_CASE("a class may be what two others share") {
    CHECK(matches(R"([\p{L}&&[^\p{Han}]]+)", "ab中文c1") == Strings{"ab", "c"});
    CHECK(matches(R"([a-f&&d-z&&[^e]]+)", "abcdefg") == Strings{"d", "f"});
    CHECK(matches(R"([^a-f&&d-z]+)", "abcdefg") == Strings{"abc", "g"});
    CHECK(matches(R"([[a-c&&b-d]x]+)", "abcdx") == Strings{"bc", "x"});
    CHECK(matches(R"([a&&b])", "ab") == Strings{});
    CHECK(matches(R"([&a&]+)", "&a&&") == Strings{"&a&&"});
    CHECK(message_of("[a&&]") == "regular expression, byte 4: expected characters after \"&&\", got \"]\"");
    CHECK(message_of("[&&a]") == "regular expression, byte 1: expected a class without \"&&\", got \"&&a]\"");
    CHECK(message_of("(?i:[a&&b])") ==
          "regular expression, byte 6: expected a class without \"&&\", got \"&&b])\"");
}

TEST_CASE("repetition is greedy, lazy or possessive") {
    CHECK(matches(R"(a+)", "aaba") == Strings{"aa", "a"});
    CHECK(matches(R"(a*b?)", "aabba") == Strings{"aab", "b", "a"});
    CHECK(matches(R"(a+?)", "aa") == Strings{"a", "a"});
    CHECK(matches(R"(a.*?b)", "aabab") == Strings{"aab", "ab"});
    CHECK(matches(R"(a.*b)", "aabab") == Strings{"aabab"});
    CHECK(matches(R"(a?\d)", "a1a2") == Strings{"a1", "a2"});
    CHECK(matches(R"(a++a)", "aaa") == Strings{});
    CHECK(matches(R"(a*+b)", "aab") == Strings{"aab"});
    CHECK(matches(R"(a?+a)", "aa") == Strings{"aa"});
    CHECK(matches(R"((?>a|ab)c)", "abcac") == Strings{"ac"});
}

TEST_CASE("braces count") {
    CHECK(matches(R"(\d{1,3})", "1234567") == Strings{"123", "456", "7"});
    CHECK(matches(R"(\d{2})", "12345") == Strings{"12", "34"});
    CHECK(matches(R"(\d{2,})", "1 23 456") == Strings{"23", "456"});
    CHECK(matches(R"(\d{,2}x)", "123x") == Strings{"23x"});
    CHECK(matches(R"(\d{1,3}?)", "123") == Strings{"1", "2", "3"});
    CHECK(matches(R"((?:ab){2})", "ababab") == Strings{"abab"});
    CHECK(matches(R"(a{x})", "a{x}") == Strings{"a{x}"});
}

TEST_CASE("groups of nothing end") {
    CHECK(matches(R"(\s\p{L}|(?:\S*?)+)", " cc!") == Strings{" c"});
    CHECK(matches(R"((?:b??)*+|1)", "b1") == Strings{});
    CHECK(matches(R"((?:(?:\n)??|\n)*|b)", "\nb") == Strings{});
    CHECK(matches(R"((?:a*)*b)", "aab") == Strings{"aab"});
    CHECK(matches(R"((?:a|b*)*c)", "abbac") == Strings{"abbac"});
    CHECK(matches(R"((?:)*a)", "a") == Strings{"a"});
}

TEST_CASE("classes hold characters, ranges, classes and categories") {
    CHECK(matches(R"([abx-z]+)", "axbyczd") == Strings{"axby", "z"});
    CHECK(matches(R"([^abc]+)", "axyb\nc") == Strings{"xy", "\n"});
    CHECK(matches(R"([\p{L}\d_]+)", "é1_-中2") == Strings{"é1_", "中2"});
    CHECK(matches(R"([^\s\p{L}\p{N}]+)", "a,. 1!") == Strings{",.", "!"});
    CHECK(matches(R"([a-c[x-z]]+)", "abxyd") == Strings{"abxy"});
    CHECK(matches(R"([\]\-\\]+)", "a]-\\b") == Strings{"]-\\"});
    CHECK(matches(R"([a-]+)", "a-b") == Strings{"a-"});
    CHECK(matches(R"([一-龥]+)", "a中文b") == Strings{"中文"});
    CHECK(matches(R"(.+)", "ab\ncd") == Strings{"ab", "cd"});
}

TEST_CASE("categories and scripts are those of Unicode 16.0") {
    CHECK(matches(R"(\p{Lu}\p{Ll}+)", "Été ÉTÉ Ab") == Strings{"Été", "Ab"});
    CHECK(matches(R"(\P{L}+)", "a12b") == Strings{"12"});
    CHECK(matches(R"(\p{^L}+)", "a12b") == Strings{"12"});
    CHECK(matches(R"(\p{Han}+)", "a中文か") == Strings{"中文"});
    CHECK(matches(R"(\p{Hiragana}|\p{Katakana})", "かカa") == Strings{"か", "カ"});
    CHECK(matches(R"(\p{M}+)", "e\u0301\u0903") == Strings{"\u0301\u0903"});
    CHECK(matches(R"(\p{P}+|\p{S}+)", "a+=!?b") == Strings{"+=", "!?"});
}

TEST_CASE("classes of escapes go beyond ASCII") {
    CHECK(matches(R"(\s+)", "a \u00A0\u3000\u0085b\u200Bc") == Strings{" \u00A0\u3000\u0085"});
    CHECK(matches(R"(\d+)", "1٣½") == Strings{"1٣"});
    CHECK(matches(R"(\w+)", "é_1-中") == Strings{"é_1", "中"});
    CHECK(matches(R"(\W+|\D)", "a-b1") == Strings{"a", "-", "b"});
    CHECK(matches(R"(\S+)", "a b\u3000c") == Strings{"a", "b", "c"});
}

TEST_CASE("case is ignored where the pattern says so") {
    CHECK(matches(R"((?i:'s|'ll))", "'S 'lL 's") == Strings{"'S", "'lL", "'s"});
    CHECK(matches(R"((?i:s))", "ſsS") == Strings{"ſ", "s", "S"});
    CHECK(matches(R"((?i:k))", "\u212AK") == Strings{"\u212A", "K"});
    CHECK(matches(R"((?i)ab(?-i)c)", "ABc ABC") == Strings{"ABc"});
    CHECK(matches(R"((?i:[a-c]+)d)", "AbCd") == Strings{"AbCd"});
    CHECK(matches(R"((?i:ς))", "Σσς") == Strings{"Σ", "σ", "ς"});
}

TEST_CASE("every code point finds back to itself through those that differ in case") {
    bool all_right = true;
    for (char32_t c = 0; c <= 0x10FFFF; ++c) {
        int count = 1;
        for (char32_t other = tenon::detail::next_case(c); other != c && count < 5; ++count)
            other = tenon::detail::next_case(other);
        all_right &= count < 5;
    }
    CHECK(all_right);
    CHECK(matches(R"((?i:Ѐ))", "\u0481") == Strings{});  // U+0481 once hung
}

TEST_CASE("looking around takes nothing") {
    CHECK(matches(R"(\s+(?!\S))", "a  b ") == Strings{" ", " "});
    CHECK(matches(R"(a(?=b))", "acab") == Strings{"a"});
    CHECK(matches(R"((?<=a)b)", "bab") == Strings{"b"});
    CHECK(matches(R"((?<!a)b)", "bab") == Strings{"b"});
    CHECK(matches(R"((?<=ab|cd)x)", "abxcdxax") == Strings{"x", "x"});
    CHECK(matches(R"((?<=中)b)", "中bb") == Strings{"b"});
}

TEST_CASE("anchors stand for places") {
    CHECK(matches(R"(^a)", "aa\na") == Strings{"a", "a"});
    CHECK(matches(R"(a$)", "aa\na") == Strings{"a", "a"});
    CHECK(matches(R"(\Aa)", "aa\na") == Strings{"a"});
    CHECK(matches(R"(a\z)", "a\na") == Strings{"a"});
    CHECK(matches(R"(a\Z)", "a\na\n") == Strings{"a"});
    CHECK(matches(R"(\bа\b)", "а аа") == Strings{"а"});
}

TEST_CASE("dialects differ, in what follows braces, in lines and in case") {
    // The second ones are tiktoken's, of version 0.14.
    using enum tenon::RegexDialect;
    CHECK(matches(R"(\d{1,3}+)", "1234567", oniguruma) == Strings{"1234567"});
    CHECK(matches(R"(\d{1,3}+)", "1234567", rust) == Strings{"123", "456", "7"});
    CHECK(matches(R"(a{2}?)", "aaab", oniguruma) == Strings{"aa"});
    CHECK(matches(R"(ba{2}?c)", "bcbaac", oniguruma) == Strings{"bc", "baac"});
    CHECK(matches(R"(ba{2}?c)", "bcbaac", rust) == Strings{"baac"});
    CHECK(matches(R"(a$)", "a\na", oniguruma) == Strings{"a", "a"});
    CHECK(matches(R"(^a$|b)", "a\nb", rust) == Strings{"b"});
    CHECK(matches(R"((?m:^a$)|b)", "a\nb", rust) == Strings{"a", "b"});
    CHECK(matches(R"(a(?m:.)b)", "a\nb", oniguruma) == Strings{"a\nb"});
    CHECK(matches(R"(a(?s:.)b)", "a\nb", rust) == Strings{"a\nb"});
    CHECK(matches(R"((?i:\p{Lu}))", "aA", oniguruma) == Strings{"A"});
    CHECK(matches(R"((?i:\p{Lu}))", "aA", rust) == Strings{"a", "A"});
    CHECK(matches(R"((?i:[\p{Lu}]))", "aA", oniguruma) == Strings{"a", "A"});
}

TEST_CASE("escapes name characters") {
    CHECK(matches(R"(\x41\x{4E2D}\u0042)", "A中B") == Strings{"A中B"});
    CHECK(matches(R"(\.\*\[\(\/)", ".*[(/") == Strings{".*[(/"});
    CHECK(matches(R"([\r\n\t]+)", "a\r\n\tb") == Strings{"\r\n\t"});
    CHECK(matches(R"(a(?#no text)b)", "ab") == Strings{"ab"});
}

TEST_CASE("a search goes on from a place, and sees what stands before it") {
    const Regex regex(R"((?<=a)b|c)");
    const auto match = regex.find("abc", 1);
    REQUIRE(match.has_value());
    CHECK(match->begin == 1);
    CHECK(match->end == 2);
    CHECK_FALSE(regex.find("xyz", 0).has_value());
    CHECK(regex.find("abc", 2)->begin == 2);
}

TEST_CASE("bytes that are no UTF-8 are characters of no class") {
    CHECK(matches(R"(\p{L}+)", "a\xFF\x62") == Strings{"a", "b"});
    CHECK(matches(R"([^\s\p{L}]+)", "a\xFF\xFE b") == Strings{"\xFF\xFE"});
    CHECK(matches(R"(\s)", "\xC2") == Strings{});
}

TEST_CASE("time is linear where backtracking is not") {
    const auto seconds_for = [](const std::string& pattern, const std::string& text) {
        const Regex regex(pattern);
        const auto start = std::chrono::steady_clock::now();
        (void)regex.find(text, 0);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const std::string many(20'000, 'a');
    CHECK(seconds_for(R"(\A(?:a+)+b)", many) < 2.0);
    CHECK(seconds_for(R"(\A(?:a|aa)*b)", many) < 2.0);
    CHECK(seconds_for(R"(\A(?:a*)*(?:a*)*b)", many) < 2.0);
    CHECK(seconds_for(R"(\A(?:a?){30}a{30}b)", many) < 2.0);
}

TEST_CASE("a match may be as long as the text") {
    const std::string many(1'000'000, 'a');
    CHECK(Regex(R"((?:a|b)+)").find(many, 0)->end == many.size());
    CHECK(Regex(R"((?:(?=a)a)+)").find(many, 0)->end == many.size());
}

TEST_CASE("what is malformed, or of another dialect, is an error that says where") {
    CHECK(message_of("a(b") == "regular expression, byte 3: expected \")\", got the end");
    CHECK(message_of("ab)c").starts_with("regular expression, byte 2: "));
    CHECK(message_of("[a").starts_with("regular expression, byte 2: "));
    CHECK(message_of("*a").starts_with("regular expression, byte 0: expected something to repeat"));
    CHECK(message_of("a{3,1}").starts_with("regular expression, byte "));
    CHECK(message_of("[z-a]").starts_with("regular expression, byte "));
    CHECK(
        message_of(R"(\p{Nothing})").starts_with("regular expression, byte 3: expected a general category"));
    CHECK(message_of(R"(\x{110000})").starts_with("regular expression, byte "));
    CHECK(message_of(R"((a)\1)").starts_with("regular expression, byte 4: "));
    CHECK(message_of(R"((?<=a+)b)").starts_with("regular expression, byte "));
    CHECK(message_of("\xFF").starts_with("regular expression, byte 0: expected UTF-8"));
    CHECK(message_of(std::string(200, '(')).starts_with("regular expression, byte "));
    CHECK(message_of("(?:(?:a{1000}){1000}){1000}").starts_with("regular expression, byte "));
}
