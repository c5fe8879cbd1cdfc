#pragma once

#include <tenon/core/mismatch.hpp>

namespace tenon {

namespace mismatch {
/// attention(queries, keys, values): an operand is no [batch, time, heads, width] (or, all three, [batch,
/// time, width]), or the batches differ.
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

namespace detail {

/// One head has no axis of its own in [batch, time, width].
constexpr Extents with_head_axis(const Extents& x) { return x.rank == 3 ? Extents(x[0], x[1], 1, x[2]) : x; }

}  // namespace detail

/// Queries [batch, T, heads, K], keys [batch, S, groups, K], values [batch, S, groups, V] -> [batch, T,
/// heads, V], or all without the axis of heads: one head. Consecutive heads / groups heads share keys and
/// values (Ainslie et al. 2023, "GQA"). K and V may differ, and so may T and S.
constexpr Deduction attention_rule(const Extents& queries, const Extents& keys, const Extents& values) {
    const Extents q = detail::with_head_axis(queries), k = detail::with_head_axis(keys),
                  v = detail::with_head_axis(values);
    if (q.rank != 4 || keys.rank != queries.rank || values.rank != queries.rank ||
        extents_conflict(q[0], k[0]) || extents_conflict(k[0], v[0]))
        return {{}, 1};
    if (extents_conflict(q[3], k[3])) return {{}, 2};
    if (extents_conflict(k[1], v[1]) || extents_conflict(k[2], v[2])) return {{}, 3};
    if (is_exact(q[2]) && is_exact(k[2]) && (k[2] == 0 || q[2] % k[2] != 0)) return {{}, 4};
    const ExtentCode batch = refine_extent(q[0], k[0]);
    return {queries.rank == 4 ? Extents(batch, q[1], q[2], v[3]) : Extents(batch, q[1], v[3])};
}

/// Of one score for each pair of query and key: [batch, heads, T, S]. Masks are checked against them.
constexpr Extents attention_scores(const Extents& queries, const Extents& keys) {
    const Extents q = detail::with_head_axis(queries), k = detail::with_head_axis(keys);
    return Extents(refine_extent(q[0], k[0]), q[2], q[1], k[1]);
}

template <class Q, class K, class V>
struct AttentionRule {
    static constexpr Deduction deduction = attention_rule(Q::codes, K::codes, V::codes);
    static constexpr Extents extents = deduction.extents;
};

namespace detail {

template <class Q, class K>
struct ScoresRule {
    static constexpr Extents extents = attention_scores(Q::codes, K::codes);
};

/// Queries [batch, T, heads, K] -> [batch, heads, T]; [batch, T, K] -> [batch, T].
constexpr Extents log_sum_exp_extents(const Extents& q) {
    return q.rank == 4 ? Extents(q[0], q[2], q[1]) : Extents(q[0], q[1]);
}

template <class Q>
struct LogSumExpRule {
    static constexpr Extents extents = log_sum_exp_extents(Q::codes);
};

/// The fault of operands that do not fit.
template <class Q, class K, class V, int fault = AttentionRule<Q, K, V>::deduction.fault>
struct AttentionFault {};
template <class Q, class K, class V>
struct AttentionFault<Q, K, V, 1> {
    using type = mismatch::attention_batch_extents_differ<Q, K>;
};
template <class Q, class K, class V>
struct AttentionFault<Q, K, V, 2> {
    using type = mismatch::attention_key_widths_differ<Q, K>;
};
template <class Q, class K, class V>
struct AttentionFault<Q, K, V, 3> {
    using type = mismatch::attention_keys_and_values_differ<K, V>;
};
template <class Q, class K, class V>
struct AttentionFault<Q, K, V, 4> {
    using type = mismatch::attention_heads_do_not_share_key_value_heads<Q, K>;
};

[[gnu::noinline]] inline Deduction require_attention(const Extents& q, const Extents& k, const Extents& v) {
    const Deduction deduction = attention_rule(q, k, v);
    if (deduction.fault == 1) throw_mismatch<mismatch::attention_batch_extents_differ>(q, k);
    if (deduction.fault == 2) throw_mismatch<mismatch::attention_key_widths_differ>(q, k);
    if (deduction.fault == 3) throw_mismatch<mismatch::attention_keys_and_values_differ>(k, v);
    if (deduction.fault == 4) throw_mismatch<mismatch::attention_heads_do_not_share_key_value_heads>(q, k);
    return deduction;
}

}  // namespace detail
}  // namespace tenon
