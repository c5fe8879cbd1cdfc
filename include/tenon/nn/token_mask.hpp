#pragma once

#include <concepts>

#include <tenon/core/tensor.hpp>

namespace tenon {

/// A mask of tokens, bool [batch, time]: true where there is a token, false where there is padding.
template <class M>
concept TokenMask = TensorLike<M> && std::same_as < typename std::remove_cvref_t<M>::value_type,
bool > &&std::remove_cvref_t<M>::is_packed&& std::remove_cvref_t<M>::rank == 2;

namespace detail {

/// Whether the first two extents are those of [batch, time].
constexpr bool has_tokens_of(const Extents& x, const Extents& tokens) {
    return x.rank >= 2 && tokens.rank == 2 && !extents_conflict(x[0], tokens[0]) &&
           !extents_conflict(x[1], tokens[1]);
}
template <class X, class Tokens>
concept OfTokens = has_tokens_of(X::shape_type::codes, Tokens::shape_type::codes);

}  // namespace detail
}  // namespace tenon
