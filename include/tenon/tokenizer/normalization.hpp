#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/compatibility_tables.hpp"
#include "tenon/tokenizer/composition_tables.hpp"
#include "tenon/tokenizer/normalization_tables.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// The four forms of Unicode Standard Annex #15. The tables carry Unicode 9.0, which Hugging Face tokenizers
/// follow: characters that came later stay as they are.
enum class NormalizationForm : std::uint8_t { nfc, nfd, nfkc, nfkd };

namespace detail {

constexpr NormalizationKind normalization_kind(char32_t code_point) {
    if (code_point > 0x10FFFF) return {0, 0};
    const std::size_t block = normalization_block_of[code_point / 256];
    return normalization_kinds[normalization_blocks[block * 256 + code_point % 256] - '#'];
}

/// Where the parts of each decomposition begin.
template <std::size_t Size>
constexpr auto decomposition_offsets(const char (&sizes)[Size]) {
    std::array<std::uint16_t, Size> offsets{};
    for (std::size_t i = 0; i + 1 < Size; ++i) {
        offsets[i + 1] = static_cast<std::uint16_t>(offsets[i] + (sizes[i] - '@'));
    }
    return offsets;
}
inline constexpr auto canonical_offsets = decomposition_offsets(canonical_sizes);
inline constexpr auto compatibility_offsets = decomposition_offsets(compatibility_sizes);

/// Syllables of Hangul are computed (The Unicode Standard, section 3.12).
struct Hangul {
    static constexpr char32_t syllable = 0xAC00, lead = 0x1100, vowel = 0x1161, tail = 0x11A7;
    static constexpr char32_t leads = 19, vowels = 21, tails = 28;

    static constexpr bool is_syllable(char32_t c) { return c - syllable < leads * vowels * tails; }
};

/// The code point that two compose to, or 0.
constexpr char32_t compose(char32_t first, char32_t second) {
    using H = Hangul;
    if (first - H::lead < H::leads && second - H::vowel < H::vowels)
        return H::syllable + ((first - H::lead) * H::vowels + (second - H::vowel)) * H::tails;
    if (H::is_syllable(first) && (first - H::syllable) % H::tails == 0 && second > H::tail &&
        second < H::tail + H::tails)
        return first + (second - H::tail);
    const auto* entry =
        std::lower_bound(std::begin(composition_firsts), std::end(composition_firsts), first,
                         [](const CompositionFirst& one, char32_t value) { return one.first < value; });
    if (entry == std::end(composition_firsts) || entry->first != first) return 0;
    const auto* last = entry + 1 == std::end(composition_firsts) ? std::end(compositions)
                                                                 : std::begin(compositions) + entry[1].number;
    const auto* found =
        std::lower_bound(std::begin(compositions) + entry->number, last, second,
                         [](const Composition& one, char32_t value) { return one.second < value; });
    return found != last && found->second == second ? found->composed : 0;
}

/// Calls each(part) for the parts of the decomposition, all the way, of a code point that has one.
template <class Each>
constexpr void decompose(char32_t c, bool is_compatible, Each&& each) {
    using H = Hangul;
    if (H::is_syllable(c)) {
        const char32_t index = c - H::syllable;
        each(H::lead + index / (H::vowels * H::tails));
        each(H::vowel + index / H::tails % H::vowels);
        if (index % H::tails != 0) each(H::tail + index % H::tails);
        return;
    }
    const auto parts_of = [&](const auto& runs, const auto& offsets, const char32_t* parts) {
        const auto* run =
            std::upper_bound(std::begin(runs), std::end(runs), c,
                             [](char32_t value, const DecompositionRun& one) { return value < one.first; });
        --run;
        const std::size_t number = run->number + (c - run->first);
        for (std::size_t i = offsets[number]; i < offsets[number + 1]; ++i) each(parts[i]);
    };
    if (is_compatible) {
        parts_of(compatibility_runs, compatibility_offsets, compatibility_parts);
    } else {
        parts_of(canonical_runs, canonical_offsets, canonical_parts);
    }
}

/// The work of normalization: characters wait until one comes that nothing before it can meet.
template <class OnSame, class OnCharacter>
class Normalization {
public:
    Normalization(NormalizationForm form, OnSame& on_same, OnCharacter& on_character)
        : on_same_(on_same),
          on_character_(on_character),
          is_composing_(form == NormalizationForm::nfc || form == NormalizationForm::nfkc),
          is_compatible_(form == NormalizationForm::nfkc || form == NormalizationForm::nfkd),
          unsettled_((is_composing_ ? composes_with_previous | never_composed : has_canonical_decomposition) |
                     (is_compatible_ ? has_compatibility_decomposition : 0)) {}

    void run(std::string_view text) {
        while (!text.empty()) {
            const std::size_t same = settled_size(text);
            if (same > 0) on_same_(text.substr(0, same));
            text.remove_prefix(same);
            source_ = text;
            // The first character waits for those that may change it, whether it is settled or not.
            for (bool is_first = true; !text.empty(); is_first = false) {
                const Utf8Character character = decode(text);
                if (!is_first && is_settled(character.code_point)) break;
                add(character);
                text.remove_prefix(character.size);
            }
            flush();
        }
    }

