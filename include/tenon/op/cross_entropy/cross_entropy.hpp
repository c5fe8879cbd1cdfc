#pragma once

#include <tenon/op/cross_entropy/logits.hpp>
#include <tenon/op/distinct_contributions.hpp>
#include <tenon/op/operation.hpp>

namespace tenon {

/// Cross-entropy: the mean over all positions of log sum exp(logits) - logits[target], in nats.
struct CrossEntropy {};

namespace mismatch {
/// cross_entropy(logits, targets): targets must have the shape of logits without its last axis.
template <class Logits, class Targets>
struct cross_entropy_targets_differ;
}  // namespace mismatch

constexpr bool cross_entropy_fits(const Extents& logits, const Extents& targets) {
    if (logits.rank != targets.rank + 1) return false;
    for (int axis = 0; axis < targets.rank; ++axis)
        if (extents_conflict(logits[axis], targets[axis])) return false;
    return true;
}

namespace detail {

/// Logits given as a tensor. Kept for the gradient: the logits and, for each position, their log sum exp.
template <class Device, class T, class Id>
struct CrossEntropyNode : Node {
    Saved<T> logits;
    Storage targets_storage;
    const Id* targets;
    Storage log_sum_exp;

    void backward() {
        using C = ComputeOf<T>;
        if (!logits.slot) return;
        Kernel<CrossEntropy, Device>::backward(
            logits.view, targets, static_cast<const C*>(log_sum_exp.data()),
            *static_cast<const C*>(output.storage.data()), contribute<C, Device>(*logits.slot));
    }
};

/// Logits given as hidden states and head. Kept for the gradient: both, and each position's log sum exp.
template <class Device, class T, class Id>
struct LogitsCrossEntropyNode : Node {
    Saved<T> hidden, head;
    Storage targets_storage;
    const Id* targets;
    Storage log_sum_exp;

    void backward() {
        using C = ComputeOf<T>;
        DistinctContributions<C, Device, 2> contributions;
        const Contribution<C> to_hidden = contributions.to(hidden.slot),
                              to_head = contributions.to(head.slot);
        Kernel<CrossEntropy, Device>::backward(
            hidden.view, head.view, targets, static_cast<const C*>(log_sum_exp.data()),
            *static_cast<const C*>(output.storage.data()), to_hidden, to_head);
        contributions.finish();
    }
};

}  // namespace detail

/// The mean cross-entropy of `targets` [...] under `logits` [..., vocabulary]: a tensor of `Shape<>`. Throws
/// ShapeError where run-time extents differ, Error where a target is not below the vocabulary's size.
/// `targets` must outlive the backward pass.
template <Argument A, TokenTensor Targets>
    requires(cross_entropy_fits(ShapeOfArgument<A>::codes, Targets::shape_type::codes))
auto cross_entropy(A&& argument, const Targets& targets) {
    const auto logits = contiguous(evaluate(std::forward<A>(argument)));
    using X = std::remove_const_t<decltype(logits)>;
    using T = typename X::value_type;
    using D = typename X::device_type;
    using C = ComputeOf<T>;
    if (!cross_entropy_fits(logits.extents(), targets.extents()))
        throw_mismatch<mismatch::cross_entropy_targets_differ>(logits.extents(), targets.extents());
    auto loss = Tensor<C, Shape<>, D>::uninitialized();
    Storage log_sum_exp(Memory<D>::allocate(static_cast<std::size_t>(targets.size()) * sizeof(C)));
    Kernel<CrossEntropy, D>::forward(logits.view(), targets.data(), static_cast<C*>(log_sum_exp.data()),
                                     loss.data());
    if constexpr (X::is_tracked)
        return track<detail::CrossEntropyNode<D, T, typename Targets::value_type>>(
            loss, save(logits), targets.storage(), targets.data(), log_sum_exp);
    else
        return loss;
}
template <Argument A, TokenTensor Targets>
    requires(!cross_entropy_fits(ShapeOfArgument<A>::codes, Targets::shape_type::codes))
mismatch::cross_entropy_targets_differ < ShapeOfArgument<A>,
typename Targets::shape_type > cross_entropy(A&&, const Targets&);
template <class A, TokenTensor Targets>
    requires NamedExpression<A> NamedExpressionError<CrossEntropy, A> cross_entropy(A&&, const Targets&);

/// The same for lazy logits, which are computed in chunks of the vocabulary and never stored whole.
template <class H, class W, TokenTensor Targets>
    requires(cross_entropy_fits(Logits<H, W>::shape_type::codes, Targets::shape_type::codes))
auto cross_entropy(const Logits<H, W>& logits, const Targets& targets) {
    using T = typename H::value_type;
    using D = typename H::device_type;
    using C = ComputeOf<T>;
    if (!cross_entropy_fits(logits.extents(), targets.extents()))
        throw_mismatch<mismatch::cross_entropy_targets_differ>(logits.extents(), targets.extents());
    auto loss = Tensor<C, Shape<>, D>::uninitialized();
    Storage log_sum_exp(Memory<D>::allocate(static_cast<std::size_t>(targets.size()) * sizeof(C)));
    Kernel<CrossEntropy, D>::forward(logits.hidden.view(), logits.head.view(), targets.data(),
                                     static_cast<C*>(log_sum_exp.data()), loss.data());
    if constexpr (any_tracked<H, W>)
        return track<detail::LogitsCrossEntropyNode<D, T, typename Targets::value_type>>(
            loss, save(logits.hidden), save(logits.head), targets.storage(), targets.data(), log_sum_exp);
    else
        return loss;
}
template <class H, class W, TokenTensor Targets>
    requires(!cross_entropy_fits(Logits<H, W>::shape_type::codes, Targets::shape_type::codes))
mismatch::cross_entropy_targets_differ < typename Logits<H, W>::shape_type,
typename Targets::shape_type > cross_entropy(const Logits<H, W>&, const Targets&);

}  // namespace tenon
