#pragma once

#include <cstddef>
#include <string_view>
#include <utility>
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
        : tokenizer_(&tokenizer), surroundings_(add_special_tokens ? &tokenizer.surroundings() : nullptr) {}

    /// A late place where a text, of which more may follow, can be cut; 0 where none is found.
    std::size_t last_cut(std::string_view text) const { return tokenizer_->pipeline().last_cut(text); }

    /// The ids of a part. Throws Error where the model has no token for something in it.
    std::vector<TokenId> encode(std::string_view part, bool begins_text, bool ends_text) const {
        EncodeState state(part.size());
        std::vector<TokenId>& ids = state.tokens.ids;
        ids.reserve(part.size() / 3 + 8);
        if (surroundings_ && begins_text) ids = surroundings_->before;
        tokenizer_->pipeline().encode(part, SpecialTokens::recognized, state, nullptr, begins_text);
        if (surroundings_ && ends_text)
            ids.insert(ids.end(), surroundings_->after.begin(), surroundings_->after.end());
        return std::move(ids);
    }

private:
    const Tokenizer* tokenizer_;
    const Tokenizer::Surroundings* surroundings_;
};

}  // namespace tenon::detail
