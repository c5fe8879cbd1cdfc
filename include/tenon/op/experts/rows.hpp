#pragma once

#include <string>

#include <tenon/op/experts/dispatch.hpp>
#include <tenon/op/operation.hpp>

namespace tenon {

/// The rows of tokens, each to where its experts are: y[r] = x[token of r], zero where a row has none.
struct GatherRows {};
/// The reverse, weighed: y[t] = the sum of weights[t, i] x[row of t's assignment i], in the order of i.
struct CombineRows {};
/// Elements in the type of computation.
struct Widen {};

namespace mismatch {
/// gather_rows(x, rows): x is no [tokens, width], or has another number of tokens than the rows are of.
template <class X, class Slots>
struct gather_rows_has_other_tokens;
/// combine_rows(x, weights, rows): x is no [rows, width], or the weights are no [tokens, k] as the rows have.
template <class X, class Weights>
struct combine_rows_has_other_weights;
}  // namespace mismatch

/// [tokens, width] by way of [tokens, k] -> [rows, width].
constexpr Deduction gather_rows_rule(const Extents& x, const Extents& slots) {
    if (x.rank != 2 || slots.rank != 2 || extents_conflict(x[0], slots[0])) return {{}, 1};
    Deduction result;
    result.extents.append(dyn_code);
    result.extents.append(x[1]);
    return result;
}
/// [rows, width] and weights [tokens, k] by way of [tokens, k] -> [tokens, width].
constexpr Deduction combine_rows_rule(const Extents& x, const Extents& weights, const Extents& slots) {
    if (x.rank != 2 || weights.rank != 2 || slots.rank != 2 || extents_conflict(weights[0], slots[0]) ||
        extents_conflict(weights[1], slots[1]))
        return {{}, 1};
    Deduction result;
    result.extents.append(slots[0]);
    result.extents.append(x[1]);
    return result;
}

template <class X, class Slots>
struct GatherRowsRule {
    static constexpr Deduction deduction = gather_rows_rule(X::codes, Slots::codes);
    static constexpr Extents extents = deduction.extents;
};
template <class X, class Weights, class Slots>
struct CombineRowsRule {
    static constexpr Deduction deduction = combine_rows_rule(X::codes, Weights::codes, Slots::codes);
    static constexpr Extents extents = deduction.extents;
};

/// What kernels read of ExpertRows.
struct RowPlaces {
    const std::int32_t *slots, *sources;
    int tokens, experts_per_token, rows;
    std::int64_t width;
};

namespace detail {

template <class Slots>
RowPlaces places_of(const ExpertRows<Slots>& rows, std::int64_t width) {
    return {rows.slots.data(),        rows.sources.data(), rows.tokens(),
            rows.experts_per_token(), rows.rows(),         width};
}

template <class Device, class T>
struct GatherRowsNode : Node {
    SlotReference slot;
    Storage slots, sources;
    RowPlaces places;

    void backward() {
        if (!slot) return;
        Kernel<GatherRows, Device>::backward(places, upstream_of<T, Device>(*this),
                                             contribute<T, Device>(*slot));
    }
};

template <class Device, class T>
struct CombineRowsNode : Node {
    Saved<T> x;
    Saved<ComputeOf<T>> weights;
    Storage slots, sources;
    RowPlaces places;

    void backward() {
        const auto* const upstream = upstream_of<T, Device>(*this);
        if (x.slot)
            Kernel<CombineRows, Device>::gradient_rows(places, weights.view.data, upstream,
                                                       contribute<T, Device>(*x.slot));
        if (weights.slot)
            Kernel<CombineRows, Device>::gradient_weights(places, x.view.data, upstream,
                                                          contribute<ComputeOf<T>, Device>(*weights.slot));
    }
};

template <class Device, class T>
struct WidenNode : Node {
    SlotReference slot;
    std::int64_t count;

