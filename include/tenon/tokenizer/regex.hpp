#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/regex_parse.hpp"
#include "tenon/tokenizer/regex_program.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// A regular expression of the kind in which tokenizers publish theirs: alternatives, groups, (?i:...),
/// classes with \p{...}, \s, \d, \w and their negations, ^, $, \A, \z, \Z, \b, greedy, lazy and possessive
/// repetition,
/// (?>...), (?=...), (?!...), (?<=...) and (?<!...) of one length; see RegexDialect for what isn't the same
/// everywhere. Of several ways to match, the first one counts, as in backtracking; the time is linear in the
/// text, since no place of the pattern is tried twice at one place of the text (Cox 2010, "Regular Expression
/// Matching in the Wild"). \p, \s and case follow Unicode 16.0. Bytes that are not UTF-8 are characters of no
/// class. It never changes: threads may share it.
class Regex {
public:
    struct Match {
        std::size_t begin, end;
    };

    /// Throws Error with the byte of the pattern that is wrong, or that this dialect has not.
    explicit Regex(std::string_view pattern, RegexDialect dialect = RegexDialect::oniguruma)
        : program_(
              std::make_shared<const detail::RegexProgram>(detail::RegexParser(pattern, dialect).parse())) {}

    /// The first match that begins at byte `from` or after it, at a whole character.
    std::optional<Match> find(std::string_view text, std::size_t from) const {
        Run run{*program_, text};
        for (std::size_t begin = from; begin <= text.size();) {
            if (const std::optional<std::size_t> end = run.match(0, begin)) return Match{begin, *end};
            begin += begin < text.size() ? decode_utf8_character(text.substr(begin)).size : 1;
        }
        return std::nullopt;
    }

private:
    /// Tries a program on a text, depth first. Where it splits, the second way waits on a stack.
    class Run {
    public:
        Run(const detail::RegexProgram& program, std::string_view text) : program_(program), text_(text) {}

        /// Where the first way to match from a step and a place on ends.
        std::optional<std::size_t> match(std::uint32_t first_step, std::size_t first_place) {
            using Kind = detail::RegexStep::Kind;
            struct Place {
                std::uint32_t step;
                std::size_t at;
            };
            std::vector<Place> waiting{{first_step, first_place}};
            std::vector<std::pair<std::uint32_t, std::uint32_t>> tried_here;
            while (!waiting.empty()) {
                auto [step, at] = waiting.back();
                waiting.pop_back();
                for (bool goes_on = true; goes_on;) {
                    const detail::RegexStep& now = program_.steps[step];
                    switch (now.kind) {
                        case Kind::character: {
                            if (at == text_.size()) {
                                goes_on = false;
                                break;
                            }
                            const auto byte = static_cast<unsigned char>(text_[at]);
                            const Utf8Character character = byte < 0x80
                                                                ? Utf8Character{byte, 1, false}
                                                                : decode_utf8_character(text_.substr(at));
                            goes_on = program_.sets[now.a].contains(character.code_point);
                            at += character.size;
                            ++step;
                            break;
                        }
                        case Kind::split:
                            // Who comes here again fails again, or it would have ended.
                            if (!try_once(step, at, tried_here)) {
                                goes_on = false;
                                break;
                            }
                            waiting.push_back({now.b, at});
                            step = now.a;
                            break;
                        case Kind::loop:
                            if (!try_once(step, at, tried_here)) {
                                step = std::max(now.a, now.b);
                                break;
                            }
                            waiting.push_back({now.b, at});
                            step = now.a;
                            break;
                        case Kind::jump:
                            step = now.a;
                            break;
                        case Kind::look_ahead:
                            goes_on = match(step + 1, at).has_value() != (now.b != 0);
                            step = now.a;
                            break;
                        case Kind::look_behind: {
                            const std::optional<std::size_t> before = back(at, now.count);
                            goes_on = (before && match(step + 1, *before).has_value()) != (now.b != 0);
                            step = now.a;
                            break;
                        }
                        case Kind::atomic: {
                            const std::optional<std::size_t> end = match(step + 1, at);
                            goes_on = end.has_value();
                            if (end) at = *end;
                            step = now.a;
                            break;
                        }
                        case Kind::match:
                            // Apart from the whole, it may be asked for again from elsewhere.
                            if (first_step != 0)
                                for (const auto& [tried, place] : tried_here) forget(tried, place);
                            return at;
                        default:
                            goes_on = holds(now, at);
                            ++step;
                    }
                }
            }
            return std::nullopt;
        }

    private:
        bool try_once(std::uint32_t step, std::size_t at,
                      std::vector<std::pair<std::uint32_t, std::uint32_t>>& here) {
            if (at >= detail::absent) throw Error("expected texts below 4294967295 bytes, got more");
            const auto place = static_cast<std::uint32_t>(at);
            const std::uint32_t number = static_cast<std::uint32_t>(is_tried_.size());
            const std::uint32_t own = numbers_.add(step, place, number);
            if (own == number) is_tried_.push_back(false);
            if (is_tried_[own]) return false;
            is_tried_[own] = true;
            here.emplace_back(step, place);
            return true;
        }
        void forget(std::uint32_t step, std::uint32_t place) {
            is_tried_[numbers_.find(step, place)] = false;
        }

        /// The place some characters before another.
        std::optional<std::size_t> back(std::size_t at, std::uint32_t count) const {
            for (; count > 0; --count) {
                if (at == 0) return std::nullopt;
                at = begin_of_character_before(at);
            }
            return at;
        }
        std::size_t begin_of_character_before(std::size_t at) const {
            for (std::size_t size = std::min<std::size_t>(4, at); size > 1; --size)
                if (decode_utf8_character(text_.substr(at - size, size)).size == size) return at - size;
            return at - 1;
        }

        bool is_word_at(std::size_t at) const {
            if (at >= text_.size()) return false;
            return program_.word.contains(decode_utf8_character(text_.substr(at)).code_point);
        }

        bool holds(const detail::RegexStep& step, std::size_t at) const {
            using Kind = detail::RegexStep::Kind;
            const std::size_t size = text_.size();
            switch (step.kind) {
                case Kind::text_begin:
                    return at == 0;
                case Kind::text_end:
                    return at == size;
                case Kind::last_line_end:
                    return at == size || (at + 1 == size && text_[at] == '\n');
                case Kind::line_begin:
                    return at == 0 || (text_[at - 1] == '\n' && at < size);
                case Kind::line_end:
                    return at == size || text_[at] == '\n';
                default: {
                    const bool is_before = at > 0 && is_word_at(begin_of_character_before(at));
                    return (is_before != is_word_at(at)) != (step.a != 0);
                }
            }
        }

        const detail::RegexProgram& program_;
        std::string_view text_;
        detail::PairMap numbers_;  // of steps at places, in the order in which they are tried first
        std::vector<bool> is_tried_;
    };

    std::shared_ptr<const detail::RegexProgram> program_;
};

}  // namespace tenon
