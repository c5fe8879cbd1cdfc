#pragma once

#include <tenon/expression/functions.hpp>
#include <tenon/nn/linear.hpp>
#include <tenon/op/matmul/gelu_feed_forward.hpp>

namespace tenon {
namespace detail {

template <FeedForwardKind Kind, class X>
auto activation(X&& x) {
    if constexpr (Kind == FeedForwardKind::swiglu || Kind == FeedForwardKind::silu)
        return silu(std::forward<X>(x));
    else if constexpr (Kind == FeedForwardKind::geglu || Kind == FeedForwardKind::gelu)
        return gelu(std::forward<X>(x));
    else if constexpr (Kind == FeedForwardKind::geglu_tanh || Kind == FeedForwardKind::gelu_tanh)
        return gelu_tanh(std::forward<X>(x));
    else if constexpr (Kind == FeedForwardKind::relu)
        return relu(std::forward<X>(x));
    else
        return squared_relu(std::forward<X>(x));
}

}  // namespace detail

/// What follows attention in a block: down(f(gate x) · up x), or without a gate down(f(up x)).
template <class Setting, auto Width, auto Hidden, FeedForwardKind Kind = FeedForwardKind::swiglu,
          bool HasBias = false>
class FeedForward {
    using Up = Linear<Setting, Hidden, Width, HasBias>;

public:
    explicit FeedForward(int width = bound_of(extent_code(Width)), int hidden = bound_of(extent_code(Hidden)))
        : gate(hidden, width), up(hidden, width), down(width, hidden) {}

    template <TensorLike X>
    auto operator()(const X& x) const {
        if constexpr (is_fused)
            return gelu_feed_forward(x, up.weight, up.bias_or_nothing(), down.weight, down.bias_or_nothing());
        else
            return down(activated(x));
    }

    /// The result plus an addend, on a device whose products add.
    template <TensorLike X, TensorLike Addend>
    auto added(const X& x, const Addend& addend) const {
        if constexpr (is_fused)
            return gelu_feed_forward(x, up.weight, up.bias_or_nothing(), down.weight, down.bias_or_nothing(),
                                     addend);
        else
            return down.added(activated(x), addend);
    }

    void visit_parameters(ParameterVisitor& visit) {
        if constexpr (is_gated(Kind)) visit.part("gate", gate);
        visit.part("up", up);
        visit.part("down", down);
    }

    [[no_unique_address]] std::conditional_t<is_gated(Kind), Up, Absent> gate;
    Up up;
    Linear<Setting, Width, Hidden, HasBias> down;

private:
    static constexpr bool is_fused =
        Kind == FeedForwardKind::gelu_tanh && Up::adds && !linear_in_float8<typename Setting::Precision>;

    template <class X>
    auto activated(const X& x) const {
        if constexpr (is_gated(Kind))
            return detail::activation<Kind>(gate(x)) * up(x);
        else
            return detail::activation<Kind>(up(x));
    }
};

}  // namespace tenon