    void backward() {
        if (!slot) return;
        Kernel<Widen, Device>::run(upstream_of<ComputeOf<T>, Device>(*this), count,
                                   contribute<T, Device>(*slot));
    }
};

}  // namespace detail

/// Rows of x [tokens, width], each where its experts have it: [rows, width]. What no token fills is zero.
/// Throws ShapeError where the rows are of another number of tokens.
template <Argument X, class Slots>
    requires(GatherRowsRule<ShapeOfArgument<X>, typename Slots::shape_type>::deduction.ok())
auto gather_rows(X&& tokens, const ExpertRows<Slots>& rows) {
    const auto x = evaluate(std::forward<X>(tokens));
    using A = std::remove_const_t<decltype(x)>;
    using T = typename A::value_type;
    using D = typename A::device_type;
    static_assert(A::is_packed, "gather_rows takes a packed tensor: pass contiguous(x)");
    if (x.extents()[0] != rows.tokens())
        throw_mismatch<mismatch::gather_rows_has_other_tokens>(x.extents(), rows.slots.extents());
    using S = ShapeOf<GatherRowsRule<typename A::shape_type, typename Slots::shape_type>>;
    const RowPlaces places = detail::places_of(rows, x.extents()[1]);
    auto y = Tensor<T, S, D>::with_extents(Extents(rows.rows(), x.extents()[1]));
    Kernel<GatherRows, D>::forward(places, x.data(), y.data());
    if constexpr (A::is_tracked)
        return track<detail::GatherRowsNode<D, T>>(y, gradient_slot(x), rows.slots.storage(),
                                                   rows.sources.storage(), places);
    else
        return y;
}
template <Argument X, class Slots>
    requires(!GatherRowsRule<ShapeOfArgument<X>, typename Slots::shape_type>::deduction.ok())
mismatch::gather_rows_has_other_tokens < ShapeOfArgument<X>,
typename Slots::shape_type > gather_rows(X&&, const ExpertRows<Slots>&);
template <class X, class Slots>
    requires NamedExpression<X> NamedExpressionError<GatherRows, X> gather_rows(X&&,
                                                                                const ExpertRows<Slots>&);

/// What the experts made of the rows, x [rows, width], for each token: the sum of its assignments' rows times
/// their weights [tokens, k], which are in the type of computation: [tokens, width]. Rows that were dropped
/// add nothing. Throws ShapeError where extents known at run time differ.
template <Argument X, Argument Weights, class Slots>
    requires(CombineRowsRule<ShapeOfArgument<X>, ShapeOfArgument<Weights>,
                             typename Slots::shape_type>::deduction.ok())
auto combine_rows(X&& results, Weights&& factors, const ExpertRows<Slots>& rows) {
    const auto x = evaluate(std::forward<X>(results));
    const auto weights = evaluate(std::forward<Weights>(factors));
    using A = std::remove_const_t<decltype(x)>;
    using B = std::remove_const_t<decltype(weights)>;
    using T = typename A::value_type;
    using D = typename A::device_type;
    static_assert(std::same_as<ComputeOf<T>, typename B::value_type>,
                  "combine_rows: the weights are in the type that x is computed in");
    static_assert(A::is_packed && B::is_packed, "combine_rows takes packed tensors: pass contiguous(x)");
    if (!(weights.extents() == rows.slots.extents()) || x.extents()[0] != rows.rows())
        throw_mismatch<mismatch::combine_rows_has_other_weights>(x.extents(), weights.extents());
    using S =
        ShapeOf<CombineRowsRule<typename A::shape_type, typename B::shape_type, typename Slots::shape_type>>;
    const RowPlaces places = detail::places_of(rows, x.extents()[1]);
    auto y = Tensor<T, S, D>::with_extents(Extents(rows.tokens(), x.extents()[1]));
    Kernel<CombineRows, D>::forward(places, weights.data(), x.data(), y.data());
    if constexpr (any_tracked<A, B>)
        return track<detail::CombineRowsNode<D, T>>(y, save(x), save(weights), rows.slots.storage(),
                                                    rows.sources.storage(), places);
    else
        return y;
}
template <Argument X, Argument Weights, class Slots>
    requires(!CombineRowsRule<ShapeOfArgument<X>, ShapeOfArgument<Weights>,
                              typename Slots::shape_type>::deduction.ok())
mismatch::combine_rows_has_other_weights<ShapeOfArgument<X>, ShapeOfArgument<Weights>> combine_rows(
    X&&, Weights&&, const ExpertRows<Slots>&);
template <class X, class Weights, class Slots>
    requires NamedExpression<X> NamedExpressionError<CombineRows, X> combine_rows(X&&, Weights&&,
                                                                                  const ExpertRows<Slots>&);

/// x in the type that it is computed in: bf16 and f16 as f32, others as they are.
template <TensorLike X>
auto widened(const X& x) {
    using T = typename X::value_type;
    using D = typename X::device_type;
    static_assert(X::is_packed, "widened takes a packed tensor: pass contiguous(x)");
    if constexpr (std::same_as<T, ComputeOf<T>>) {
        return x;
    } else {
        auto y = Tensor<ComputeOf<T>, typename X::shape_type, D>::with_extents(x.extents());
        Kernel<Widen, D>::run(x.data(), x.size(), Contribution<ComputeOf<T>>{y.data(), false});
        if constexpr (X::is_tracked)
            return track<detail::WidenNode<D, T>>(y, gradient_slot(x), x.size());
        else
            return y;
    }
}

}  // namespace tenon
