#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/byte_trie.hpp"
#include "tenon/tokenizer/character_map.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// What a SentencePiece model does with text before it is cut. The fields are its file's.
struct SentencePieceNormalizer {
    CharacterMap charsmap = {};
    detail::ByteTrie user_defined = {};  ///< tokens that stay as they are
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
    bool treat_whitespace_as_suffix = false;

    void apply(detail::AlignedText& text) const {
        text.rewrite([this](detail::AlignedText::Rewriter& writer) { rewrite(writer); });
    }

private:
    struct Unit {
        std::string_view text;
        std::size_t size;  // of what it replaces
    };

    /// What the rest of the text begins with, normalized.
    Unit first_unit(std::string_view rest) const {
        std::size_t size = 0;
        user_defined.for_each_prefix(rest, [&](std::size_t prefix, std::uint32_t) { size = prefix; });
        if (size > 0) return {rest.substr(0, size), size};
        if (const CharacterMap::Match match = charsmap.longest(rest); match.size > 0)
            return {match.replacement, match.size};
        const Utf8Character character = decode_utf8_character(rest);
        if (character.code_point == Utf8Character::invalid) return {"\uFFFD", 1};
        return {rest.substr(0, character.size), character.size};
    }

    void rewrite(detail::AlignedText::Rewriter& writer) const {
        const std::string_view space = escape_whitespaces ? "\u2581" : " ";
        std::string_view rest = writer.old();
        while (remove_extra_whitespaces && !rest.empty()) {
            const Unit unit = first_unit(rest);
            if (unit.text != " ") break;
            rest.remove_prefix(unit.size);
        }
        if (rest.empty()) return;
        std::string text;
        std::vector<std::size_t> places;  // of each byte in the old text, and of the end
        std::size_t place = writer.old().size() - rest.size();
        const auto append = [&](std::string_view bytes) {
            text += bytes;
            places.insert(places.end(), bytes.size(), place);
        };
        if (!treat_whitespace_as_suffix && add_dummy_prefix) append(space);
        for (bool follows_space = remove_extra_whitespaces; !rest.empty();) {
            const Unit unit = first_unit(rest);
            std::string_view kept = unit.text;
            while (follows_space && kept.starts_with(' ')) kept.remove_prefix(1);
            if (!kept.empty()) follows_space = kept.ends_with(' ');
            for (const char& byte : kept) append(byte == ' ' ? space : std::string_view(&byte, 1));
            if (!remove_extra_whitespaces) follows_space = false;
            place += unit.size;
            rest.remove_prefix(unit.size);
        }
        while (remove_extra_whitespaces && text.ends_with(space)) {
            text.resize(text.size() - space.size());
            place = places[text.size()];
            places.resize(text.size());
        }
        if (treat_whitespace_as_suffix && add_dummy_prefix) append(space);
        places.push_back(place);
        for (std::size_t i = 0; i < text.size(); ++i) {
            writer.write_from(std::string_view(text).substr(i, 1),
                              {writer.source_at(places[i]), writer.source_at(places[i + 1])});
        }
    }
};

}  // namespace tenon
