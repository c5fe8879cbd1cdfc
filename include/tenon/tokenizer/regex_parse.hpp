#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/regex_dialect.hpp"
#include "tenon/tokenizer/regex_program.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// Compiles a pattern.
class RegexParser : private RegexSteps {
public:
    RegexParser(std::string_view pattern, RegexDialect dialect) : pattern_(pattern), dialect_(dialect) {
        if (!is_valid_utf8(pattern)) fail("UTF-8");
    }

    RegexProgram parse() {
        Steps steps = parse_alternatives();
        if (!at_end()) fail("an opening bracket before \")\"");
        steps.push_back({Kind::match});
        for (CharacterSet& set : program_.sets) set.finish();
        program_.word.finish();
        program_.steps = std::move(steps);
        return std::move(program_);
    }

private:
    static constexpr std::size_t maximum_steps = 20'000;
    static constexpr int maximum_depth = 100;

    [[noreturn]] void fail(const std::string& expected) const {
        const std::string rest(pattern_.substr(std::min(at_, pattern_.size()), 12));
        throw Error("regular expression, byte " + std::to_string(at_) + ": expected " + expected + ", got " +
                    (rest.empty() ? "the end" : "\"" + rest + "\""));
    }

    bool at_end() const { return at_ >= pattern_.size(); }
    bool at(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
    bool take(std::string_view text) {
        if (!at(text)) return false;
        at_ += text.size();
        return true;
    }
    char32_t take_character() {
        if (at_end()) fail("a character");
        const Utf8Character character = decode_utf8_character(pattern_.substr(at_));
        at_ += character.size;
        return character.code_point;
    }

    void require_size(std::size_t size) const {
        if (size > maximum_steps) fail("a pattern of at most 20,000 steps before here");
    }

    // The grammar.

    Steps parse_alternatives() {
        if (++depth_ > maximum_depth) fail("brackets at most 100 deep");
        const bool ignores_case = ignores_case_, dot_matches_all = dot_matches_all_,
                   is_of_lines = is_of_lines_;
        std::vector<Steps> alternatives{parse_sequence()};
        while (take("|")) alternatives.push_back(parse_sequence());
        Steps steps = std::move(alternatives.back());
        for (std::size_t i = alternatives.size() - 1; i-- > 0;) steps = split(alternatives[i], steps);
        require_size(steps.size());
        ignores_case_ = ignores_case;
        dot_matches_all_ = dot_matches_all;
        is_of_lines_ = is_of_lines;
        --depth_;
        return steps;
    }

    Steps parse_sequence() {
        Steps steps;
        while (!at_end() && !at("|") && !at(")")) {
            append(steps, parse_repeated());
            require_size(steps.size());
        }
        return steps;
    }

    Steps parse_repeated() {
        Steps part = parse_one();
        for (;;) {
            std::uint32_t least = 0, most = 0;
            bool is_bounded = false, has_braces = false, has_one_number = false;
            if (take("?")) {
                most = 1, is_bounded = true;
            } else if (take("+")) {
                least = 1;
            } else if (!take("*")) {
                const std::size_t begin = at_;
                if (!take("{")) return part;
                const std::optional<std::uint32_t> first = take_number();
                const bool has_comma = take(",");
                const std::optional<std::uint32_t> second = has_comma ? take_number() : first;
                if (!take("}") || (!first && !second)) {  // braces stand for themselves
                    at_ = begin;
                    return part;
                }
                has_braces = true;
                has_one_number = !has_comma;
                least = first.value_or(0);
                is_bounded = second.has_value();
                most = second.value_or(0);
                if (is_bounded && most < least) fail("a greater number before \"}\"");
            }
            // In Oniguruma, what follows braces is another repetition.
            const bool is_plain = has_braces && dialect_ == RegexDialect::oniguruma;
            const bool is_lazy = !(is_plain && has_one_number) && take("?");
            const bool is_possessive = !is_lazy && !is_plain && take("+");
            require_size(part.size() * std::max<std::size_t>(1, std::max(least, most)));
            Steps repeated;
            for (std::uint32_t i = 0; i < least; ++i) append(repeated, part);
            if (!is_bounded) {
                append(repeated, any_number(part, is_lazy));
            } else {
                Steps rest;
                for (std::uint32_t i = least; i < most; ++i) {
                    Steps longer = part;
                    append(longer, rest);
                    rest = optional(longer, is_lazy);
                }
                append(repeated, rest);
            }
            part = is_possessive ? apart(Kind::atomic, repeated) : std::move(repeated);
            require_size(part.size());
        }
    }

    std::optional<std::uint32_t> take_number() {
        std::optional<std::uint32_t> number;
        for (; !at_end() && pattern_[at_] >= '0' && pattern_[at_] <= '9'; ++at_) {
            number = number.value_or(0) * 10 + static_cast<std::uint32_t>(pattern_[at_] - '0');
            if (*number > 1000) fail("at most 1000 repetitions");
        }
        return number;
    }

    Steps parse_one() {
        if (take("(")) return parse_group();
        if (take("[")) return {character(parse_class())};
        if (take(".")) {
            CharacterSet set;
            if (!dot_matches_all_) set.add('\n', '\n');
            set.negate();
            return {character(std::move(set))};
        }
        if (take("^")) return {{is_of_lines_ ? Kind::line_begin : Kind::text_begin}};
        if (take("$")) return {{is_of_lines_ ? Kind::line_end : Kind::text_end}};
        if (at("*") || at("+") || at("?")) fail("something to repeat");
        if (take("\\")) return parse_escape();
        return {character(take_character())};
    }

    Steps parse_group() {
        const auto close = [this](Steps steps) {
            if (!take(")")) fail("\")\"");
            return steps;
        };
        if (!take("?")) return close(parse_alternatives());
        if (take(":")) return close(parse_alternatives());
        if (take(">")) return close(apart(Kind::atomic, parse_alternatives()));
        if (take("=")) return close(apart(Kind::look_ahead, parse_alternatives()));
        if (take("!")) return close(apart(Kind::look_ahead, parse_alternatives(), true));
        const bool looks_behind = at("<=") || at("<!");
        if (looks_behind) {
            const bool is_negated = pattern_[at_ + 1] == '!';
            at_ += 2;
            const Steps part = parse_alternatives();
            return close(apart(Kind::look_behind, part, is_negated, length_of(part)));
        }
        if (take("#")) {
            while (!at_end() && !at(")")) ++at_;
            return close({});
        }
        // Options, for the rest of the group around or for a group of their own.
        bool turns_on = true;
        const bool ignores_case = ignores_case_, dot_matches_all = dot_matches_all_,
                   is_of_lines = is_of_lines_;
        for (;; ++at_) {
            if (at("-")) {
                turns_on = false;
            } else if (at("i")) {
                ignores_case_ = turns_on;
            } else if (at("m") && dialect_ == RegexDialect::rust) {
                is_of_lines_ = turns_on;
            } else if (at("s") || at("m")) {
                dot_matches_all_ = turns_on;
            } else if (!at("u")) {
                break;
            }
        }
        if (take(")")) return {};
        if (!take(":")) fail("one of (?:, (?=, (?!, (?<=, (?<!, (?>, (?i: and (?i)");
        Steps steps = parse_alternatives();
        ignores_case_ = ignores_case;
        dot_matches_all_ = dot_matches_all;
        is_of_lines_ = is_of_lines;
        return close(std::move(steps));
    }

    /// How many characters a part of plain steps has.
    std::uint32_t length_of(const Steps& part) const {
        std::vector<std::uint32_t> lengths(part.size() + 1, UINT32_MAX);
        lengths[0] = 0;
        const auto reach = [&](std::size_t step, std::uint32_t length) {
            if (lengths[step] != UINT32_MAX && lengths[step] != length)
                fail("alternatives of one length in what looks behind, before here");
            lengths[step] = length;
        };
        for (std::size_t i = 0; i < part.size(); ++i) {
            const Step& step = part[i];
            if (lengths[i] == UINT32_MAX) continue;
            if (step.kind == Kind::loop) fail("no repetition in what looks behind, before here");
            if (step.kind == Kind::split) {
                reach(step.a, lengths[i]);
                reach(step.b, lengths[i]);
            } else if (step.kind == Kind::jump) {
                reach(step.a, lengths[i]);
            } else if (step.kind == Kind::character) {
                reach(i + 1, lengths[i] + 1);
            } else {
                fail("plain characters in what looks behind, before here");
            }
        }
        return lengths[part.size()];
    }

    // Characters.

    Step character(CharacterSet set, bool ignores_case) {
        if (ignores_case) set.ignore_case();
        program_.sets.push_back(std::move(set));
        return {Kind::character, static_cast<std::uint32_t>(program_.sets.size() - 1)};
    }
    Step character(CharacterSet set) { return character(std::move(set), ignores_case_); }
    Step character(char32_t c) {
        CharacterSet set;
        set.add(c, c);
        return character(std::move(set));
    }

    Steps parse_escape() {
        if (take("A")) return {{Kind::text_begin}};
        if (take("z")) return {{Kind::text_end}};
        if (take("Z")) return {{Kind::last_line_end}};
        if (take("b")) return {{Kind::word_boundary}};
        if (take("B")) return {{Kind::word_boundary, 1}};
        if (take("R")) {
            Steps newline{character('\r')};
            append(newline, {character('\n')});
            CharacterSet others;
            others.add('\n', '\r');
            others.add(0x85, 0x85);
            others.add(0x2028, 0x2029);
            return apart(Kind::atomic, split(newline, {character(std::move(others))}));
        }
        CharacterSet set;
        if (add_class(set))
            return {character(std::move(set), ignores_case_ && dialect_ == RegexDialect::rust)};
        return {character(parse_escaped_character())};
    }

    /// \s, \d, \p{L} and their like, after the backslash; false for what is one character.
    bool add_class(CharacterSet& set) {
        const auto add = [&](std::uint32_t categories, bool is_negated) {
            CharacterSet inner;
            inner.add_categories(categories);
            if (is_negated) inner.negate();
            inner.finish();
            set.add(std::move(inner));
            return true;
        };
        if (at("s") || at("S")) {
            set.add_white_space(at("S"));
            ++at_;
            return true;
        }
        using G = GeneralCategory;
        const std::uint32_t digits = bit_of(G::decimal_number);
        if (take("d")) return add(digits, false);
        if (take("D")) return add(digits, true);
        if (at("w") || at("W")) {
            CharacterSet inner = word_characters();
            if (at("W")) inner.negate();
            inner.finish();
            set.add(std::move(inner));
            ++at_;
            return true;
        }
        if (!at("p") && !at("P")) return false;
        bool is_negated = pattern_[at_++] == 'P';
        std::string_view name = pattern_.substr(at_, 1);
        if (take("{")) {
            if (take("^")) is_negated = !is_negated;
            const std::size_t end = pattern_.find('}', at_);
            if (end == pattern_.npos) fail("\"}\"");
            name = pattern_.substr(at_, end - at_);
            at_ = end;
        }
        const std::uint32_t categories = categories_of(name);
        if (categories == 0) {
            const std::uint8_t script =
                script_named(name.substr(name.find('=') == name.npos ? 0 : name.find('=') + 1));
            if (script == 0) {
                at_ -= name.size();
                fail("a general category or a script");
            }
            CharacterSet inner;
            inner.add_script(script);
            if (is_negated) inner.negate();
            inner.finish();
            set.add(std::move(inner));
            at_ += 1;
            return true;
        }
        at_ += 1;
        return add(categories, is_negated);
    }

    /// The general categories of a name such as L, Lu, or Letter; 0 if it is none.
    static std::uint32_t categories_of(std::string_view name) {
        using G = GeneralCategory;
        constexpr std::string_view names = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCn";
        if (name == "L" || name == "Letter") return bits_of(G::uppercase_letter, G::other_letter);
        if (name == "M" || name == "Mark") return bits_of(G::nonspacing_mark, G::enclosing_mark);
        if (name == "N" || name == "Number") return bits_of(G::decimal_number, G::other_number);
        if (name == "P" || name == "Punctuation" || name == "Punct")
            return bits_of(G::connector_punctuation, G::other_punctuation);
        if (name == "S" || name == "Symbol") return bits_of(G::math_symbol, G::other_symbol);
        if (name == "Z" || name == "Separator") return bits_of(G::space_separator, G::paragraph_separator);
        if (name == "C" || name == "Other") return bits_of(G::control, G::unassigned);
        if (name.size() != 2) return 0;
        const std::size_t at = names.find(name);
        return at == names.npos || at % 2 != 0 ? 0 : std::uint32_t{1} << at / 2;
    }

    /// The number of a script's name, such as Han; 0 if it is none.
    static std::uint8_t script_named(std::string_view name) {
        std::string plain;
        for (const char c : name)
            if (c != '_' && c != ' ') plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        for (const ScriptName& script : script_names)
            if (script.name == plain) return script.script;
        return 0;
    }

    char32_t parse_escaped_character() {
        const std::size_t begin = at_;
        const char32_t c = take_character();
        switch (c) {
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'f':
                return '\f';
            case 'v':
                return '\v';
            case 'a':
                return '\a';
            case 'e':
                return 0x1B;
            case '0':
                return 0;
            case 'x':
            case 'u':
            case 'U': {
                const bool has_braces = take("{");
                const std::size_t most = has_braces ? 8 : c == 'x' ? 2 : c == 'u' ? 4 : 8;
                char32_t code = 0;
                std::size_t count = 0;
                for (; count < most && !at_end(); ++count, ++at_) {
                    const char digit = pattern_[at_];
                    const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                                      : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                      : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                                     : -1;
                    if (value < 0) break;
                    code = code * 16 + static_cast<char32_t>(value);
                }
                if (count == 0 || (has_braces && !take("}"))) fail("a number in hexadecimal");
                if (code > 0x10FFFF) fail("a code point up to 10FFFF before here");
                return code;
            }
            default:
                if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9')) {
                    at_ = begin;
                    fail("an escape of this dialect after the backslash");
                }
                return c;
        }
    }

