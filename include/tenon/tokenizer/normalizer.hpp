#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/character_map.hpp"
#include "tenon/tokenizer/graphemes.hpp"
#include "tenon/tokenizer/normalization.hpp"
#include "tenon/tokenizer/sentence_piece_normalizer.hpp"
#include "tenon/tokenizer/text_pattern.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// What changes text before it is cut: the normalizers of tokenizer.json, with their names and fields.
namespace normalizer {

struct BertNormalizer {
    bool clean_text = true;
    bool handle_chinese_chars = true;
    std::optional<bool> strip_accents = {};  ///< as `lowercase`, if it isn't said
    bool lowercase = true;
};

struct Strip {
    bool strip_left = true;
    bool strip_right = true;
};

struct StripAccents {};

/// NFC, NFD, NFKC or NFKD.
struct Unicode {
    NormalizationForm form;
};

struct Lowercase {};
struct Nmt {};

struct Precompiled {
    CharacterMap charsmap;
};

struct Replace {
    TextPattern pattern;
    std::string content;
};

struct Prepend {
    std::string prepend;
};

struct ByteLevel {};

using SentencePiece = SentencePieceNormalizer;

using Step = std::variant<BertNormalizer, Strip, StripAccents, Unicode, Lowercase, Nmt, Precompiled, Replace, Prepend,
                          ByteLevel, SentencePiece>;

}  // namespace normalizer

/// The steps that change text before it is cut, in order.
using Normalizer = std::vector<normalizer::Step>;

