#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/decoder.hpp"
#include "tenon/tokenizer/metaspace.hpp"
#include "tenon/tokenizer/text_pattern.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

namespace detail {

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
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
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

}  // namespace detail

/// The decoders of tokenizer.json, with their names and fields.
namespace decoder {

struct BPEDecoder {
    std::string suffix = "</w>";

    void apply(detail::TokenTexts& tokens) const {
        for (std::string& token : tokens)
            token = detail::replaced(token, suffix, &token == &tokens.back() ? "" : " ");
    }
};

struct WordPiece {
    std::string prefix = "##";
    bool cleanup = true;

    void apply(detail::TokenTexts& tokens) const {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (i > 0 && tokens[i].starts_with(prefix)) {
                tokens[i].erase(0, prefix.size());
            } else if (i > 0) {
                tokens[i].insert(0, " ");
            }
            if (cleanup) tokens[i] = detail::without_artifacts(std::move(tokens[i]));
        }
    }
};

struct Metaspace {
    pre_tokenizer::Metaspace fields = {};

    void apply(detail::TokenTexts& tokens) const {
        const bool has_prefix = fields.prepend_scheme != PrependScheme::never;
        for (std::string& token : tokens)
            token = detail::replaced(token, fields.replacement,
                                     has_prefix && &token == &tokens.front() ? "" : " ");
    }
};

struct CTC {
    std::string pad_token = "<pad>";
    std::string word_delimiter_token = "|";
    bool cleanup = true;

    void apply(detail::TokenTexts& tokens) const {
        tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
        for (std::string& token : tokens) {
            token = detail::replaced(token, pad_token, "");
            if (cleanup)
                token =
                    detail::replaced(detail::without_artifacts(std::move(token)), word_delimiter_token, " ");
        }
        std::erase(tokens, "");
    }
};

struct Fuse {
    void apply(detail::TokenTexts& tokens) const { tokens.assign(1, detail::joined(tokens)); }
};

struct Strip {
    std::string content;  ///< one character
    std::size_t start = 0;
    std::size_t stop = 0;

    void apply(detail::TokenTexts& tokens) const {
        for (std::string& token : tokens) {
            std::string_view kept = token;
            for (std::size_t i = 0; i < start && kept.starts_with(content); ++i)
                kept.remove_prefix(content.size());
            for (std::size_t i = 0; i < stop && kept.ends_with(content); ++i)
                kept.remove_suffix(content.size());
            token = std::string(kept);
        }
    }
};

/// Makes bytes of tokens such as <0x0A>. A run of bytes that is no UTF-8 becomes U+FFFD for each byte.
struct ByteFallback {
    void apply(detail::TokenTexts& tokens) const {
        detail::TokenTexts result;
        std::string bytes;
        const auto flush = [&] {
            if (bytes.empty()) return;
            std::string& text = result.emplace_back();
            if (detail::is_valid_utf8(bytes)) {
                text = bytes;
            } else {
                for (std::size_t i = 0; i < bytes.size(); ++i) append_utf8(text, 0xFFFD);
            }
            bytes.clear();
        };
        for (std::string& token : tokens) {
            if (const std::optional<char> byte = detail::byte_of_token(token)) {
                bytes += *byte;
            } else {
                flush();
                result.push_back(std::move(token));
            }
        }
        flush();
        tokens = std::move(result);
    }
};

struct Replace {
    TextPattern pattern;
    std::string content;

    void apply(detail::TokenTexts& tokens) const {
        for (std::string& token : tokens) {
            std::string result;
            std::size_t at = 0;
            pattern.for_each_match(token, [&](Span match) {
                result.append(token, at, match.begin - at);
                result += content;
                at = match.end;
            });
            result.append(token, at);
            token = std::move(result);
        }
    }
};

}  // namespace decoder

}  // namespace tenon
