#pragma once

#include <tenon/op/attention/alibi.hpp>
#include <tenon/op/attention/masks.hpp>
#include <tenon/op/attention/node.hpp>
#include <tenon/op/attention/options.hpp>
#include <tenon/op/attention/rule.hpp>
#include <tenon/op/operation.hpp>

/// Scaled dot-product attention: softmax(scale · queries keysᵀ + mask) values for each head, in tiles, so
/// that memory grows with time and not its square (Vaswani et al. 2017; Dao 2023, "FlashAttention-2").
namespace tenon {

namespace detail {

/// The number of what does not fit: of the operands as their rule has it, -1 for a mask, 0 for nothing.
template <class Q, class K, class V, class... Masks>
inline constexpr int attention_fault = [] {
    if constexpr (constexpr int fault = AttentionRule<Q, K, V>::deduction.fault; fault != 0)
        return fault;
    else
        return (mask_fits<ShapeOf<ScoresRule<Q, K>>, Masks> && ...) ? 0 : -1;
}();

/// Whether shapes fit, those of the masks included.
template <class Q, class K, class V, class... Masks>
inline constexpr bool may_attend = attention_fault<Q, K, V, Masks...> == 0;

}  // namespace detail

/// Attention of queries [batch, T, heads, K] to keys [batch, S, groups, K] and values [batch, S, groups, V]:
/// [batch, T, heads, V]; or of one head, [batch, T, K] to [batch, S, K] and [batch, S, V]: [batch, T, V].
///
/// The queries are those of the last T of S positions, as generation with a cache has them. They attend to
/// what the options and all `masks` allow, in any order, each at most once:
///
///     attention(q, k, v, {.window = 128})             // the options alone; causal is the default
///     attention(q, k, v, {.causal = false})           // cross-attention: positions do not matter
///     attention(q, k, v, {}, Padding{lengths})        // int [batch]: keys from there on are padding
///     attention(q, k, v, {}, document_start)          // int [batch, S]: where each position's document,
///                                                     // of several in one sequence, begins
///     attention(q, k, v, {.causal = false}, allowed)  // bool, explicit: [T, S], [batch, T, S], or
///                                                     // [batch, heads, T, S]
///
/// An explicit mask has true where a query may attend to a key; its batch and heads may be 1. Without
/// `.causal = false` a query attends to no later key, whatever the mask says; documents, of which only the
/// starts are given, need it or a window. A query that may attend to nothing yields zeros, and gives no
/// gradient. Masks are read again by the backward pass: their elements must not change until then.
///
/// Views are read where they lie if their last axis is dense. Throws ShapeError where extents known at run
/// time do not fit, and Error for a length that is negative or beyond S, and for documents with neither a
/// causal order nor a window.
template <Argument Q, Argument K, Argument V, AttentionMask... Masks>
    requires(detail::may_attend<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>, Masks...>)
auto attention(Q&& queries, K&& keys, V&& values, const AttentionOptions& options = {},
               const Masks&... masks) {
    const auto q = evaluate(std::forward<Q>(queries));
    const auto k = evaluate(std::forward<K>(keys));
    const auto v = evaluate(std::forward<V>(values));
    detail::require_attention(q.extents(), k.extents(), v.extents());
    return detail::attention(
        q, k, v, options, detail::hold_masks(attention_scores(q.extents(), k.extents()), masks...), nullptr);
}

/// The result of attention, and for each query of each head the logarithm of the sum of its exponentials.
template <class Y, class L>
struct AttentionResult {
    Y output;
    L log_sum_exp;
};

/// Attention that also returns its log sum exp, [batch, heads, T] or, of one head, [batch, T], as merging
/// partial results needs. Without gradient.
template <TensorLike Q, TensorLike K, TensorLike V, AttentionMask... Masks>
    requires(detail::may_attend<typename Q::shape_type, typename K::shape_type, typename V::shape_type,
                                Masks...> &&
             !any_tracked<Q, K, V>)
auto attention_with_log_sum_exp(const Q& q, const K& k, const V& v, const AttentionOptions& options = {},
                                const Masks&... masks) {
    detail::require_attention(q.extents(), k.extents(), v.extents());
    using L = Tensor<ComputeOf<typename Q::value_type>,
                     ShapeOf<detail::LogSumExpRule<typename Q::shape_type>>, typename Q::device_type>;
    auto log_sum_exp = L::with_extents(detail::log_sum_exp_extents(q.extents()));
    auto output = detail::attention(q, k, v, options,
                                    detail::hold_masks(attention_scores(q.extents(), k.extents()), masks...),
                                    log_sum_exp.data());
    return AttentionResult<decltype(output), L>{output, log_sum_exp};
}

// Faults: of the operands, of a mask, and of a named expression.
template <Argument Q, Argument K, Argument V, class... Masks>
    requires(AttentionRule<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>>::deduction.fault != 0)
typename detail::AttentionFault<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>>::type attention(
    Q&&, K&&, V&&, const AttentionOptions& = {}, const Masks&...);
template <Argument Q, Argument K, Argument V, AttentionMask... Masks>
    requires(detail::attention_fault<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>, Masks...> <
             0)
typename detail::MaskFault<ShapeOf<detail::ScoresRule<ShapeOfArgument<Q>, ShapeOfArgument<K>>>,
                           Masks...>::type
attention(Q&&, K&&, V&&, const AttentionOptions&, const Masks&...);
template <class Q, class K, class V, class... Masks>
    requires NamedExpression<Q> NamedExpressionError<Attention, Q> attention(Q&&, K&&, V&&,
                                                                             const AttentionOptions& = {},
                                                                             const Masks&...);
template <class Q, class K, class V, class... Masks>
    requires(!NamedExpression<Q> && NamedExpression<K>)
NamedExpressionError<Attention, K> attention(Q&&, K&&, V&&, const AttentionOptions& = {}, const Masks&...);
template <class Q, class K, class V, class... Masks>
    requires(!NamedExpression<Q> && !NamedExpression<K> && NamedExpression<V>)
NamedExpressionError<Attention, V> attention(Q&&, K&&, V&&, const AttentionOptions& = {}, const Masks&...);

}  // namespace tenon