    /// How many bytes stay as they are whatever follows: all that come before the last settled character
    /// before one that is not, or the whole text.
    std::size_t settled_size(std::string_view text) const {
        std::size_t last = 0;
        std::size_t at = 0;
        while (at < text.size()) {
            if (static_cast<unsigned char>(text[at]) < 0x80) {
                last = at++;
                continue;
            }
            const Utf8Character character = decode(text.substr(at));
            if (!is_settled(character.code_point)) return last;
            last = at;
            at += character.size;
        }
        return at;
    }

private:
    struct Waiting {
        char32_t code_point;
        std::uint32_t source_count;
        std::uint8_t combining_class;
    };

    /// A byte that is not UTF-8 is a character of its own, as its value and this.
    static constexpr char32_t raw_byte = 0x80000000;

    static Utf8Character decode(std::string_view text) {
        const Utf8Character character = decode_utf8_character(text);
        if (character.code_point != Utf8Character::invalid) return character;
        return {raw_byte + static_cast<unsigned char>(text[0]), 1, false};
    }

    /// Whether a character neither changes nor meets what comes before it.
    bool is_settled(char32_t code_point) const {
        if (code_point < 0x80) return true;
        const NormalizationKind kind = normalization_kind(code_point);
        return kind.combining_class == 0 && (kind.flags & unsettled_) == 0;
    }

    void add(const Utf8Character& character) {
        const char32_t c = character.code_point;
        const std::uint8_t flags = normalization_kind(c).flags;
        const bool is_compatible = is_compatible_ && (flags & has_compatibility_decomposition) != 0;
        if (!is_compatible && (flags & has_canonical_decomposition) == 0) {
            add_part(c, 1);
            return;
        }
        // The first part stands for the character, the others are inserted.
        std::uint32_t count = 1;
        decompose(c, is_compatible, [&](char32_t part) { add_part(part, std::exchange(count, 0)); });
    }

    void add_part(char32_t code_point, std::uint32_t source_count) {
        const NormalizationKind kind = normalization_kind(code_point);
        if (kind.combining_class == 0 && !(is_composing_ && (kind.flags & composes_with_previous) != 0))
            flush();
        waiting_.push_back({code_point, source_count, kind.combining_class});
    }

    void flush() {
        for (auto at = waiting_.begin(); at != waiting_.end();) {
            const auto is_starter = [](const Waiting& one) { return one.combining_class == 0; };
            at = std::find_if_not(at, waiting_.end(), is_starter);
            const auto end = std::find_if(at, waiting_.end(), is_starter);
            if (end - at > 1) {
                std::stable_sort(at, end, [](const Waiting& a, const Waiting& b) {
                    return a.combining_class < b.combining_class;
                });
            }
            at = end;
        }
        if (is_composing_ && waiting_.size() > 1) compose_waiting();
        for (const Waiting& one : waiting_) {
            bytes_.clear();
            if (one.code_point >= raw_byte) {
                bytes_ += static_cast<char>(one.code_point - raw_byte);
            } else {
                append_utf8(bytes_, one.code_point);
            }
            // Marks that change places take the source of their new place.
            std::size_t source_size = 0;
            for (std::uint32_t i = 0; i < one.source_count; ++i) {
                source_size += decode(source_.substr(source_size)).size;
            }
            source_.remove_prefix(source_size);
            on_character_(std::string_view(bytes_), source_size);
        }
        waiting_.clear();
    }

    void compose_waiting() {
        std::size_t size = 0;
        std::size_t starter = waiting_.size();
        int last_class = -1;  // of what stands between the starter and the next character
        for (const Waiting next : waiting_) {
            if (starter < size && last_class < next.combining_class) {
                if (const char32_t composed = compose(waiting_[starter].code_point, next.code_point)) {
                    waiting_[starter].code_point = composed;
                    waiting_[starter].source_count += next.source_count;
                    continue;
                }
            }
            last_class = next.combining_class == 0 ? -1 : next.combining_class;
            if (next.combining_class == 0) starter = size;
            waiting_[size++] = next;
        }
        waiting_.resize(size);
    }

    OnSame& on_same_;
    OnCharacter& on_character_;
    bool is_composing_;
    bool is_compatible_;
    int unsettled_;
    std::vector<Waiting> waiting_;
    std::string_view source_;  // from the first waiting character on
    std::string bytes_;
};

}  // namespace detail

/// Normalizes text and says what comes from where, as Hugging Face tokenizers align it. Calls, in order:
/// on_same(bytes) where the next bytes of the text stay as they are; on_character(bytes, source_size) for one
/// character, which stands for the next source_size bytes of the text: it comes from the first character of
/// them, or, where source_size is 0, from the character before. A byte that is not UTF-8 stays as it is.
template <class OnSame, class OnCharacter>
void normalize(std::string_view text, NormalizationForm form, OnSame&& on_same, OnCharacter&& on_character) {
    detail::Normalization(form, on_same, on_character).run(text);
}

inline std::string normalize(std::string_view text, NormalizationForm form) {
    std::string normalized;
    normalized.reserve(text.size());
    normalize(
        text, form, [&](std::string_view bytes) { normalized += bytes; },
        [&](std::string_view bytes, std::size_t) { normalized += bytes; });
    return normalized;
}

/// Whether a fast look says that normalization leaves the text as it is. Of text with marks that could
/// compose, it may say no though the answer is yes.
inline bool is_surely_normalized(std::string_view text, NormalizationForm form) {
    const auto ignore = [](auto&&...) {};
    return detail::Normalization(form, ignore, ignore).settled_size(text) == text.size();
}

}  // namespace tenon
