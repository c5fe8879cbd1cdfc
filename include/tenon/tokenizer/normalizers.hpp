#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/character_map.hpp"
#include "tenon/tokenizer/graphemes.hpp"
#include "tenon/tokenizer/normalization.hpp"
#include "tenon/tokenizer/normalizer.hpp"
#include "tenon/tokenizer/text_pattern.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

namespace detail {

/// Calls on_character(writer, code point, size) for each character of the old text; of bytes that are no
/// UTF-8, for each, with Utf8Character::invalid.
template <class OnCharacter>
void rewrite_characters(AlignedText& text, OnCharacter&& on_character) {
    text.rewrite([&](AlignedText::Rewriter& writer) {
        while (!writer.is_at_end()) {
            const Utf8Character character = decode_utf8_character(writer.rest());
            const bool is_valid = character.code_point != Utf8Character::invalid;
            on_character(writer, character.code_point, is_valid ? character.size : std::size_t{1});
        }
    });
}

/// Leaves out the characters that `is_removed`.
inline void remove_characters(AlignedText& text, bool (*is_removed)(char32_t)) {
    rewrite_characters(text, [=](AlignedText::Rewriter& writer, char32_t code_point, std::size_t size) {
        is_removed(code_point) ? writer.drop(size) : writer.copy(size);
    });
}

inline void normalize(AlignedText& text, NormalizationForm form) {
    if (is_surely_normalized(text.text(), form)) return;
    text.rewrite([form](AlignedText::Rewriter& writer) {
        tenon::normalize(
            writer.old(), form, [&](std::string_view same) { writer.copy(same.size()); },
            [&](std::string_view bytes, std::size_t size) {
                size > 0 ? writer.replace(size, bytes) : writer.insert_after(bytes);
            });
    });
}

inline void make_lowercase(AlignedText& text) {
    std::string lower;
    rewrite_characters(text, [&](AlignedText::Rewriter& writer, char32_t code_point, std::size_t size) {
        if (code_point == Utf8Character::invalid) return writer.copy(size);
        const Lowercase lowercase = to_lowercase(code_point);
        lower.clear();
        append_utf8(lower, lowercase.first);
        if (lowercase.second != 0) append_utf8(lower, lowercase.second);
        writer.replace(size, lower);
    });
}

}  // namespace detail

/// The normalizers of tokenizer.json, with their names and fields.
namespace normalizer {

struct BertNormalizer {
    bool clean_text = true;
    bool handle_chinese_chars = true;
    std::optional<bool> strip_accents = {};  ///< as `lowercase`, if it isn't said
    bool lowercase = true;

    bool is_local() const { return true; }
    void apply(detail::AlignedText& text) const {
        if (clean_text || handle_chinese_chars) {
            detail::rewrite_characters(text, [this](auto& writer, char32_t code_point, std::size_t size) {
                const bool is_ordinary = code_point >= 0x20 && code_point < 0x7F;
                if (is_ordinary || code_point == Utf8Character::invalid) return writer.copy(size);
                if (clean_text && is_bert_control(code_point)) return writer.drop(size);
                if (clean_text && is_white_space(code_point)) return writer.replace(size, " ");
                if (!handle_chinese_chars || !is_bert_ideograph(code_point)) return writer.copy(size);
                writer.insert_before(" ");
                writer.copy(size);
                writer.insert_after(" ");
            });
        }
        if (strip_accents.value_or(lowercase)) {
            detail::normalize(text, NormalizationForm::nfd);
            detail::remove_characters(text, is_bert_accent);
        }
        if (lowercase) detail::make_lowercase(text);
    }
};

struct Strip {
    bool strip_left = true;
    bool strip_right = true;

    void apply(detail::AlignedText& text) const {
        text.rewrite([this](detail::AlignedText::Rewriter& writer) {
            while (strip_left && !writer.is_at_end()) {
                const Utf8Character character = decode_utf8_character(writer.rest());
                if (!is_white_space(character.code_point)) break;
                writer.drop(character.size);
            }
            std::string_view kept = writer.rest();
            while (strip_right && !kept.empty() && is_white_space(detail::last_character(kept)))
                kept.remove_suffix(detail::last_character_size(kept));
            writer.copy(kept.size());
        });
    }
};

struct StripAccents {
    bool is_local() const { return true; }
    void apply(detail::AlignedText& text) const { detail::remove_characters(text, is_hugging_face_accent); }
};

/// NFC, NFD, NFKC or NFKD.
struct Unicode {
    NormalizationForm form;