    /// What stands in brackets, after the first.
    CharacterSet parse_class() {
        if (++depth_ > maximum_depth) fail("brackets at most 100 deep");
        const bool is_negated = take("^");
        CharacterSet set, outside;  // outside: all that one side of a && is without
        bool is_intersection = false;
        const auto narrow = [&] {
            set.negate();
            set.finish();
            outside.add(std::exchange(set, {}));
        };
        for (bool is_first = true; is_first || !at("]"); is_first = false) {
            if (at_end()) fail("\"]\"");
            if (at("&&") && (is_first || ignores_case_)) fail("a class without \"&&\"");
            if (take("&&")) {
                if (at("]") || at("&&")) fail("characters after \"&&\"");
                narrow();
                is_intersection = true;
                continue;
            }
            if (take("[:")) fail("\\p{...} for a class of POSIX");
            if (take("[")) {
                CharacterSet inner = parse_class();
                inner.finish();
                set.add(std::move(inner));
                continue;
            }
            char32_t first = 0;
            if (take("\\")) {
                if (add_class(set)) continue;
                first = take("b") ? U'\b' : parse_escaped_character();
            } else {
                first = take_character();
            }
            char32_t last = first;
            if (at("-") && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
                const std::size_t dash = at_++;
                CharacterSet unused;
                if (take("\\")) {
                    if (add_class(unused)) {  // the dash stands for itself
                        at_ = dash;
                        set.add(first, first);
                        set.add('-', '-');
                        ++at_;
                        continue;
                    }
                    last = parse_escaped_character();
                } else {
                    last = take_character();
                }
                if (last < first) fail("a range from the lesser to the greater before here");
            }
            set.add(first, last);
        }
        ++at_;
        --depth_;
        if (is_intersection) {
            narrow();
            set = std::move(outside);
            set.negate();
        }
        if (is_negated) set.negate();
        return set;
    }

    std::string_view pattern_;
    std::size_t at_ = 0;
    int depth_ = 0;
    RegexDialect dialect_;
    bool ignores_case_ = false, dot_matches_all_ = false;
    bool is_of_lines_ = dialect_ == RegexDialect::oniguruma;  // ^ and $
    RegexProgram program_;
};

}  // namespace tenon::detail
