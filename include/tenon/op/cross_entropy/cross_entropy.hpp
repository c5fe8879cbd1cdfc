#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include <tenon/op/cross_entropy/logits.hpp>
#include <tenon/op/cross_entropy/prepared_gradient.hpp>
#include <tenon/op/cross_entropy/targets.hpp>
#include <tenon/op/operation.hpp>

namespace tenon {
namespace detail {

/// The shape type of logits: lazy ones, or an operation's argument.
template <class X>
struct ShapeOfLogits;
template <class X>
    requires is_logits<std::remove_cvref_t<X>>
struct ShapeOfLogits<X> : std::type_identity<typename std::remove_cvref_t<X>::shape_type> {
};
template <Argument X>
struct ShapeOfLogits<X> : std::type_identity<ShapeOfArgument<X>> {};

template <class X, class Targets>
concept LogitsOf = TokenTensor<Targets> &&
    cross_entropy_fits(ShapeOfLogits<X>::type::codes, Targets::shape_type::codes);
template <class X, class Targets>
concept LogitsOfOthers =
    TokenTensor<Targets> && !cross_entropy_fits(ShapeOfLogits<X>::type::codes, Targets::shape_type::codes);

/// Logits given as a tensor. Kept for the gradient: the logits and, for each position, their log sum exp.
template <class Device, class T>
struct CrossEntropyNode : Node {
    Saved<T> logits;
    CheckedTargets targets;
    CrossEntropyOptions options;
    Storage log_sum_exp;

    void backward() {
        using C = ComputeOf<T>;
        if (!logits.slot) return;
        Kernel<CrossEntropy, Device>::backward(
            logits.view, targets, options, static_cast<const C*>(log_sum_exp.data()),
            upstream_of<C, Device>(*this), contribute<T, Device>(*logits.slot));
    }
};

/// The gradients of hidden states and a head.
template <class Device, class T>
struct PreparedFactors {
    PreparedGradient<T, Device> hidden, head;

    template <class H, class W>
    static PreparedFactors of(const H& hidden, const W& head) {
        const auto prepared = [](const SlotReference& slot) {
            return PreparedGradient<T, Device>(Tape::current().is_recording() ? slot : SlotReference());
        };
        return {prepared(gradient_slot(hidden)), prepared(gradient_slot(head))};
    }

    void hand_over(const ComputeOf<T>* upstream) {
        constexpr auto add_scaled = Kernel<CrossEntropy, Device>::template add_scaled<GradientOf<T, Device>>;
        hidden.hand_over(upstream, add_scaled);
        head.hand_over(upstream, add_scaled);
    }
};

/// Logits given as hidden states and head. Their product is made once: all gradients come with the loss.
template <class Device, class T>
struct LogitsCrossEntropyNode : Node {
    PreparedFactors<Device, T> product;
    std::optional<PreparedFactors<Device, T>> addend;

