#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"

namespace tenon {

/// When Metaspace puts its character before a text that doesn't begin with it.
enum class PrependScheme : std::uint8_t { first, never, always };

namespace pre_tokenizer {

/// Puts a character in place of spaces, and cuts before it.
struct Metaspace {
    std::string replacement = "\u2581";  ///< one character
    PrependScheme prepend_scheme = PrependScheme::always;
    bool split = true;

    void apply(detail::CutText& text, bool) const {
        text.rewrite(
            [this](detail::AlignedText::Rewriter& writer, std::size_t size) { replace(writer, size); });
        if (!split) return;
        text.cut([&](Span piece, auto&& add) {
            const std::string_view all = detail::part(text.text.text(), piece);
            std::size_t begin = 0;
            for (std::size_t at = 1; (at = all.find(replacement, at)) != std::string_view::npos; ++at) {
                add(Span{piece.begin + begin, piece.begin + at});
                begin = at;
            }
            add(Span{piece.begin + begin, piece.end});
        });
    }

    bool cuts_at_spaces() const { return split; }
    bool needs_sources() const { return prepend_scheme == PrependScheme::first; }

private:
    void replace(detail::AlignedText::Rewriter& writer, std::size_t size) const {
        const std::string_view piece = writer.rest().substr(0, size);
        const bool is_prefixed = piece.starts_with(' ') || piece.starts_with(replacement);
        const bool prepends = prepend_scheme == PrependScheme::always ||
                              (prepend_scheme == PrependScheme::first && writer.source_at(writer.at()) == 0);
        if (prepends && !is_prefixed) writer.insert_before(replacement);
        for (std::size_t at = 0; at < piece.size();) {
            const std::size_t space = std::min(piece.find(' ', at), piece.size());
            writer.copy(space - at);
            if (space < piece.size()) writer.replace(1, replacement);
            at = space + 1;
        }
    }
};

}  // namespace pre_tokenizer

}  // namespace tenon
