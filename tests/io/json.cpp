#include "tenon/io/json.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "tenon/io/json_text.hpp"
#include "thrown_message.hpp"

using namespace tenon;

TEST_CASE("values keep their kind, their order and their place") {
    JsonDocument first =
        parse_json(R"( {"a": [1, -2.5, "x\u00e9\n", true, null], "b": {}, "a": 3} )", "file");
    JsonDocument document = std::move(first);  // what it holds stays valid
    Json root = document.root();
    CHECK(root.size() == 3);
    Json a = root.at("a");
    REQUIRE(a.is(JsonKind::array));
    REQUIRE(a.size() == 5);
    auto element = a.elements().begin();
    CHECK((*element).integer() == 1);
    CHECK((*element).real() == 1.0);
    CHECK((*++element).real() == -2.5);
    CHECK((*++element).text() == "x\xC3\xA9\n");
    CHECK((*++element).boolean());
    CHECK((*++element).is(JsonKind::null));
    CHECK((*element).where() == "file: a.4");
    CHECK(root.at("b").size() == 0);
    CHECK_FALSE(root.find("c"));
    CHECK_FALSE(a.find("c"));
    std::string keys;
    for (Json member : root.members()) keys += member.key();
    CHECK(keys == "aba");
}

TEST_CASE("numbers are rounded correctly, and integers are exact") {
    auto parse = [](std::string text) {
        JsonDocument document = parse_json(text, "file");
        Json root = document.root();
        return std::pair(root.kind(),
                         root.is(JsonKind::integer) ? static_cast<double>(root.integer()) : root.real());
    };
    CHECK(parse("0.1") == std::pair(JsonKind::real, 0.1));
    CHECK(parse("1e-06") == std::pair(JsonKind::real, 1e-6));
    CHECK(parse("9007199254740993.0") == std::pair(JsonKind::real, 9007199254740992.0));
    CHECK(parse("1.7976931348623157e308").second == std::numeric_limits<double>::max());
    CHECK(parse("4.9e-324").second == std::numeric_limits<double>::denorm_min());
    CHECK(parse("18446744073709551616") == std::pair(JsonKind::real, 18446744073709551616.0));
    CHECK(parse_json("9223372036854775807", "file").root().integer() ==
          std::numeric_limits<std::int64_t>::max());
    CHECK(parse_json("-9223372036854775808", "file").root().integer() ==
          std::numeric_limits<std::int64_t>::min());
}

TEST_CASE("what is not JSON is refused, with the file and the offset") {
    for (std::string text : {"",
                             " ",
                             "{",
                             "[1,",
                             "[1,]",
                             "{\"a\"}",
                             "{\"a\":1,}",
                             "nul",
                             "01",
                             "1.",
                             "+1",
                             ".5",
                             "NaN",
                             "Infinity",
                             "1e999",
                             "0.1e-2147483648",
                             "1e-2147483649",
                             "\"a",
                             "\"\\x\"",
                             "\"\n\"",
                             "\"\\ud800\"",
                             "\"\\udc00\"",
                             "\"\\ud800\\u0041\"",
                             "\"\xFF\"",
                             "\"\xED\xA0\x80\"",
                             "\"\xC0\x80\"",
                             "{1:2}",
                             "1 2",
                             "[1}",
                             "'a'",
                             "// c"}) {
        CAPTURE(text);
        check_mentions(thrown_message([&] { parse_json(text, "config.json"); }),
                       {"config.json: expected JSON, got at byte "});
    }
    check_mentions(thrown_message([] { parse_json("[1, 2, x]", "f"); }), {"at byte 7"});
    check_mentions(thrown_message([] { parse_json(std::string("{}\0{}", 5), "f"); }), {"at byte 2", "NUL"});
    CHECK_THROWS_AS(parse_json(std::string(1, '\0'), "f"), FileError);
}

TEST_CASE("deep nesting is refused, not followed") {
    CHECK(parse_json(std::string(256, '[') + std::string(256, ']'), "f").root().size() == 1);
    for (const char* opening : {"[", "{\"a\":"}) {
        std::string text;
        for (int i = 0; i < 1'000'000; ++i) text += opening;
        check_mentions(thrown_message([&] { parse_json(text, "f"); }), {"deeper than 256"});
    }
}

TEST_CASE("asking for another kind names the place and both kinds") {
    JsonDocument document = parse_json(R"({"a": [{"b": "text"}]})", "f");
    Json b = (*document.root().at("a").elements().begin()).at("b");
    check_mentions(thrown_message([&] { b.integer(); }),
                   {"f: a.0.b: expected an integer, got a text \"text\""});
    check_mentions(thrown_message([&] { b.at("c"); }), {"a.0.b: expected an object"});
    check_mentions(thrown_message([&] { document.root().at("c"); }),
                   {"f: the whole text: expected a key \"c\", got none"});
    CHECK_THROWS_AS(b.elements(), FileError);
    CHECK_THROWS_AS(b.members(), FileError);
    CHECK_THROWS_AS(b.boolean(), FileError);
    CHECK_THROWS_AS(b.real(), FileError);
    CHECK_THROWS_AS(document.root().text(), FileError);
}

TEST_CASE("what is appended as JSON reads back") {
    for (std::string text : {std::string("a\"\\\n\t\x01\x7F/"), std::string("\0x", 2),
                             std::string("\xF0\x9F\x98\x80 \xC3\xA9")}) {
        std::string json;
        append_json_string(json, text);
        CHECK(parse_json(json, "f").root().text() == text);
    }
    std::string json;
    append_json_string(json, "a\xFFz\xE2\x82");
    CHECK(json == "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"");
    for (double number : {0.0, 0.1, 1e-300, 1e300, -3.25, 1.0 / 3}) {
        json.clear();
        append_json_number(json, number);
        CHECK(parse_json(json, "f").root().real() == number);
    }
    for (double number :
         {std::nan(""), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
        json.clear();
        append_json_number(json, number);
        CHECK(json == "null");
    }
}

TEST_CASE("UTF-8 is what RFC 3629 allows") {
    CHECK(is_utf8("a\xC2\x80\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"));
    for (const char* text : {"\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                             "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\xF0\x9F\x98"}) {
        CHECK_FALSE(is_utf8(text));
    }
}
