#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include <tenon/core/error.hpp>
#include <tenon/io/json.hpp>
#include <tenon/tokenizer/jinja/template.hpp>

using namespace tenon;

namespace {

/// The names are given as JSON.
std::string render(std::string_view source, std::string_view names = "{}") {
    const JsonDocument json = parse_json(names, "names");
    return jinja::Template(source).render(*jinja::Value(json.root()).map(), 0);
}

std::string message_of(std::string_view source, std::string_view names = "{}") {
    try {
        render(source, names);
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("values are printed as Python prints them") {
    CHECK(render("{{ 1 }} {{ 2.0 }} {{ 1e20 }} {{ 1e-5 }} {{ true }} {{ none }} {{ missing }}|") ==
          "1 2.0 1e+20 1e-05 True None |");
    CHECK(render("{{ x }}", R"({"x": [1, "a", "it's", {"k": null}]})") == R"([1, 'a', "it's", {'k': None}])");
}

TEST_CASE("operators bind as in Python") {
    CHECK(render("{{ 1 + 2 * 3 - 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 6 / 2 }}") ==
          "4 -4 2 1024 3.0");
    CHECK(render("{{ 1 < 2 <= 2 }} {{ 1 < 2 > 3 }} {{ not 1 == 2 and 'b' in 'abc' }} {{ 1 not in [2] }}") ==
          "True False True True");
    CHECK(
        render("{{ 'a' ~ 1 ~ none }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ 'x' if 0 else 'y' if 1 else 'z' }}") ==
        "a1None abab [1, 2] y");
    CHECK(render("{{ '%s is %d%%' % ['x', 5] }} {{ '{} {1} {k:d} {{}}'.format('a', 'b', k=3) }}") ==
          "x is 5% a b 3 {}");
}

TEST_CASE("lists and texts are indexed and sliced by elements and characters") {
    const std::string names = R"({"l": [1, 2, 3], "s": "häuser", "d": {"a": {"b": 5}, "items": 1}})";
    CHECK(render("{{ l[0] }} {{ l[-1] }} {{ l[1:] }} {{ l[::-1] }} {{ l[7] }}|", names) ==
          "1 3 [2, 3] [3, 2, 1] |");
    CHECK(render("{{ s[1] }} {{ s[1:3] }} {{ s | length }} {{ s | reverse }}", names) == "ä äu 6 resuäh");
    CHECK(render(
              "{{ d.a.b }} {{ d['a']['b'] }} {{ d['items'] }} {{ d.get('x', 7) }} {{ d.nothing is defined }}",
              names) == "5 5 1 7 False");
    CHECK(render("{% for k, v in d.items() %}{{ k }} {% endfor %}", names) == "a items ");
}

TEST_CASE("a loop knows where it is, and its names end with it") {
    CHECK(render("{% for x in 'abc' %}{{ loop.index0 }}{{ x }}{{ loop.last }} {% endfor %}") ==
          "0aFalse 1bFalse 2cTrue ");
    CHECK(
        render(
            "{% for x in [1, 2, 3, 4] if x % 2 == 0 %}{{ loop.index }}:{{ x }} {% else %}none{% endfor %}") ==
        "1:2 2:4 ");
    CHECK(render("{% for x in [] %}x{% else %}none{% endfor %}") == "none");
    CHECK(render("{% for x in range(9) %}{% if x == 1 %}{% continue %}{% elif x == 4 %}{% break %}{% endif "
                 "%}{{ x }}{% endfor %}") == "023");
    CHECK(render("{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}") ==
          "221");
    CHECK(render("{% set ns = namespace(x=1) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ "
                 "ns.x }}") == "4");
}

TEST_CASE("macros, call blocks, set blocks and filter blocks") {
    CHECK(render("{% macro f(a, b=2) %}[{{ a }},{{ b }}]{% endmacro %}{{ f(1) }}{{ f(b=3, a=4) }}") ==
          "[1,2][4,3]");
    CHECK(render("{% macro wrap() %}<{{ caller() }}>{% endmacro %}{% call wrap() %}in{% endcall %}") ==
          "<in>");
    CHECK(render("{% set x %}a{{ 1 }}{% endset %}{{ x | upper }}{% filter upper %}b{% endfilter %}") ==
          "A1B");
    // One that outlives the loop around it still sees its names.
    CHECK(render("{% set ns = namespace() %}{% for i in [7] %}{% macro f() %}{{ i }}{% endmacro %}{% set "
                 "ns.f = f %}"
                 "{% endfor %}{{ ns.f() }}") == "7");
}

TEST_CASE("filters and tests") {
    const std::string names =
        R"({"m": [{"role": "user", "n": 2}, {"role": "tool", "n": 1}], "u": "ä\"\n", "l": [3, 1, 2, 1]})";
    CHECK(render("{{ m | selectattr('role', 'equalto', 'user') | list | length }} {{ m | "
                 "map(attribute='role') | join(', ') }}",
                 names) == "1 user, tool");
    CHECK(render("{{ l | sort | unique | list }} {{ m | sort(attribute='n') | map(attribute='n') | list }} "
                 "{{ l | max }}",
                 names) == "[1, 2, 3] [1, 2] 3");
    CHECK(render("{{ u | tojson }} {{ m[0] | tojson(indent=2) }}", names) ==
          "\"ä\\\"\\n\" {\n  \"role\": \"user\",\n  \"n\": 2\n}");
    CHECK(render("{{ ' x ' | trim }}{{ missing | default('d') }}{{ 'a-b' | replace('-', '+') }}{{ '7' | int "
                 "+ 1 }}") == "xda+b8");
    CHECK(render("{{ 1 is odd }} {{ 'x' is string }} {{ none is not none }} {{ {} is mapping }} {{ 1 is in "
                 "[1] }}") == "True True False True True");
    CHECK(render("{{ 'a,b'.split(',') }} {{ 'abc'.startswith(['x', 'a']) }} {{ ' x'.strip() }} {{ "
                 "'abab'.rfind('b') }}") == "['a', 'b'] True x 3");
}

TEST_CASE("blanks and newlines around blocks are dropped, as chat templates expect") {
    CHECK(render("a\n  {% if 1 %}\n  b\n  {% endif %}\nc\n") == "a\n  b\nc");
    CHECK(render("a  {%- if 1 -%}  b  {%- endif %}\nc") == "abc");
    CHECK(render("  {{ 1 }}\n{# note #}\nx") == "  1\nx");
    CHECK(render("  {%+ if 1 +%}\nx{% endif %}") == "  \nx");
    CHECK(render("{% raw %}{{ x }}{% endraw %}\ny") == "{{ x }}y");
}

TEST_CASE("what is wrong is told with its line") {
    CHECK(message_of("a\n{% if x %}") ==
          "template, line 2: expected \"{% endif %}\", got \"the end of the template\"");
    CHECK(message_of("{{ 1 +").find("line 1: expected \"}}\"") != std::string::npos);
    CHECK(message_of("\n\n{{ raise_exception('roles must alternate') }}") ==
          "template, line 3: roles must alternate");
    CHECK(message_of("{{ missing.x }}").find("the undefined \"missing\"") != std::string::npos);
    CHECK(message_of("{{ 1 | nothing }}").find("\"nothing\"") != std::string::npos);
    CHECK(message_of("{{ 'a' + 1 }}").find("a string and an int") != std::string::npos);
    CHECK(message_of("{{ 1 // 0 }}").find("expected a divisor, got 0") != std::string::npos);
}

TEST_CASE("no template hangs, crashes or takes all memory") {
    const std::string open(5000, '('), close(5000, ')');
    CHECK(message_of("{{ " + open + "1" + close + " }}").find("at most 200 levels") != std::string::npos);
    std::string sum = "{{ 1";
    for (int i = 0; i < 5000; ++i) sum += "+1";
    CHECK(message_of(sum + " }}").find("at most 1000 levels") != std::string::npos);
    CHECK(message_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("at most 100 deep") !=
          std::string::npos);
    CHECK(
        message_of(
            "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}")
            .find("at most") != std::string::npos);
    CHECK(message_of(
              "{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}")
              .find("500 levels") != std::string::npos);
    CHECK(message_of("{% set ns = namespace() %}{% set ns.x = [ns] %}").find("without namespaces") !=
          std::string::npos);
    CHECK(message_of("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
              .find("2,000,000 steps") != std::string::npos);
    CHECK(message_of("{{ 'a' * 999999999999 }}").find("at most") != std::string::npos);
}