    void backward() {
        const auto* upstream = upstream_of<ComputeOf<T>, Device>(*this);
        product.hand_over(upstream);
        if (addend) addend->hand_over(upstream);
    }
};

/// The factors of a product as a kernel takes them.
template <class H, class W, class Prepared>
auto factors_of(const H& hidden, const W& head, const Prepared* gradients) {
    using T = typename H::value_type;
    using G = GradientOf<T, typename H::device_type>;
    LogitsFactors<T, typename W::value_type, G> factors{hidden.view(), head.view(), {}, {}};
    if constexpr (!std::same_as<Prepared, void>) {
        factors.to_hidden = gradients->hidden.target();
        factors.to_head = gradients->head.target();
    }
    return factors;
}

/// The loss at each position, and the gradients of their mean where there are places for them.
template <class H, class W, class Options, class Addend, class Targets, class Prepared = void>
auto losses_of_positions(const Logits<H, W, Options, Addend>& logits, const Targets& targets,
                         const CheckedTargets& checked, const CrossEntropyOptions& options,
                         const Prepared* product = nullptr, const Prepared* addend = nullptr) {
    using T = typename H::value_type;
    using D = typename H::device_type;
    auto losses = Tensor<ComputeOf<T>, typename Targets::shape_type, D>::with_extents(targets.extents());
    const auto factors = factors_of(logits.hidden, logits.head, product);
    const auto run = [&](const LogitsFactors<T, T, GradientOf<T, D>>* added) {
        Kernel<CrossEntropy, D>::forward(factors, added, logits.options, checked, options, losses.data());
    };
    if constexpr (!std::same_as<Addend, NoAddend>) {
        if (logits.addend) {
            const auto added = factors_of(logits.addend->hidden, logits.addend->head, addend);
            run(&added);
            return losses;
        }
    }
    run(nullptr);
    return losses;
}

/// The loss at each position and, unless null, the log sum exp of its logits.
template <TensorLike X, class Targets>
auto losses_of_positions(const X& logits, const Targets& targets, const CheckedTargets& checked,
                         const CrossEntropyOptions& options,
                         ComputeOf<typename X::value_type>* log_sum_exp = nullptr) {
    using D = typename X::device_type;
    using Losses = Tensor<ComputeOf<typename X::value_type>, typename Targets::shape_type, D>;
    auto losses = Losses::with_extents(targets.extents());
    Kernel<CrossEntropy, D>::forward(logits.view(), checked, options, losses.data(), log_sum_exp);
    return losses;
}

/// The mean over the positions that count.
template <class C, class S, class D>
Tensor<C, Shape<>, D> mean_loss(const Tensor<C, S, D>& losses, const CheckedTargets& checked) {
    auto loss = Tensor<C, Shape<>, D>::uninitialized();
    Kernel<CrossEntropy, D>::mean(losses.data(), checked, loss.data());
    return loss;
}

}  // namespace detail

/// The mean cross-entropy of `targets` [...] under `logits` [..., vocabulary]: a tensor of `Shape<>`, 0 where
/// no position counts. Throws ShapeError where run-time extents differ, Error where a target that counts is
/// not below the vocabulary's size and for an option out of range.
template <class X, class Targets>
    requires(detail::LogitsOf<X, Targets> && !detail::is_logits<std::remove_cvref_t<X>>)
auto cross_entropy(X&& argument, const Targets& targets, const CrossEntropyOptions& options = {}) {
    const auto logits = contiguous(evaluate(std::forward<X>(argument)));
    using T = typename decltype(logits)::value_type;
    using D = typename decltype(logits)::device_type;
    const detail::CheckedTargets checked = detail::check_targets(logits.extents(), targets, options);
    if constexpr (decltype(logits)::is_tracked) {
        using C = ComputeOf<T>;
        const Storage log_sum_exp(Memory<D>::allocate(static_cast<std::size_t>(checked.size) * sizeof(C)));
        const auto losses = detail::losses_of_positions(logits, targets, checked, options,
                                                        static_cast<C*>(log_sum_exp.data()));
        return track<detail::CrossEntropyNode<D, T>>(detail::mean_loss(losses, checked), save(logits),
                                                     checked, options, log_sum_exp);
    } else {
        return detail::mean_loss(detail::losses_of_positions(logits, targets, checked, options), checked);
    }
}

/// The same for lazy logits, which are computed in blocks of positions and never stored whole. Where they are
/// tracked their gradients are made with them: to evaluate alone, let `Tape::Pause` save two thirds of the
/// time.
template <class H, class W, class Options, class Addend, class Targets>
    requires detail::LogitsOf<Logits<H, W, Options, Addend>, Targets>
auto cross_entropy(const Logits<H, W, Options, Addend>& logits, const Targets& targets,
                   const CrossEntropyOptions& options = {}) {
    const detail::CheckedTargets checked = detail::check_targets(logits.extents(), targets, options);
    if constexpr (any_tracked<H, W>) {
        using T = typename H::value_type;
        using D = typename H::device_type;
        using Prepared = detail::PreparedFactors<D, T>;
        auto product = Prepared::of(logits.hidden, logits.head);
        std::optional<Prepared> addend;
        if constexpr (!std::same_as<Addend, NoAddend>)
            if (logits.addend) addend = Prepared::of(logits.addend->hidden, logits.addend->head);
        const auto losses = detail::losses_of_positions(logits, targets, checked, options, &product,
                                                        addend ? &*addend : nullptr);
        return track<detail::LogitsCrossEntropyNode<D, T>>(detail::mean_loss(losses, checked),
                                                           std::move(product), std::move(addend));
    } else {
        return detail::mean_loss(detail::losses_of_positions(logits, targets, checked, options), checked);
    }
}

template <class X, class Targets>
    requires detail::LogitsOfOthers<X, Targets>
auto cross_entropy(X&&, const Targets&, const CrossEntropyOptions& = {})
    -> mismatch::cross_entropy_targets_differ<typename detail::ShapeOfLogits<X>::type,
                                              typename Targets::shape_type>;
template <class X, TokenTensor Targets>
    requires NamedExpression<X>
auto cross_entropy(X&&, const Targets&, const CrossEntropyOptions& = {})
    -> NamedExpressionError<CrossEntropy, X>;

/// The loss at each position, in the shape of the targets, 0 where one does not count: what `cross_entropy`
/// is the mean of. Without a gradient, for evaluation: perplexity, bits per byte, scores of answers. Throws
/// like `cross_entropy`.
template <class X, class Targets>
    requires detail::LogitsOf<X, Targets>
auto token_losses(X&& argument, const Targets& targets, const CrossEntropyOptions& options = {}) {
    if constexpr (detail::is_logits<std::remove_cvref_t<X>>) {
        return detail::losses_of_positions(
            argument, targets, detail::check_targets(argument.extents(), targets, options), options);
    } else {
        const Tape::Pause pause(Tape::current());
        const auto logits = contiguous(evaluate(std::forward<X>(argument)));
        return detail::losses_of_positions(
            logits, targets, detail::check_targets(logits.extents(), targets, options), options);
    }
}
template <class X, class Targets>
    requires detail::LogitsOfOthers<X, Targets>
auto token_losses(X&&, const Targets&, const CrossEntropyOptions& = {})
    -> mismatch::cross_entropy_targets_differ<typename detail::ShapeOfLogits<X>::type,
                                              typename Targets::shape_type>;
template <class X, TokenTensor Targets>
    requires NamedExpression<X>
auto token_losses(X&&, const Targets&, const CrossEntropyOptions& = {})
    -> NamedExpressionError<CrossEntropy, X>;

/// log p(target) at each position, in the shape of the targets: the negative of `token_losses`.
template <class X, class Targets>
    requires detail::LogitsOf<X, Targets>
auto log_probabilities(X&& argument, const Targets& targets) {
    return evaluate(-token_losses(std::forward<X>(argument), targets));
}
template <class X, class Targets>
    requires detail::LogitsOfOthers<X, Targets>
auto log_probabilities(X&&, const Targets&)
    -> mismatch::cross_entropy_targets_differ<typename detail::ShapeOfLogits<X>::type,
                                              typename Targets::shape_type>;
template <class X, TokenTensor Targets>
    requires NamedExpression<X>
auto log_probabilities(X&&, const Targets&) -> NamedExpressionError<CrossEntropy, X>;

}  // namespace tenon
