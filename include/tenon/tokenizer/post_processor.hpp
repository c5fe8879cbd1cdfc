#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/encoding.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// What puts tokens around texts: the post-processors of tokenizer.json, with their names and fields.
namespace post_processor {

/// A token and its text.
struct NamedToken {
    std::string text;
    TokenId id = 0;
};

/// What a template puts in a place: a text's tokens or those of a name.
struct TemplatePiece {
    std::optional<std::size_t> sequence = {};  ///< 0 or 1
    std::string name = {};                     ///< if it is no text's
    std::uint32_t type_id = 0;
};

struct TemplateProcessing {
    struct Special {
        std::string name;
        std::vector<NamedToken> tokens;
    };

    std::vector<TemplatePiece> single, pair;  ///< around one text, and around two
    std::vector<Special> special_tokens;

    const Special* find(std::string_view name) const {
        for (const Special& special : special_tokens) {
            if (special.name == name) return &special;
        }
        return nullptr;
    }
};

struct BertProcessing {
    NamedToken sep, cls;
};

struct RobertaProcessing {
    NamedToken sep, cls;
    bool trim_offsets = true;
    bool add_prefix_space = true;
};

using ByteLevel = pre_tokenizer::ByteLevel;

using Step = std::variant<TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel>;

}  // namespace post_processor

/// The steps that put tokens around texts, in order.
using PostProcessor = std::vector<post_processor::Step>;

namespace detail {

/// A part of what becomes an encoding: the tokens of a text, or others.
struct EncodedPart {
    Encoding encoding;
    std::string_view text;  // that the offsets are of
};

/// One token, as a part.
inline EncodedPart part_of(const post_processor::NamedToken& token, std::uint32_t type_id) {
    return {{{token.id}, {{}}, {type_id}, {1}, {1}}, {}};
}

/// Takes from offsets the spaces that a byte-level token begins and ends with. `text_of(id, text of the span)`
/// is a token's text.
template <class TextOf>
void trim_offsets(EncodedPart& part, bool add_prefix_space, TextOf&& text_of) {
    const auto is_space = [](char32_t c) { return c == U'\u0120' || is_white_space(c); };
    for (std::size_t i = 0; i < part.encoding.offsets.size(); ++i) {
        Span& span = part.encoding.offsets[i];
        const std::string_view token = text_of(part.encoding.ids[i], detail::part(part.text, span));
        std::size_t leading = 0, trailing = 0;
        for (std::string_view rest = token; !rest.empty() && is_space(decode_utf8_character(rest).code_point);) {
            rest.remove_prefix(decode_utf8_character(rest).size);
            ++leading;
        }
        for (std::string_view rest = token; !rest.empty() && is_space(last_character(rest));) {
            rest.remove_suffix(last_character_size(rest));
            ++trailing;
        }
        // One space before a text may be the one that was put there.
        if ((i == 0 || span.begin == 0) && add_prefix_space && leading == 1) leading = 0;
        for (; leading > 0 && span.begin < span.end; --leading)
            span.begin += decode_utf8_character(detail::part(part.text, span)).size;
        for (; trailing > 0 && span.begin < span.end; --trailing)
            span.end -= last_character_size(detail::part(part.text, span));
    }
}

/// How many tokens a step puts around one text or two.
inline std::size_t added_by(const post_processor::TemplateProcessing& step, bool is_pair) {
    std::size_t count = 0;
    for (const post_processor::TemplatePiece& piece : is_pair ? step.pair : step.single) {
        const auto* special = piece.sequence ? nullptr : step.find(piece.name);
        if (special) count += special->tokens.size();
    }
    return count;
}
inline std::size_t added_by(const post_processor::BertProcessing&, bool is_pair) { return is_pair ? 3 : 2; }
inline std::size_t added_by(const post_processor::RobertaProcessing&, bool is_pair) { return is_pair ? 4 : 2; }
inline std::size_t added_by(const post_processor::ByteLevel&, bool) { return 0; }

inline std::size_t added_by(const PostProcessor& steps, bool is_pair) {
    std::size_t count = 0;
    for (const post_processor::Step& step : steps)
        count += std::visit([&](const auto& step) { return added_by(step, is_pair); }, step);
    return count;
}

using EncodedParts = std::vector<EncodedPart>;

inline void set_type_ids(Encoding& encoding, std::uint32_t type_id) {
    std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), type_id);
}

template <class TextOf>
void apply_step(const post_processor::TemplateProcessing& step, EncodedParts& parts, bool adds, TextOf&&) {
    EncodedParts result;
    for (const post_processor::TemplatePiece& piece : parts.size() == 2 ? step.pair : step.single) {
        if (piece.sequence) {
            if (*piece.sequence >= parts.size()) continue;
            set_type_ids(parts[*piece.sequence].encoding, piece.type_id);
            result.push_back(parts[*piece.sequence]);
        } else if (const auto* special = step.find(piece.name); special && adds) {
            for (const post_processor::NamedToken& token : special->tokens)
                result.push_back(part_of(token, piece.type_id));
        }
    }
    parts = std::move(result);
}

template <class TextOf>
void apply_step(const post_processor::BertProcessing& step, EncodedParts& parts, bool adds, TextOf&&) {
    if (!adds) return;
    EncodedParts result;
    for (std::uint32_t i = 0; i < parts.size(); ++i) {
        if (i == 0) result.push_back(part_of(step.cls, 0));
        result.push_back(std::move(parts[i]));
        result.push_back(part_of(step.sep, i == 0 ? 0 : 1));
    }
    parts = std::move(result);
}

template <class TextOf>
void apply_step(const post_processor::RobertaProcessing& step, EncodedParts& parts, bool adds, TextOf&& text_of) {
    EncodedParts result;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (step.trim_offsets) trim_offsets(parts[i], step.add_prefix_space, text_of);
        set_type_ids(parts[i].encoding, 0);
        if (adds) result.push_back(part_of(i == 0 ? step.cls : step.sep, 0));
        result.push_back(std::move(parts[i]));
        if (adds) result.push_back(part_of(step.sep, 0));
    }
    parts = std::move(result);
}

template <class TextOf>
void apply_step(const post_processor::ByteLevel& step, EncodedParts& parts, bool, TextOf&& text_of) {
    if (!step.trim_offsets) return;
    for (EncodedPart& part : parts) trim_offsets(part, step.add_prefix_space, text_of);
}

/// Makes one encoding of those of one text or two. `adds` says whether tokens are put around them.
template <class TextOf>
Encoding process(const PostProcessor& steps, EncodedParts parts, bool adds, TextOf&& text_of) {
    for (const post_processor::Step& step : steps)
        std::visit([&](const auto& step) { apply_step(step, parts, adds, text_of); }, step);
    Encoding all = parts.empty() ? Encoding{} : std::move(parts[0].encoding);
    for (std::size_t i = 1; i < parts.size(); ++i) {
        Encoding& next = parts[i].encoding;
        all.ids.insert(all.ids.end(), next.ids.begin(), next.ids.end());
        all.offsets.insert(all.offsets.end(), next.offsets.begin(), next.offsets.end());
        all.type_ids.insert(all.type_ids.end(), next.type_ids.begin(), next.type_ids.end());
        all.special_mask.insert(all.special_mask.end(), next.special_mask.begin(), next.special_mask.end());
        all.attention_mask.insert(all.attention_mask.end(), next.attention_mask.begin(), next.attention_mask.end());
    }
    return all;
}

}  // namespace detail

}  // namespace tenon
