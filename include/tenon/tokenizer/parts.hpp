#pragma once

#include <optional>
#include <vector>

#include "tenon/tokenizer/added_tokens.hpp"
#include "tenon/tokenizer/decoder.hpp"
#include "tenon/tokenizer/encoding.hpp"
#include "tenon/tokenizer/model.hpp"
#include "tenon/tokenizer/normalizer.hpp"
#include "tenon/tokenizer/post_processor.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"

namespace tenon {

/// What a tokenizer is made of, as in tokenizer.json: text passes from the added tokens to the normalizer,
/// the pre-tokenizer, the model and the post-processor, and tokens to the decoder.
struct TokenizerParts {
    TokenizerModel model;
    std::vector<AddedToken> added_tokens = {};
    Normalizer normalizer = {};
    PreTokenizer pre_tokenizer = {};
    PostProcessor post_processor = {};
    std::optional<Decoder> decoder = {};  ///< without one, the texts of tokens are separated by spaces
    std::optional<TruncationOptions> truncation = {};
    std::optional<PaddingOptions> padding = {};
};

}  // namespace tenon
