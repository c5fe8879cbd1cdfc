#pragma once

#include <tenon/op/attention/options.hpp>
#include <tenon/op/distinct_contributions.hpp>
#include <tenon/op/operation.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// Scaled dot-product attention: softmax(scale · queries keysᵀ + mask) values for each head, in tiles, so
/// that memory grows with time and not its square (Vaswani et al. 2017; Dao 2023, "FlashAttention-2").
struct Attention {};

namespace mismatch {
/// attention(queries, keys, values): an operand is no [batch, time, heads, width], or the batches differ.
template <class Queries, class Keys>
struct attention_batch_extents_differ;
/// Queries and keys differ in width.
template <class Queries, class Keys>
struct attention_key_widths_differ;
/// Keys and values differ in time or heads.
template <class Keys, class Values>
struct attention_keys_and_values_differ;
/// The heads of the queries are no multiple of those of keys and values.
template <class Queries, class Keys>
struct attention_heads_do_not_share_key_value_heads;
}  // namespace mismatch

/// Queries [batch, T, heads, K], keys [batch, S, groups, K], values [batch, S, groups, V] -> [batch, T,
/// heads, V]. The queries are those of the last T of S positions; consecutive heads / groups heads share keys
/// and values (Ainslie et al. 2023, "GQA"). K and V may differ.
constexpr Deduction attention_rule(const Extents& q, const Extents& k, const Extents& v) {
    if (q.rank != 4 || k.rank != 4 || v.rank != 4 || extents_conflict(q[0], k[0]) ||
        extents_conflict(k[0], v[0]))
        return {{}, 1};
    if (extents_conflict(q[3], k[3])) return {{}, 2};
    if (extents_conflict(k[1], v[1]) || extents_conflict(k[2], v[2])) return {{}, 3};
    if (is_exact(q[2]) && is_exact(k[2]) && (k[2] == 0 || q[2] % k[2] != 0)) return {{}, 4};
    return {Extents(refine_extent(q[0], k[0]), q[1], q[2], v[3])};
}

template <class Q, class K, class V>
struct AttentionRule {
    static constexpr Deduction deduction = attention_rule(Q::codes, K::codes, V::codes);
    static constexpr Extents extents = deduction.extents;
};

namespace detail {

/// Queries [batch, T, heads, K] -> [batch, heads, T].
template <class Q>
struct LogSumExpRule {
    static constexpr Extents extents{Q::codes[0], Q::codes[2], Q::codes[1]};
};

template <class Device, class T>
struct AttentionNode : Node {
    Saved<T> queries, keys, values;
    AttentionOptions options;
    Storage documents_storage;
    const int* documents;
    Storage result, log_sum_exp;

    void backward() {
        using C = ComputeOf<T>;
        DistinctContributions<C, Device, 3> contributions;
        const Contribution<C> to_queries = contributions.to(queries.slot),
                              to_keys = contributions.to(keys.slot),
                              to_values = contributions.to(values.slot);
        Kernel<Attention, Device>::backward(
            queries.view, keys.view, values.view, options, documents, static_cast<const T*>(result.data()),
            static_cast<const C*>(log_sum_exp.data()), static_cast<const C*>(this->output.storage.data()),
            to_queries, to_keys, to_values);
        contributions.finish();
    }
};

template <class X>
X with_dense_width(const X& x) {
    return copied_unless(x.extents()[3] == 1 || x.strides()[3] == 1, x);
}

template <TensorLike Q, TensorLike K, TensorLike V>
auto attention(const Q& given_q, const K& given_k, const V& given_v, const AttentionOptions& options,
               const Storage& documents_storage, const int* documents, void* log_sum_exp_out) {
    const Q q = with_dense_width(given_q);
    const K k = with_dense_width(given_k);
    const V v = with_dense_width(given_v);
    using T = typename Q::value_type;
    using D = typename Q::device_type;
    using C = ComputeOf<T>;
    static_assert(std::same_as<T, typename K::value_type> && std::same_as<T, typename V::value_type>,
                  "attention: the element types differ");
    using S = ShapeOf<AttentionRule<typename Q::shape_type, typename K::shape_type, typename V::shape_type>>;
    const Deduction deduction = attention_rule(q.extents(), k.extents(), v.extents());
    if (deduction.fault == 1)
        throw_mismatch<mismatch::attention_batch_extents_differ>(q.extents(), k.extents());
    if (deduction.fault == 2) throw_mismatch<mismatch::attention_key_widths_differ>(q.extents(), k.extents());
    if (deduction.fault == 3)
        throw_mismatch<mismatch::attention_keys_and_values_differ>(k.extents(), v.extents());
    if (deduction.fault == 4)
        throw_mismatch<mismatch::attention_heads_do_not_share_key_value_heads>(q.extents(), k.extents());
    auto y = Tensor<T, S, D>::with_extents(deduction.extents);
    Storage log_sum_exp;
    if (any_tracked<Q, K, V> && !log_sum_exp_out)
        log_sum_exp =
            Storage(Memory<D>::allocate(static_cast<std::size_t>(q.extents().count(0, 3)) * sizeof(C)));
    C* const sums = static_cast<C*>(log_sum_exp_out ? log_sum_exp_out : log_sum_exp.data());
    Kernel<Attention, D>::forward(q.view(), k.view(), v.view(), options, documents, y.data(), sums);
    if constexpr (any_tracked<Q, K, V>)
        return track<AttentionNode<D, T>>(y, save(q), save(k), save(v), options, documents_storage, documents,
                                          y.storage(), log_sum_exp);
    else
        return y;
}

}  // namespace detail

