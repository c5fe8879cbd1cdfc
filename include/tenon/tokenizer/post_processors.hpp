#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/encoding.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/tokenizer/post_processor.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

namespace detail {

/// Takes from offsets the spaces that a byte-level token begins and ends with.
inline void trim_offsets(EncodedTexts& texts, bool add_prefix_space) {
    const auto is_space = [](char32_t c) { return c == U'\u0120' || is_white_space(c); };
    for (auto& [encoding, text] : texts.parts) {
        for (std::size_t i = 0; i < encoding.offsets.size(); ++i) {
            Span& span = encoding.offsets[i];
            const std::string_view token = texts.texts_of_tokens->text_of(encoding.ids[i], part(text, span));
            std::size_t leading = 0, trailing = 0;
            for (std::string_view rest = token; !rest.empty(); ++leading) {
                const Utf8Character character = decode_utf8_character(rest);
                if (!is_space(character.code_point)) break;
                rest.remove_prefix(character.size);
            }
            for (std::string_view rest = token; !rest.empty() && is_space(last_character(rest)); ++trailing)
                rest.remove_suffix(last_character_size(rest));
            // One space before a text may be the one that was put there.
            if ((i == 0 || span.begin == 0) && add_prefix_space && leading == 1) leading = 0;
            for (; leading > 0 && span.begin < span.end; --leading)
                span.begin += decode_utf8_character(part(text, span)).size;
            for (; trailing > 0 && span.begin < span.end; --trailing)
                span.end -= last_character_size(part(text, span));
        }
    }
}

inline void set_type_ids(Encoding& encoding, std::uint32_t type_id) {
    std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), type_id);
}

}  // namespace detail

/// The post-processors of tokenizer.json, with their names and fields.
namespace post_processor {

/// A token and its text.
struct NamedToken {
    std::string text;
    TokenId id = 0;

    /// As a part of what becomes an encoding.
    detail::EncodedTexts::Part part(std::uint32_t type_id) const {
        return {Encoding{{id}, {Span{}}, {type_id}, {1}, {1}}};
    }
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

    std::vector<TemplatePiece> single = {}, pair = {};  ///< around one text, and around two
    std::vector<Special> special_tokens = {};

    const Special* find(std::string_view name) const {
        const auto has_name = [&](const Special& special) { return special.name == name; };
        const auto found = std::find_if(special_tokens.begin(), special_tokens.end(), has_name);
        return found == special_tokens.end() ? nullptr : &*found;
    }

    void apply(detail::EncodedTexts& texts) const {
        std::vector<detail::EncodedTexts::Part> result;
        for (const TemplatePiece& piece : texts.parts.size() == 2 ? pair : single) {
            if (piece.sequence) {
                if (*piece.sequence >= texts.parts.size()) continue;
                detail::set_type_ids(texts.parts[*piece.sequence].encoding, piece.type_id);
                result.push_back(texts.parts[*piece.sequence]);
            } else if (const Special* special = find(piece.name); special && texts.adds_tokens) {
                for (const NamedToken& token : special->tokens) result.push_back(token.part(piece.type_id));
            }
        }
        texts.parts = std::move(result);
    }
};

struct BertProcessing {
    NamedToken sep, cls;

    void apply(detail::EncodedTexts& texts) const {
        if (!texts.adds_tokens) return;
        std::vector<detail::EncodedTexts::Part> result;
        for (detail::EncodedTexts::Part& part : texts.parts) {
            const bool is_first = result.empty();
            if (is_first) result.push_back(cls.part(0));
            result.push_back(std::move(part));
            result.push_back(sep.part(is_first ? 0 : 1));
        }
        texts.parts = std::move(result);
    }
};

struct RobertaProcessing {
    NamedToken sep, cls;
    bool trim_offsets = true;
    bool add_prefix_space = true;

    void apply(detail::EncodedTexts& texts) const {
        if (trim_offsets) detail::trim_offsets(texts, add_prefix_space);
        std::vector<detail::EncodedTexts::Part> result;
        for (detail::EncodedTexts::Part& part : texts.parts) {
            detail::set_type_ids(part.encoding, 0);
            if (texts.adds_tokens) result.push_back((result.empty() ? cls : sep).part(0));
            result.push_back(std::move(part));
            if (texts.adds_tokens) result.push_back(sep.part(0));
        }
        texts.parts = std::move(result);
    }
};

struct ByteLevel {
    bool add_prefix_space = true;
    bool trim_offsets = true;
    bool use_regex = true;  ///< of the pre-tokenizer of this name

    void apply(detail::EncodedTexts& texts) const {
        if (trim_offsets) detail::trim_offsets(texts, add_prefix_space);
    }
};

}  // namespace post_processor

}  // namespace tenon
