#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "tenon/tokenizer/pipeline.hpp"
#include "tenon/tokenizer/tokenizer.hpp"

namespace tenon::detail {

/// Encodes parts of a text each on its own, by several threads if wanted: together they have the ids of the
/// whole. The tokenizer must outlive it.
class PartEncoder {
public:
    /// With `add_special_tokens`, the first part has the template's tokens before it, and the last those
    /// after it. Throws Error where the template drops or repeats the text.
    PartEncoder(const Tokenizer& tokenizer, bool add_special_tokens)
        : tokenizer_(&tokenizer), options_{.add_special_tokens = add_special_tokens} {
        if (add_special_tokens) tokenizer.surroundings();  // throws if there is no such
    }

    /// A late place where a text, of which more may follow, can be cut; 0 where none is found.
    std::size_t last_cut(std::string_view text) const { return tokenizer_->pipeline().last_cut(text); }

    /// The ids of a part. Throws Error where the model has no token for something in it.
    std::vector<TokenId> encode(std::string_view part, bool begins_text, bool ends_text) const {
        return tokenizer_->encode_part(part, options_, begins_text, ends_text);
    }

private:
    const Tokenizer* tokenizer_;
    EncodeOptions options_;
};

}  // namespace tenon::detail