/// Attention of queries [batch, T, heads, K] to keys [batch, S, groups, K] and values [batch, S, groups, V]:
/// [batch, T, heads, V]. A query that may attend to nothing yields zeros. Views are read where they lie if
/// their last axis is dense. Throws ShapeError where extents known at run time do not fit.
template <Argument Q, Argument K, Argument V>
    requires(AttentionRule<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>>::deduction.ok())
auto attention(Q&& queries, K&& keys, V&& values, const AttentionOptions& options = {}) {
    return detail::attention(evaluate(std::forward<Q>(queries)), evaluate(std::forward<K>(keys)),
                             evaluate(std::forward<V>(values)), options, {}, nullptr, nullptr);
}

/// The same for documents packed into one sequence: `document_start` [batch, S] says of each position where
/// its document begins; it attends to nothing before. It must outlive the backward pass.
template <Argument Q, Argument K, Argument V, class S>
    requires(AttentionRule<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>>::deduction.ok())
auto attention(Q&& queries, K&& keys, V&& values, const AttentionOptions& options,
               const Tensor<int, S, typename Evaluated<Q>::device_type>& document_start) {
    const auto k = evaluate(std::forward<K>(keys));
    if (document_start.size() != k.extents().count(0, 2))
        throw ShapeError("attention: expected " + std::to_string(k.extents().count(0, 2)) +
                         " document starts, got " + std::to_string(document_start.size()));
    return detail::attention(evaluate(std::forward<Q>(queries)), k, evaluate(std::forward<V>(values)),
                             options, document_start.storage(), document_start.data(), nullptr);
}

/// The result of attention, and for each [batch, head, time] the logarithm of the sum of its exponentials.
template <class Y, class L>
struct AttentionResult {
    Y output;
    L log_sum_exp;
};

/// Attention that also returns its log sum exp [batch, heads, T], as merging partial results needs. Without
/// gradient.
template <TensorLike Q, TensorLike K, TensorLike V>
    requires(AttentionRule<typename Q::shape_type, typename K::shape_type, typename V::shape_type>::deduction
                 .ok() &&
             !any_tracked<Q, K, V>)
auto attention_with_log_sum_exp(const Q& q, const K& k, const V& v, const AttentionOptions& options = {}) {
    using L = Tensor<ComputeOf<typename Q::value_type>,
                     ShapeOf<detail::LogSumExpRule<typename Q::shape_type>>, typename Q::device_type>;
    auto log_sum_exp = L::with_extents(Extents(q.extents()[0], q.extents()[2], q.extents()[1]));
    auto output = detail::attention(q, k, v, options, {}, nullptr, log_sum_exp.data());
    return AttentionResult<decltype(output), L>{output, log_sum_exp};
}

template <Argument Q, Argument K, Argument V, class... Rest>
    requires(AttentionRule<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>>::deduction.fault == 1)
mismatch::attention_batch_extents_differ<ShapeOfArgument<Q>, ShapeOfArgument<K>> attention(Q&&, K&&, V&&,
                                                                                           Rest&&...);
template <Argument Q, Argument K, Argument V, class... Rest>
    requires(AttentionRule<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>>::deduction.fault == 2)
mismatch::attention_key_widths_differ<ShapeOfArgument<Q>, ShapeOfArgument<K>> attention(Q&&, K&&, V&&,
                                                                                        Rest&&...);
template <Argument Q, Argument K, Argument V, class... Rest>
    requires(AttentionRule<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>>::deduction.fault == 3)
mismatch::attention_keys_and_values_differ<ShapeOfArgument<K>, ShapeOfArgument<V>> attention(Q&&, K&&, V&&,
                                                                                             Rest&&...);
template <Argument Q, Argument K, Argument V, class... Rest>
    requires(AttentionRule<ShapeOfArgument<Q>, ShapeOfArgument<K>, ShapeOfArgument<V>>::deduction.fault == 4)
mismatch::attention_heads_do_not_share_key_value_heads<ShapeOfArgument<Q>, ShapeOfArgument<K>> attention(
    Q&&, K&&, V&&, Rest&&...);
template <class Q, class K, class V, class... Rest>
    requires NamedExpression<Q> NamedExpressionError<Attention, Q> attention(Q&&, K&&, V&&, Rest&&...);
template <class Q, class K, class V, class... Rest>
    requires(!NamedExpression<Q> && NamedExpression<K>)
NamedExpressionError<Attention, K> attention(Q&&, K&&, V&&, Rest&&...);
template <class Q, class K, class V, class... Rest>
    requires(!NamedExpression<Q> && !NamedExpression<K> && NamedExpression<V>)
NamedExpressionError<Attention, V> attention(Q&&, K&&, V&&, Rest&&...);

}  // namespace tenon
