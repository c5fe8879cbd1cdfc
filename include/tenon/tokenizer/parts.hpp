#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "tenon/tokenizer/added_tokens.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/decoder.hpp"
#include "tenon/tokenizer/encoding.hpp"
#include "tenon/tokenizer/normalizer.hpp"
#include "tenon/tokenizer/post_processor.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"
#include "tenon/tokenizer/sentence_piece_bpe.hpp"
#include "tenon/tokenizer/unigram.hpp"
#include "tenon/tokenizer/word_level.hpp"
#include "tenon/tokenizer/word_piece.hpp"

namespace tenon {

/// What makes tokens of pieces of text.
using TokenizerModel = std::variant<BytePair, WordPiece, Unigram, WordLevel, SentencePieceBpe>;

/// What a tokenizer is made of, as in tokenizer.json: text passes from the added tokens to the normalizer, the
/// pre-tokenizer, the model and the post-processor, and tokens to the decoder.
struct TokenizerParts {
    TokenizerModel model;
    std::vector<AddedToken> added_tokens = {};
    Normalizer normalizer = {};
    PreTokenizer pre_tokenizer = {};
    PostProcessor post_processor = {};
    std::optional<Decoder> decoder = {};  ///< without one, the texts of tokens are separated by spaces
    std::optional<Truncation> truncation = {};
    std::optional<Padding> padding = {};
};

}  // namespace tenon
