#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tenon/tokenizer/block_kinds.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/character_kinds.hpp"

namespace tenon::detail {

// Scanners written for the patterns that models are published with. Each is a struct of
//
//     piece_end(at, end)  where the piece ends that begins at `at`, which is before `end`
//     settled(text)       up to where pieces end for good, whatever follows the text
//
// and, if it can tell the ends of several pieces at once,
//
//     block_letters       the kinds of characters that it takes for letters
//     piece_begins(kinds) where pieces begin in a block of text that begins with one: only what kinds and the
//                         next character's kind say, so without contractions
//     contraction_end(at, end)  where the contraction ends that makes a piece, or `at`
//
// and does what the pattern beside it in known_scanners.hpp does.

/// The end of 's, 't, 'm, 'd, 'll, 've or 're at `at`, or `at`. Without case, ſ is an s.
template <bool with_case>
constexpr const char* contraction_end(const char* at, const char* end) {
    if (end - at < 2 || *at != '\'') return at;
    const auto letter = [&](std::ptrdiff_t i) { return static_cast<char>(at[i] | (with_case ? 0 : 0x20)); };
    const char first = letter(1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    if (end - at < 3) return at;
    const char second = letter(2);
    if ((first == 'l' && second == 'l') || ((first == 'v' || first == 'r') && second == 'e')) return at + 3;
    return !with_case && std::string_view(at + 1, 2) == "\u017F" ? at + 3 : at;
}

/// What remains of a text without the last characters of a set, and without one that is cut off.
inline std::size_t size_without_last(std::string_view text, KindSet set, bool strips_apostrophes = false) {
    for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
        if (decode_utf8_character(text.substr(text.size() - back)).is_cut_off) {
            text.remove_suffix(back);
            break;
        }
    }
    while (!text.empty()) {
        const std::string_view last = text.substr(text.size() - last_character_size(text));
        const bool is_open = (character_at(last.data(), last.data() + last.size()).kind & set) ||
                             (strips_apostrophes && last == "'");
        if (!is_open) break;
        text.remove_suffix(last.size());
    }
    return text.size();
}

/// How many bytes decide where the piece before them ends, besides whitespace: a contraction, or the last
/// character of a run of whitespace and what follows it.
inline constexpr std::size_t deciding_bytes = 7;

constexpr std::size_t less_deciding(std::size_t size) {
    return size < deciding_bytes ? 0 : size - deciding_bytes;
}

/// The pattern of GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners").
struct Gpt2Scanner {
    static constexpr const char* piece_end(const char* at, const char* end) {
        const char* const begin = at;
        if (*at == '\'') {
            if (const char* after = detail::contraction_end<true>(at, end); after != at) return after;
        }
        at += *at == ' ';
        if (at < end) {
            const KnownCharacter first = character_at(at, end);
            if (!(first.kind & kinds::whitespace)) {
                constexpr KindSet rest = kinds::mark | kinds::symbol | kinds::other;
                at += first.size;
                if (first.kind & kinds::letter) return skip(at, end, kinds::letter);
                return skip(at, end, (first.kind & kinds::number) ? kinds::number : rest);
            }
        }
        // A run of whitespace leaves its last character to the word that follows.
        const char* last = at = begin;
        while (at < end) {
            const KnownCharacter character = character_at(at, end);
            if (!(character.kind & kinds::whitespace)) break;
            last = at;
            at += character.size;
        }
        return at == end || last == begin ? at : last;
    }

    static std::size_t settled(std::string_view text) { return less_deciding(text.size()); }

    static constexpr KindSet block_letters = kinds::letter;

    static constexpr std::uint64_t piece_begins(const BlockKinds& kinds) {
        const std::uint64_t whitespace = kinds.blanks | kinds.line_ends;
        // A space belongs to what follows it.
        const auto begins = [&](std::uint64_t set) { return set & ~(set << 1) & ~(kinds.spaces << 1); };
        return begins(kinds.letters) | begins(kinds.numbers) | begins(kinds.symbols) |
               (whitespace & (~(whitespace << 1) | ~whitespace >> 1));
    }

    static constexpr const char* contraction_end(const char* at, const char* end) {
        return detail::contraction_end<true>(at, end);
    }
};

/// In what the patterns of later models differ.
struct WordRules {
    enum class Contractions : std::uint8_t { none, pieces, ends_of_words };

    Contractions contractions = Contractions::pieces;
    bool cuts_before_capitals = false;  // words are capitals and what follows them
    bool has_marks_in_words = false;
    int digits = 3;              // of a number, in a piece
    bool takes_slashes = false;  // after symbols, as line ends are
    bool ends_whole = false;     // whitespace that ends the text is one piece
};

/// The patterns of GPT-4 (cl100k, o200k) and those like them: Llama 3, Qwen and Mistral's Tekken.
template <WordRules rules>
struct WordScanner {
    static constexpr KindSet letters = kinds::letter | (rules.has_marks_in_words ? kinds::mark : 0);

