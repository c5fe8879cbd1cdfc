#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/encoding.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/tokenizer/step.hpp"

namespace tenon {

namespace detail {

/// Knows the texts of tokens.
class TokenTextSource {
public:
    /// The text of a token, whose part of the source is given.
    virtual std::string_view text_of(TokenId id, std::string_view source) const = 0;

protected:
    ~TokenTextSource() = default;
};

/// What becomes an encoding: the tokens of one text or two, and what stands around them.
struct EncodedTexts {
    struct Part {
        Encoding encoding;
        std::string_view text = {};  // that the offsets are of
    };

    std::vector<Part> parts;
    bool adds_tokens = true;  // whether tokens are put around the texts
    const TokenTextSource* texts_of_tokens = nullptr;
};

}  // namespace detail

/// A step that puts tokens around texts. Those of tokenizer.json are in post_processors.hpp.
using PostProcessorStep = Step<detail::EncodedTexts&>;

/// The steps that put tokens around texts, in order.
using PostProcessor = std::vector<PostProcessorStep>;

namespace detail {

/// Makes one encoding of those of one text or two.
inline Encoding process(const PostProcessor& steps, EncodedTexts texts) {
    for (const PostProcessorStep& step : steps) step.apply(texts);
    Encoding all;
    for (EncodedTexts::Part& part : texts.parts) {
        if (&part == &texts.parts.front()) {
            all = std::move(part.encoding);
        } else {
            append(all, part.encoding);
        }
    }
    return all;
}

/// How many tokens the steps put around so many texts.
inline std::size_t count_added(const PostProcessor& steps, std::size_t texts) {
    return process(steps, {std::vector<EncodedTexts::Part>(texts)}).ids.size();
}

}  // namespace detail

}  // namespace tenon
