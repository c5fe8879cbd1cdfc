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
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"
#include "tenon/tokenizer/text_pattern.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// What makes text of the texts of tokens: the decoders of tokenizer.json, with their names and fields.
namespace decoder {

struct BPEDecoder {
    std::string suffix = "</w>";
};

struct ByteLevel {
    pre_tokenizer::ByteLevel fields = {};  ///< which decide nothing here
};

/// As ByteLevel, for files other than tokenizer.json: added tokens stand for their own text, even where that
/// could be read as the names of bytes.
struct Bytes {};

struct WordPiece {
    std::string prefix = "##";
    bool cleanup = true;
};

struct Metaspace {
    pre_tokenizer::Metaspace fields = {};
};

struct CTC {
    std::string pad_token = "<pad>";
    std::string word_delimiter_token = "|";
    bool cleanup = true;
};

struct Fuse {};

struct Strip {
    std::string content;  ///< one character
    std::size_t start = 0;
    std::size_t stop = 0;
};

struct ByteFallback {};

struct Replace {
    TextPattern pattern;
    std::string content;
};

/// What a SentencePiece model does.
struct SentencePiece {
    std::vector<std::string> control = {};  ///< tokens without a text, in order
    std::string unknown = "<unk>";
    std::string unknown_surface = " \u2047 ";  ///< what stands for the unknown token
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool byte_fallback = false;
};

using Step = std::variant<BPEDecoder, ByteLevel, Bytes, WordPiece, Metaspace, CTC, Fuse, Strip, ByteFallback, Replace,
                          SentencePiece>;

}  // namespace decoder

/// The steps that make text of the texts of tokens, in order; what they leave is joined.
using Decoder = std::vector<decoder::Step>;

namespace detail {

using TokenTexts = std::vector<std::string>;

inline std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
    if (what.empty()) return std::string(text);
    std::string result;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t found = std::min(text.find(what, at), text.size());
        result += text.substr(at, found - at);
        if (found < text.size()) result += by;
        at = found == text.size() ? found : found + what.size();
    }
    return result;
}

/// The spaces that stand between the tokens of English text and not in it.
inline std::string without_artifacts(std::string text) {
    constexpr std::pair<std::string_view, std::string_view> replacements[] = {
        {" .", "."},     {" ?", "?"},     {" !", "!"},           {" ,", ","},   {" ' ", "'"},  {" n't", "n't"},
        {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},   {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [artifact, replacement] : replacements) text = replaced(text, artifact, replacement);
    return text;
}

/// The byte that a token such as <0x0A> stands for.
inline std::optional<char> byte_of_token(std::string_view token) {
    const auto digit = [](char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                      : -1;
    };
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    if (digit(token[3]) < 0 || digit(token[4]) < 0) return std::nullopt;
    return static_cast<char>(digit(token[3]) * 16 + digit(token[4]));
}

inline void apply_step(const decoder::BPEDecoder& step, TokenTexts& tokens) {
    for (std::string& token : tokens)
        token = replaced(token, step.suffix, &token == &tokens.back() ? "" : " ");
}

/// The bytes that a token of a byte-level model stands for; its text's if it isn't written in GPT-2's alphabet.
inline std::string bytes_of_written(std::string_view token) {
    const std::optional<std::string> bytes = read_bytes(token);
    return bytes ? *bytes : std::string(token);
}

inline void apply_step(const decoder::ByteLevel&, TokenTexts& tokens) {
    std::string bytes, text;
    for (const std::string& token : tokens) bytes += bytes_of_written(token);
    finish_utf8(bytes, text);
    tokens.assign(1, std::move(text));
}

inline void apply_step(const decoder::Bytes&, TokenTexts& tokens) { apply_step(decoder::ByteLevel{}, tokens); }

inline void apply_step(const decoder::WordPiece& step, TokenTexts& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (i > 0 && tokens[i].starts_with(step.prefix)) {
            tokens[i].erase(0, step.prefix.size());
        } else if (i > 0) {
            tokens[i].insert(0, " ");
        }
        if (step.cleanup) tokens[i] = without_artifacts(std::move(tokens[i]));
    }
}

inline void apply_step(const decoder::Metaspace& step, TokenTexts& tokens) {
    const bool has_prefix = step.fields.prepend_scheme != PrependScheme::never;
    for (std::string& token : tokens)
        token = replaced(token, step.fields.replacement, has_prefix && &token == &tokens.front() ? "" : " ");
}

