#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/step.hpp"

namespace tenon {

namespace detail {

using TokenTexts = std::vector<std::string>;

}  // namespace detail

/// A step that makes text of the texts of tokens. Those of tokenizer.json are in decoders.hpp.
using DecoderStep = Step<detail::TokenTexts&>;

/// The steps that make text of the texts of tokens, in order; what they leave is joined.
using Decoder = std::vector<DecoderStep>;

namespace detail {

inline std::string joined(const TokenTexts& tokens, std::string_view separator = "") {
    std::string text;
    for (const std::string& token : tokens) {
        if (&token != &tokens.front()) text += separator;
        text += token;
    }
    return text;
}

/// The text of tokens whose texts are given. Without a decoder, they are separated by spaces.
inline std::string decode(const std::optional<Decoder>& decoder, TokenTexts tokens) {
    if (!decoder) return joined(tokens, " ");
    for (const DecoderStep& step : *decoder) step.apply(tokens);
    return joined(tokens);
}

}  // namespace detail

}  // namespace tenon