namespace detail {

/// Calls on_character(code point, size) for each character of the old text; of bytes that are no UTF-8, for
/// each, with Utf8Character::invalid.
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
template <class IsRemoved>
void remove_characters(AlignedText& text, IsRemoved&& is_removed) {
    rewrite_characters(text, [&](AlignedText::Rewriter& writer, char32_t code_point, std::size_t size) {
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

inline void apply_step(const normalizer::BertNormalizer& step, AlignedText& text) {
    if (step.clean_text || step.handle_chinese_chars) {
        rewrite_characters(text, [&](AlignedText::Rewriter& writer, char32_t code_point, std::size_t size) {
            const bool is_ordinary = code_point >= 0x20 && code_point < 0x7F;
            if (is_ordinary || code_point == Utf8Character::invalid) return writer.copy(size);
            if (step.clean_text && is_bert_control(code_point)) return writer.drop(size);
            if (step.clean_text && is_white_space(code_point)) return writer.replace(size, " ");
            if (!step.handle_chinese_chars || !is_bert_ideograph(code_point)) return writer.copy(size);
            writer.insert_before(" ");
            writer.copy(size);
            writer.insert_after(" ");
        });
    }
    if (step.strip_accents.value_or(step.lowercase)) {
        normalize(text, NormalizationForm::nfd);
        remove_characters(text, is_bert_accent);
    }
    if (step.lowercase) make_lowercase(text);
}

inline void apply_step(const normalizer::Strip& step, AlignedText& text) {
    text.rewrite([&](AlignedText::Rewriter& writer) {
        while (step.strip_left && !writer.is_at_end()) {
            const Utf8Character character = decode_utf8_character(writer.rest());
            if (!is_white_space(character.code_point)) break;
            writer.drop(character.size);
        }
        std::string_view kept = writer.rest();
        while (step.strip_right && !kept.empty() && is_white_space(last_character(kept)))
            kept.remove_suffix(last_character_size(kept));
        writer.copy(kept.size());
    });
}

inline void apply_step(const normalizer::StripAccents&, AlignedText& text) {
    remove_characters(text, is_hugging_face_accent);
}

inline void apply_step(const normalizer::Unicode& step, AlignedText& text) { normalize(text, step.form); }

inline void apply_step(const normalizer::Lowercase&, AlignedText& text) { make_lowercase(text); }

/// Control characters go, and what stands for a space becomes one.
inline void apply_step(const normalizer::Nmt&, AlignedText& text) {
    rewrite_characters(text, [](AlignedText::Rewriter& writer, char32_t c, std::size_t size) {
        const bool is_removed = (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
                                c == 0x8F || c == 0x9F;
        const bool is_space = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                              (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                              c == 0xFEFF || c == 0xFFFD;
        if (is_removed) return writer.drop(size);
        if (is_space) return writer.replace(size, " ");
        writer.copy(size);
    });
}

inline void apply_step(const normalizer::Replace& step, AlignedText& text) {
    text.rewrite([&](AlignedText::Rewriter& writer) {
        step.pattern.for_each_match(writer.old(), [&](Span match) {
            writer.copy(match.begin - writer.at());
            writer.drop(match.size());
            writer.insert_after(step.content);
        });
        writer.copy(writer.rest().size());
    });
}

inline void apply_step(const normalizer::Prepend& step, AlignedText& text) {
    if (text.text().empty()) return;
    text.rewrite([&](AlignedText::Rewriter& writer) {
        writer.insert_before(step.prepend);
        writer.copy(writer.rest().size());
    });
}

/// Bytes become the characters that stand for them in GPT-2's files.
inline void write_byte_level(AlignedText::Rewriter& writer, std::size_t size) {
    std::string written;
    for (std::size_t i = 0; i < size; ++i) {
        written.clear();
        append_written_byte(written, writer.rest()[0]);
        writer.replace(1, written);
    }
}

inline void apply_step(const normalizer::ByteLevel&, AlignedText& text) {
    text.rewrite([](AlignedText::Rewriter& writer) { write_byte_level(writer, writer.rest().size()); });
}

/// A character of a text that is changed, and how the text's length changes there, in characters: it comes
/// with no other in its place if positive, and with so many fewer after it if negative.
struct CharacterChange {
    std::string_view bytes;
    int change = 0;
};

/// Each grapheme cluster of at most five bytes is replaced by what the map has for its shortest beginning; of
/// others, and of those that the map lacks, each character is. Follows Hugging Face's tokenizers in that, and
/// in where what is replaced comes from.
inline void apply_step(const normalizer::Precompiled& step, AlignedText& text) {
    text.rewrite([&](AlignedText::Rewriter& writer) {
        std::optional<CharacterChange> last;  // removed characters are counted with the one before them
        const auto flush = [&] {
            if (!last) return;
            if (last->change > 0 || writer.is_at_end()) return writer.insert_after(last->bytes);
            std::size_t size = 0;
            for (int i = last->change; i <= 0 && size < writer.rest().size(); ++i)
                size += decode_utf8_character(writer.rest().substr(size)).size;
            writer.replace(size, last->bytes);
        };
        const auto write = [&](CharacterChange change) {
            flush();
            last = change;
        };
        const auto substitute = [&](std::string_view old, std::string_view replacement) {
            const int added = static_cast<int>(character_count(replacement)) - static_cast<int>(character_count(old));
            int left = static_cast<int>(character_count(replacement));
            while (!replacement.empty()) {
                const std::size_t size = decode_utf8_character(replacement).size;
                write({replacement.substr(0, size), left-- <= added ? 1 : 0});
                replacement.remove_prefix(size);
            }
            if (added < 0 && last) last->change += added;
        };
        std::string_view rest = writer.old();
        while (!rest.empty()) {
            std::string_view cluster = rest.substr(0, grapheme_size(rest));
            rest.remove_prefix(cluster.size());
            if (cluster.size() < 6) {
                if (const auto match = step.charsmap.shortest(cluster); match.size > 0) {
                    substitute(cluster, match.replacement);
                    continue;
                }
            }
            while (!cluster.empty()) {
                const std::string_view character = cluster.substr(0, decode_utf8_character(cluster).size);
                cluster.remove_prefix(character.size());
                if (const auto match = step.charsmap.shortest(character); match.size > 0) {
                    substitute(character, match.replacement);
                } else {
                    write({character, 0});
                }
            }
        }
        flush();
    });
}

inline void apply_step(const normalizer::SentencePiece& step, AlignedText& text) { step.apply(text); }

inline void normalize(const Normalizer& steps, AlignedText& text) {
    for (const normalizer::Step& step : steps) {
        std::visit([&](const auto& step) { apply_step(step, text); }, step);
    }
}

}  // namespace detail

}  // namespace tenon