    static constexpr const char* piece_end(const char* at, const char* end) {
        if constexpr (rules.contractions == WordRules::Contractions::pieces) {
            if (*at == '\'') {
                if (const char* after = detail::contraction_end<false>(at, end); after != at) return after;
            }
        }
        const KnownCharacter first = character_at(at, end);
        if (const char* after = word_end(at, end, first); after != at) return after;
        if (first.kind & kinds::number) return number_end(at + first.size, end);
        constexpr KindSet symbols = kinds::all & ~(kinds::whitespace | kinds::number | letters);
        const char* body = at + (*at == ' ');
        if (const char* after = skip(body, end, symbols); after != body) return line_ends_end(after, end);
        return whitespace_end(at, end);
    }

    static std::size_t settled(std::string_view text) {
        // Capitals belong to what comes before them if a small letter follows, however many there are.
        constexpr KindSet open =
            kinds::whitespace | (rules.cuts_before_capitals ? kinds::letter | kinds::mark : 0);
        return less_deciding(size_without_last(text, open, rules.cuts_before_capitals));
    }

    static constexpr KindSet block_letters = letters;

    static constexpr std::uint64_t piece_begins(const BlockKinds& kinds) requires(
        !rules.cuts_before_capitals) {
        // Line ends go with the symbols before them. Other whitespace is a piece up to its last line end; of
        // what is left, the last character may belong to what follows.
        const std::uint64_t line_ends = kinds.line_ends & ~runs_from(kinds.symbols << 1, kinds.line_ends);
        const std::uint64_t whitespace = kinds.blanks | line_ends;
        std::uint64_t after_lines = line_ends << 1 & kinds.blanks;
        std::uint64_t ends = (kinds.blanks + after_lines) & ~kinds.blanks & line_ends;
        for (; ends != 0; ends &= ends - 1)  // of blanks after a line end and before another
            after_lines &= ~std::bit_floor(after_lines & (ends - 1) & ~ends);
        const std::uint64_t spaces = (whitespace & ~(whitespace << 1)) | after_lines |
                                     (kinds.blanks & ~(kinds.blanks | kinds.line_ends) >> 1);
        // A word takes whitespace before it, or a symbol that is alone.
        const std::uint64_t symbols = kinds.symbols & ~(kinds.symbols << 1) & ~(kinds.spaces << 1);
        const std::uint64_t firsts = symbols | runs_from(symbols << 1, kinds.symbols & kinds.continued);
        const std::uint64_t words =
            kinds.letters & ~(kinds.letters << 1) & ~(kinds.blanks << 1) & ~(firsts << 1);
        return spaces | symbols | words | number_begins(kinds.numbers);
    }

    static constexpr const char* contraction_end(const char* at, const char* end) {
        if constexpr (rules.contractions != WordRules::Contractions::pieces) return at;
        return detail::contraction_end<false>(at, end);
    }

private:
    /// Of a word, which may begin with one character that is neither a letter nor a number nor a line end; or
    /// `at`.
    static constexpr const char* word_end(const char* at, const char* end, KnownCharacter first) {
        if constexpr (rules.cuts_before_capitals) {
            const char* after = capitalized_word_end(at, end, first);
            if (rules.contractions == WordRules::Contractions::ends_of_words && after != at)
                after = detail::contraction_end<false>(after, end);
            return after;
        }
        if (first.kind & kinds::letter) return skip(at + first.size, end, letters);
        if (first.kind & (kinds::number | kinds::line_end)) return at;
        const char* after = skip(at + first.size, end, letters);
        return after != at + first.size || (first.kind & letters) ? after : at;
    }

    /// `[prefix]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`, or else
    /// `[prefix]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+`.
    static constexpr const char* capitalized_word_end(const char* at, const char* end, KnownCharacter first) {
        if (first.kind & kinds::letter) {
            const CapitalizedWord word = capitalized_word(at, end);
            return word.whole != at ? word.whole : word.capitals;
        }
        if (first.kind & (kinds::number | kinds::line_end)) return at;
        const char* const next = at + first.size;
        const CapitalizedWord word = capitalized_word(next, end);
        if (word.whole != next) return word.whole;
        if (first.kind & kinds::mark) return capitalized_word(at, end).whole;
        return word.capitals != next ? word.capitals : at;
    }

    /// Where pieces of numbers begin, each of one byte.
    static constexpr std::uint64_t number_begins(std::uint64_t numbers) {
        static_assert(rules.digits == 1 || rules.digits == 3);
        if constexpr (rules.digits == 1) return numbers;
        const std::uint64_t after_three = numbers & numbers << 1 & numbers << 2;
        std::uint64_t begins = numbers & ~(numbers << 1), next = begins;
        while ((next = next << 3 & after_three) != 0) begins |= next;
        return begins;
    }

    struct CapitalizedWord {
        const char* whole;     // the end of a word that small letters end, or others without case
        const char* capitals;  // the end of what may stand before small letters
    };