    bool is_local() const { return true; }
    void apply(detail::AlignedText& text) const { detail::normalize(text, form); }
};

struct Lowercase {
    bool is_local() const { return true; }
    void apply(detail::AlignedText& text) const { detail::make_lowercase(text); }
};

/// Control characters go, and what stands for a space becomes one.
struct Nmt {
    bool is_local() const { return true; }
    void apply(detail::AlignedText& text) const {
        detail::rewrite_characters(text, [](auto& writer, char32_t c, std::size_t size) {
            const bool is_removed = (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) ||
                                    c == 0x7F || c == 0x8F || c == 0x9F;
            const bool is_space = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                                  (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                                  c == 0xFEFF || c == 0xFFFD;
            if (is_removed) return writer.drop(size);
            if (is_space) return writer.replace(size, " ");
            writer.copy(size);
        });
    }
};

struct Replace {
    TextPattern pattern;
    std::string content;

    bool is_local() const {
        return !pattern.is_regex() &&
               (pattern.text() == " " || pattern.text().find(' ') == std::string::npos);
    }
    void apply(detail::AlignedText& text) const {
        text.rewrite([this](detail::AlignedText::Rewriter& writer) {
            pattern.for_each_match(writer.old(), [&](Span match) {
                writer.copy(match.begin - writer.at());
                writer.drop(match.size());
                writer.insert_after(content);
            });
            writer.copy(writer.rest().size());
        });
    }
};

struct Prepend {
    std::string prepend;

    bool is_local() const { return true; }
    bool acts_at_start() const { return true; }
    void apply(detail::AlignedText& text) const {
        if (text.text().empty()) return;
        text.rewrite([this](detail::AlignedText::Rewriter& writer) {
            writer.insert_before(prepend);
            writer.copy(writer.rest().size());
        });
    }
};

struct ByteLevel {
    bool is_local() const { return true; }
    void apply(detail::AlignedText& text) const {
        text.rewrite([](auto& writer) { detail::write_byte_level(writer, writer.rest().size()); });
    }
};

/// Each grapheme cluster of at most five bytes is replaced by what the map has for its shortest beginning; of
/// others, and of those that the map lacks, each character is. Follows Hugging Face's tokenizers in that, and
/// in where what is replaced comes from.
struct Precompiled {
    CharacterMap charsmap;

    bool is_local() const { return true; }
    void apply(detail::AlignedText& text) const {
        text.rewrite([this](detail::AlignedText::Rewriter& writer) {
            std::string_view rest = writer.old();
            Changes changes(writer);
            while (!rest.empty()) {
                std::string_view cluster = rest.substr(0, detail::grapheme_size(rest));
                rest.remove_prefix(cluster.size());
                if (cluster.size() < 6 && changes.substitute(cluster, charsmap.shortest(cluster))) continue;
                while (!cluster.empty()) {
                    const std::string_view character = cluster.substr(0, decode_utf8_character(cluster).size);
                    cluster.remove_prefix(character.size());
                    if (!changes.substitute(character, charsmap.shortest(character)))
                        changes.write(character, 0);
                }
            }
            changes.flush();
        });
    }

private:
    /// Writes characters, each when it is known how many others are left out after it.
    class Changes {
    public:
        explicit Changes(detail::AlignedText::Rewriter& writer) : writer_(writer) {}

        /// The change of the text's length in characters: positive where a character comes with no other in
        /// its place.
        void write(std::string_view character, int change) {
            flush();
            last_ = character;
            change_ = change;
        }

        /// Writes what a map has in place of some text. Returns false if it has nothing.
        bool substitute(std::string_view old, const CharacterMap::Match& match) {
            if (match.size == 0) return false;
            std::string_view replacement = match.replacement;
            int left = static_cast<int>(detail::character_count(replacement));
            const int added = left - static_cast<int>(detail::character_count(old));
            while (!replacement.empty()) {
                const std::size_t size = decode_utf8_character(replacement).size;
                write(replacement.substr(0, size), left-- <= added ? 1 : 0);
                replacement.remove_prefix(size);
            }
            if (added < 0 && !last_.empty()) change_ += added;
            return true;
        }

        void flush() {
            if (last_.empty()) return;
            if (change_ > 0 || writer_.is_at_end()) return writer_.insert_after(last_);
            std::size_t size = 0;
            for (int i = change_; i <= 0 && size < writer_.rest().size(); ++i)
                size += decode_utf8_character(writer_.rest().substr(size)).size;
            writer_.replace(size, last_);
        }

    private:
        detail::AlignedText::Rewriter& writer_;
        std::string_view last_;
        int change_ = 0;
    };
};

}  // namespace normalizer

}  // namespace tenon
