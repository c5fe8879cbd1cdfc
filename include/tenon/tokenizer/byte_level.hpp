#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/decoder.hpp"
#include "tenon/tokenizer/piece_scanner.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"
#include "tenon/tokenizer/published_patterns.hpp"
#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/word_scanners.hpp"

namespace tenon {

namespace detail {

/// Writes the next bytes as the characters that stand for them in GPT-2's files.
inline void write_byte_level(AlignedText::Rewriter& writer, std::size_t size) {
    std::string written;
    for (std::size_t i = 0; i < size; ++i) {
        written.clear();
        append_written_byte(written, writer.rest()[0]);
        writer.replace(1, written);
    }
}

/// The bytes that a token of a byte-level model stands for; its text's if it isn't written in GPT-2's
/// alphabet.
inline std::string bytes_of_written(std::string_view token) {
    std::string bytes;
    return append_read_bytes(bytes, token) ? bytes : std::string(token);
}

inline const std::shared_ptr<const PieceScanner>& gpt2_scanner() {
    static const std::shared_ptr<const PieceScanner> scanner =
        std::make_shared<KnownScanner<Gpt2Scanner>>(std::vector{std::string(patterns::gpt2)});
    return scanner;
}

}  // namespace detail

namespace pre_tokenizer {

/// Cuts text as GPT-2 does, and writes its bytes as characters; a model of bytes takes them as they are.
struct ByteLevel {
    bool add_prefix_space = true;
    bool trim_offsets = true;  ///< of the post-processor of this name
    bool use_regex = true;

    void apply(detail::CutText& text, bool writes_bytes) const {
        if (add_prefix_space) {
            text.rewrite([](detail::AlignedText::Rewriter& writer, std::size_t size) {
                if (size > 0 && writer.rest()[0] != ' ') writer.insert_before(" ");
                writer.copy(size);
            });
        }
        if (use_regex) text.cut_by(*detail::gpt2_scanner());
        if (writes_bytes) text.rewrite(detail::write_byte_level);
    }

    bool cuts_at_spaces() const { return use_regex; }
    bool is_local() const { return true; }

    /// Does nothing to text but what a model of bytes does, too.
    bool only_writes_bytes() const { return !add_prefix_space && !use_regex; }

    std::shared_ptr<const detail::PieceScanner> scanner() const {
        if (add_prefix_space || !use_regex) return nullptr;
        return detail::gpt2_scanner();
    }
};

}  // namespace pre_tokenizer

namespace decoder {

/// Joins the bytes that tokens stand for.
struct ByteLevel {
    pre_tokenizer::ByteLevel fields = {};  ///< which decide nothing here

    void apply(detail::TokenTexts& tokens) const {
        std::string bytes, text;
        for (const std::string& token : tokens) bytes += detail::bytes_of_written(token);
        detail::finish_utf8(bytes, text);
        tokens.assign(1, std::move(text));
    }
};

/// As ByteLevel, for files other than tokenizer.json: added tokens stand for their own text, even where that
/// could be read as the names of bytes.
struct Bytes {
    void apply(detail::TokenTexts& tokens) const { ByteLevel().apply(tokens); }
};

}  // namespace decoder

}  // namespace tenon
