#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "tenon/tokenizer/case_folding_tables.hpp"
#include "tenon/tokenizer/script_tables.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// The next code point that is the same but for case, from the last of them to the first.
constexpr char32_t next_case(char32_t c) {
    const auto* run =
        std::upper_bound(std::begin(case_runs), std::end(case_runs), c,
                         [](char32_t value, const CodePointRun& one) { return value < one.first; });
    // Two runs may lie in each other, of every other code point.
    for (int i = 0; i < 2 && run != std::begin(case_runs); ++i) {
        --run;
        if (c <= run->last && (c - run->first) % run->step == 0)
            return static_cast<char32_t>(static_cast<std::int64_t>(c) + run->difference);
    }
    return c;
}

/// The bits of general categories.
constexpr std::uint32_t bit_of(GeneralCategory category) {
    return std::uint32_t{1} << static_cast<unsigned>(category);
}

/// Those from one to another.
constexpr std::uint32_t bits_of(GeneralCategory first, GeneralCategory last) {
    return (bit_of(last) << 1) - bit_of(first);
}

/// The number of a code point's script in script_names, 0 where it has none.
constexpr std::uint8_t script_of(char32_t c) {
    const auto* next = std::upper_bound(std::begin(script_starts), std::end(script_starts),
                                        (static_cast<std::uint32_t>(c) << 8) | 0xFF);
    return next == std::begin(script_starts) ? 0 : static_cast<std::uint8_t>(next[-1] & 0xFF);
}

/// Characters that one place of a pattern matches.
class CharacterSet {
public:
    struct Range {
        char32_t first, last;
    };

    void add(char32_t first, char32_t last) { ranges_.push_back({first, last}); }
    void add_categories(std::uint32_t categories) { categories_ |= categories; }
    void add_white_space(bool is_negated) {
        (is_negated ? has_other_than_white_space_ : has_white_space_) = true;
    }
    void add_script(std::uint8_t script) { scripts_.push_back(script); }
    void add(CharacterSet inner) { inner_.push_back(std::move(inner)); }
    void negate() { is_negated_ = !is_negated_; }
    void ignore_case() { ignores_case_ = true; }

    /// Makes the table of ASCII; to be called once all is added.
    void finish() {
        for (char32_t c = 0; c < 128; ++c) ascii_[c] = look_up(c);
    }

    /// What is not UTF-8 is a character of no class: in negated sets alone.
    bool contains(char32_t c) const { return c < 128 ? ascii_[c] : look_up(c); }

private:
    bool look_up(char32_t c) const {
        bool has = has_itself(c);
        if (ignores_case_ && c != Utf8Character::invalid)
            for (char32_t other = next_case(c); !has && other != c; other = next_case(other))
                has = has_itself(other);
        return has != is_negated_;
    }

    bool has_itself(char32_t c) const {
        for (const Range& range : ranges_)
            if (range.first <= c && c <= range.last) return true;
        for (const CharacterSet& set : inner_)
            if (set.contains(c)) return true;
        if (c == Utf8Character::invalid) return has_other_than_white_space_;
        if (categories_ & bit_of(general_category(c))) return true;
        for (const std::uint8_t script : scripts_)
            if (script_of(c) == script) return true;
        return (has_white_space_ && is_white_space(c)) || (has_other_than_white_space_ && !is_white_space(c));
    }

    std::vector<Range> ranges_;
    std::vector<CharacterSet> inner_;
    std::vector<std::uint8_t> scripts_;
    std::uint32_t categories_ = 0;
    bool has_white_space_ = false, has_other_than_white_space_ = false;
    bool is_negated_ = false, ignores_case_ = false;
    std::bitset<128> ascii_;
};

/// \w as Oniguruma has it: letters, marks, digits, connectors, and what else counts as alphabetic.
inline CharacterSet word_characters() {
    using G = GeneralCategory;
    CharacterSet set;
    set.add_categories(bits_of(G::uppercase_letter, G::letter_number) | bit_of(G::connector_punctuation));
    for (const CharacterSet::Range range : {CharacterSet::Range{0xB2, 0xB3},
                                            {0xB9, 0xB9},
                                            {0xBC, 0xBE},
                                            {0x24B6, 0x24E9},
                                            {0x1F130, 0x1F149},
                                            {0x1F150, 0x1F169},
                                            {0x1F170, 0x1F189}})
        set.add(range.first, range.last);
    return set;
}

/// One step of a pattern's program.
struct RegexStep {
    enum class Kind : std::uint8_t {
        character,  ///< one of set `a`
        split,      ///< goes on at `a`, or else at `b`
        loop,       ///< the same, once at a place: who comes again has found nothing to repeat, and leaves
        jump,       ///< goes on at `a`
        text_begin,
        text_end,
        line_begin,
        line_end,
        last_line_end,  ///< the end, or before a newline there
        word_boundary,  ///< or none, if `a`
        look_ahead,   ///< the steps from the next one on must match here, or must not, if `b`; goes on at `a`
        look_behind,  ///< the same, `count` characters before
        atomic,       ///< the steps from the next one on match in the first way or in none; goes on at `a`
        match,        ///< ends the whole, or what looks ahead or behind or is atomic
    };

    Kind kind;
    std::uint32_t a = 0, b = 0, count = 0;
};

/// Joins programs of parts of a pattern, whose jumps are relative to their first step.
struct RegexSteps {
    using Step = RegexStep;
    using Kind = Step::Kind;
    using Steps = std::vector<Step>;

    static void append(Steps& to, const Steps& part) {
        const auto offset = static_cast<std::uint32_t>(to.size());
        for (Step step : part) {
            const bool jumps_twice = step.kind == Kind::split || step.kind == Kind::loop;
            const bool jumps = jumps_twice || step.kind == Kind::jump || step.kind == Kind::look_ahead ||
                               step.kind == Kind::look_behind || step.kind == Kind::atomic;
            if (jumps) step.a += offset;
            if (jumps_twice) step.b += offset;
            to.push_back(step);
        }
    }
    static Steps split(const Steps& first, const Steps& second) {
        Steps steps{{Kind::split, 1, static_cast<std::uint32_t>(first.size()) + 2}};
        append(steps, first);
        steps.push_back({Kind::jump, static_cast<std::uint32_t>(first.size() + second.size()) + 2});
        append(steps, second);
        return steps;
    }
    static Steps optional(const Steps& part, bool is_lazy) {
        const auto after = static_cast<std::uint32_t>(part.size()) + 1;
        Steps steps{is_lazy ? Step{Kind::split, after, 1} : Step{Kind::split, 1, after}};
        append(steps, part);
        return steps;
    }
    static Steps any_number(const Steps& part, bool is_lazy) {
        const auto after = static_cast<std::uint32_t>(part.size()) + 2;
        Steps steps{is_lazy ? Step{Kind::loop, after, 1} : Step{Kind::loop, 1, after}};
        append(steps, part);
        steps.push_back({Kind::jump, 0});
        return steps;
    }
    /// A part that is tried apart: what looks around, or is atomic.
    static Steps apart(Kind kind, const Steps& part, bool is_negated = false, std::uint32_t count = 0) {
        Steps steps{{kind, static_cast<std::uint32_t>(part.size()) + 2, is_negated, count}};
        append(steps, part);
        steps.push_back({Kind::match});
        return steps;
    }
};

struct RegexProgram {
    std::vector<RegexStep> steps;
    std::vector<CharacterSet> sets;
    CharacterSet word = word_characters();  // that \b lies beside
};

}  // namespace tenon::detail
