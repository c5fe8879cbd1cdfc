#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/tokenizer/decoders.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// Makes text of tokens as a SentencePiece model does.
struct SentencePieceDecoder {
    std::vector<std::string> control = {};  ///< tokens without a text, in order
    std::string unknown = "<unk>";
    std::string unknown_surface = " \u2047 ";  ///< what stands for the unknown token
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool byte_fallback = false;

    void apply(detail::TokenTexts& tokens) const {
        constexpr std::string_view space = "\u2581";
        std::string text, bytes;
        bool is_at_begin = true, had_prefix = false;
        for (std::string_view token : tokens) {
            if (const std::optional<char> byte = detail::byte_of_token(token); byte && byte_fallback) {
                bytes += *byte;
                continue;
            }
            append_bytes(bytes, text);
            if (had_prefix || !text.empty()) is_at_begin = false;
            had_prefix = false;
            if (std::binary_search(control.begin(), control.end(), token)) continue;
            if (token == unknown) {
                text += unknown_surface;
                continue;
            }
            if (is_at_begin && (add_dummy_prefix || remove_extra_whitespaces) && token.starts_with(space)) {
                token.remove_prefix(space.size());
                had_prefix = !remove_extra_whitespaces;
            }
            text += detail::replaced(token, space, " ");
        }
        append_bytes(bytes, text);
        tokens.assign(1, std::move(text));
    }

private:
    /// Moves bytes to the text; what begins no character becomes U+FFFD.
    static void append_bytes(std::string& bytes, std::string& text) {
        for (std::string_view rest = bytes; !rest.empty();) {
            const Utf8Character character = decode_utf8_character(rest);
            const bool is_valid = character.code_point != Utf8Character::invalid;
            text += is_valid ? rest.substr(0, character.size) : "\uFFFD";
            rest.remove_prefix(is_valid ? character.size : 1);
        }
        bytes.clear();
    }
};

}  // namespace tenon