    static constexpr CapitalizedWord capitalized_word(const char* at, const char* end) {
        constexpr KindSet both = kinds::caseless | kinds::mark;
        const char* after_caseless = at;
        KindSet next = 0;
        while (at < end) {
            const KnownCharacter character = character_at(at, end);
            next = character.kind;
            if (!(next & (kinds::uppercase | both))) break;
            at += character.size;
            if (next & both) after_caseless = at;
        }
        if (at < end && (next & kinds::lowercase)) return {skip(at, end, kinds::lowercase | both), at};
        return {after_caseless, at};
    }

    static constexpr const char* number_end(const char* at, const char* end) {
        for (int count = 1; count < rules.digits && at < end; ++count) {
            const KnownCharacter character = character_at(at, end);
            if (!(character.kind & kinds::number)) break;
            at += character.size;
        }
        return at;
    }

    static constexpr const char* line_ends_end(const char* at, const char* end) {
        while (at < end && (*at == '\r' || *at == '\n' || (rules.takes_slashes && *at == '/'))) ++at;
        return at;
    }

    /// A run of whitespace goes to its last line end; without any, it leaves its last character to the word
    /// that follows.
    static constexpr const char* whitespace_end(const char* at, const char* end) {
        const char* const begin = at;
        const char* last = at;
        const char* after_line = at;
        while (at < end) {
            const KnownCharacter character = character_at(at, end);
            if (!(character.kind & kinds::whitespace)) break;
            last = at;
            at += character.size;
            if (character.kind & kinds::line_end) after_line = at;
        }
        if (rules.ends_whole && at == end) return at;
        if (after_line != begin) return after_line;
        return at == end || last == begin ? at : last;
    }
};

/// DeepSeek V3's three patterns: the first cuts out numbers, the second runs of Chinese and Japanese, called
/// ideographs here, and the third cuts what is among them, and them.
struct DeepSeek3Scanner {
    static constexpr const char* piece_end(const char* at, const char* end) {
        const KnownCharacter first = character_at(at, end);
        const char* const next = at + first.size;
        if (first.kind & kinds::number) return number_end(next, end);
        const bool within = is_ideograph(first.code_point);
        if (first.size == 1 && (first.kind & kinds::symbol)) {
            const char* after = next;
            while (after < end && is_latin(*after)) ++after;
            if (after != next) return after;
        }
        if (!(first.kind & (kinds::line_end | kinds::symbol))) {
            const char* after = skip_alike(next, end, letters, within);
            if (after != next || (first.kind & letters)) return after;
        }
        const char* const body = at + (*at == ' ');
        if (const char* after = skip_alike(body, end, kinds::symbol, within); after != body) {
            while (!within && after < end && (*after == '\r' || *after == '\n')) ++after;
            return after;
        }
        return (first.kind & kinds::whitespace) ? whitespace_end(at, end) : rest_end(next, end, within);
    }

    static std::size_t settled(std::string_view text) {
        return less_deciding(size_without_last(text, kinds::whitespace | kinds::other));
    }

private:
    static constexpr KindSet letters = kinds::letter | kinds::mark;

    static constexpr bool is_ideograph(char32_t c) {
        return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
    }

    static constexpr bool is_latin(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

    /// The end of the characters of a set, all of them ideographs or none.
    static constexpr const char* skip_alike(const char* at, const char* end, KindSet set, bool within) {
        if (!within) return skip(at, end, set, is_ideograph);
        while (at < end && kind_of_byte[static_cast<unsigned char>(*at)] == 0) {
            const KnownCharacter character = character_beyond_ascii(at, end);
            if (!(character.kind & set) || !is_ideograph(character.code_point)) break;
            at += character.size;
        }
        return at;
    }

    static constexpr const char* number_end(const char* at, const char* end) {
        for (int count = 1; count < 3 && at < end; ++count) {
            const KnownCharacter character = character_at(at, end);
            if (!(character.kind & kinds::number)) break;
            at += character.size;
        }
        return at;
    }

    /// Before numbers and ideographs, which are cut out first, whitespace ends as the text does.
    static constexpr const char* whitespace_end(const char* at, const char* end) {
        const char* const begin = at;
        const char* last = at;
        const char* after_line = at;
        bool is_followed = false;
        while (at < end) {
            const KnownCharacter character = character_at(at, end);
            if (!(character.kind & kinds::whitespace)) {
                is_followed = !(character.kind & kinds::number) && !is_ideograph(character.code_point);
                break;
            }
            last = at;
            at += character.size;
            if (character.kind & kinds::line_end) after_line = at;
        }
        if (after_line != begin) return after_line;
        return !is_followed || last == begin ? at : last;
    }

    /// What no pattern matches, up to a character that may begin a word with the letters after it.
    static constexpr const char* rest_end(const char* at, const char* end, bool within) {
        while (at < end) {
            const KnownCharacter character = character_at(at, end);
            const char* const next = at + character.size;
            if (!(character.kind & kinds::other) || is_ideograph(character.code_point) != within) break;
            if (skip_alike(next, end, letters, within) != next) break;
            at = next;
        }
        return at;
    }
};

}  // namespace tenon::detail