inline void apply_step(const decoder::CTC& step, TokenTexts& tokens) {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
        token = replaced(token, step.pad_token, "");
        if (step.cleanup)
            token = replaced(without_artifacts(std::move(token)), step.word_delimiter_token, " ");
    }
    std::erase(tokens, "");
}

inline std::string joined(const TokenTexts& tokens, std::string_view separator = "") {
    std::string text;
    for (const std::string& token : tokens) {
        if (&token != &tokens.front()) text += separator;
        text += token;
    }
    return text;
}

inline void apply_step(const decoder::Fuse&, TokenTexts& tokens) { tokens.assign(1, joined(tokens)); }

inline void apply_step(const decoder::Strip& step, TokenTexts& tokens) {
    for (std::string& token : tokens) {
        std::string_view kept = token;
        for (std::size_t i = 0; i < step.start && kept.starts_with(step.content); ++i)
            kept.remove_prefix(step.content.size());
        for (std::size_t i = 0; i < step.stop && kept.ends_with(step.content); ++i)
            kept.remove_suffix(step.content.size());
        token = std::string(kept);
    }
}

/// Makes bytes of tokens such as <0x0A>: each run becomes what `text_of(bytes)` says, as one token.
template <class TextOf>
void join_byte_tokens(TokenTexts& tokens, TextOf&& text_of) {
    TokenTexts result;
    std::string bytes;
    const auto flush = [&] {
        if (!bytes.empty()) result.push_back(text_of(bytes));
        bytes.clear();
    };
    for (std::string& token : tokens) {
        if (const std::optional<char> byte = byte_of_token(token)) {
            bytes += *byte;
        } else {
            flush();
            result.push_back(std::move(token));
        }
    }
    flush();
    tokens = std::move(result);
}

/// A run of bytes that is no UTF-8 becomes U+FFFD for each byte.
inline void apply_step(const decoder::ByteFallback&, TokenTexts& tokens) {
    join_byte_tokens(tokens, [](const std::string& bytes) {
        if (is_valid_utf8(bytes)) return bytes;
        std::string text;
        for (std::size_t i = 0; i < bytes.size(); ++i) append_utf8(text, 0xFFFD);
        return text;
    });
}

inline void apply_step(const decoder::Replace& step, TokenTexts& tokens) {
    for (std::string& token : tokens) {
        std::string result;
        std::size_t at = 0;
        step.pattern.for_each_match(token, [&](Span match) {
            result.append(token, at, match.begin - at);
            result += step.content;
            at = match.end;
        });
        result.append(token, at);
        token = std::move(result);
    }
}

/// Of a run of bytes, what begins no character becomes U+FFFD.
inline void apply_step(const decoder::SentencePiece& step, TokenTexts& tokens) {
    constexpr std::string_view space = "\u2581";
    std::string text, bytes;
    bool is_at_begin = true, had_prefix = false;
    const auto flush = [&] {
        for (std::string_view rest = bytes; !rest.empty();) {
            const Utf8Character character = decode_utf8_character(rest);
            const bool is_valid = character.code_point != Utf8Character::invalid;
            text += is_valid ? rest.substr(0, character.size) : "\uFFFD";
            rest.remove_prefix(is_valid ? character.size : 1);
        }
        bytes.clear();
    };
    for (std::string_view token : tokens) {
        if (const std::optional<char> byte = byte_of_token(token); byte && step.byte_fallback) {
            bytes += *byte;
            continue;
        }
        flush();
        if (had_prefix || !text.empty()) is_at_begin = false;
        had_prefix = false;
        if (std::binary_search(step.control.begin(), step.control.end(), token)) continue;
        if (token == step.unknown) {
            text += step.unknown_surface;
            continue;
        }
        if (is_at_begin && (step.add_dummy_prefix || step.remove_extra_whitespaces) && token.starts_with(space)) {
            token.remove_prefix(space.size());
            had_prefix = !step.remove_extra_whitespaces;
        }
        text += replaced(token, space, " ");
    }
    flush();
    tokens.assign(1, std::move(text));
}

/// The text of tokens whose texts are given. Without a decoder, they are separated by spaces.
inline std::string decode(const std::optional<Decoder>& decoder, TokenTexts tokens) {
    if (!decoder) return joined(tokens, " ");
    for (const decoder::Step& step : *decoder) std::visit([&](const auto& step) { apply_step(step, tokens); }, step);
    return joined(tokens);
}

}  // namespace detail

}  // namespace tenon
