#pragma once

#include <limits>
#include <string>

#include <tenon/core/error.hpp>
#include <tenon/expression/expression.hpp>

/// Arithmetic and functions of tensors, element by element, broadcasting. All are lazy: they are evaluated
/// together, in one pass, when assigned to a tensor or passed to an operation.
namespace tenon {

template <class A, class B>
    requires(detail::ExpressionOperands<A, B>&& detail::broadcasts<A, B>)
auto operator+(A&& a, B&& b) { return apply<functor::Add>(std::forward<A>(a), std::forward<B>(b)); }
template <class A, class B>
    requires(detail::ExpressionOperands<A, B> && !detail::broadcasts<A, B>)
mismatch::extents_do_not_broadcast<functor::Add, detail::ShapeOfOperand<A>, detail::ShapeOfOperand<B>>
operator+(A&&, B&&);

template <class A, class B>
    requires(detail::ExpressionOperands<A, B>&& detail::broadcasts<A, B>)
auto operator-(A&& a, B&& b) { return apply<functor::Subtract>(std::forward<A>(a), std::forward<B>(b)); }
template <class A, class B>
    requires(detail::ExpressionOperands<A, B> && !detail::broadcasts<A, B>)
mismatch::extents_do_not_broadcast<functor::Subtract, detail::ShapeOfOperand<A>, detail::ShapeOfOperand<B>>
operator-(A&&, B&&);

template <class A, class B>
    requires(detail::ExpressionOperands<A, B>&& detail::broadcasts<A, B>)
auto operator*(A&& a, B&& b) { return apply<functor::Multiply>(std::forward<A>(a), std::forward<B>(b)); }
template <class A, class B>
    requires(detail::ExpressionOperands<A, B> && !detail::broadcasts<A, B>)
mismatch::extents_do_not_broadcast<functor::Multiply, detail::ShapeOfOperand<A>, detail::ShapeOfOperand<B>>
operator*(A&&, B&&);

template <class A, class B>
    requires(detail::ExpressionOperands<A, B>&& detail::broadcasts<A, B>)
auto operator/(A&& a, B&& b) { return apply<functor::Divide>(std::forward<A>(a), std::forward<B>(b)); }
template <class A, class B>
    requires(detail::ExpressionOperands<A, B> && !detail::broadcasts<A, B>)
mismatch::extents_do_not_broadcast<functor::Divide, detail::ShapeOfOperand<A>, detail::ShapeOfOperand<B>>
operator/(A&&, B&&);

/// The greater of a and b; see `functor::Maximum` for its gradient where they are equal.
template <class A, class B>
    requires(detail::ExpressionOperands<A, B>&& detail::broadcasts<A, B>)
auto max(A&& a, B&& b) { return apply<functor::Maximum>(std::forward<A>(a), std::forward<B>(b)); }
template <class A, class B>
    requires(detail::ExpressionOperands<A, B> && !detail::broadcasts<A, B>)
mismatch::extents_do_not_broadcast<functor::Maximum, detail::ShapeOfOperand<A>, detail::ShapeOfOperand<B>>
max(A&&, B&&);

/// The lesser of a and b.
template <class A, class B>
    requires(detail::ExpressionOperands<A, B>&& detail::broadcasts<A, B>)
auto min(A&& a, B&& b) { return apply<functor::Minimum>(std::forward<A>(a), std::forward<B>(b)); }
template <class A, class B>
    requires(detail::ExpressionOperands<A, B> && !detail::broadcasts<A, B>)
mismatch::extents_do_not_broadcast<functor::Minimum, detail::ShapeOfOperand<A>, detail::ShapeOfOperand<B>>
min(A&&, B&&);

template <detail::ExpressionOperand X>
auto operator-(X&& x) {
    return apply<functor::Negate>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto exp(X&& x) {
    return apply<functor::Exponential>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto log(X&& x) {
    return apply<functor::Logarithm>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto sqrt(X&& x) {
    return apply<functor::SquareRoot>(std::forward<X>(x));
}
/// 1 / sqrt(x).
template <detail::ExpressionOperand X>
auto rsqrt(X&& x) {
    return apply<functor::ReciprocalSquareRoot>(std::forward<X>(x));
}
/// 1 / x.
template <detail::ExpressionOperand X>
auto reciprocal(X&& x) {
    return apply<functor::Reciprocal>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto square(X&& x) {
    return apply<functor::Square>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto abs(X&& x) {
    return apply<functor::Absolute>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto tanh(X&& x) {
    return apply<functor::HyperbolicTangent>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto sin(X&& x) {
    return apply<functor::Sine>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto cos(X&& x) {
    return apply<functor::Cosine>(std::forward<X>(x));
}
/// 1 / (1 + exp(-x)).
template <detail::ExpressionOperand X>
auto sigmoid(X&& x) {
    return apply<functor::Sigmoid>(std::forward<X>(x));
}
/// x sigmoid(x) (Elfwing et al. 2017).
template <detail::ExpressionOperand X>
auto silu(X&& x) {
    return apply<functor::Silu>(std::forward<X>(x));
}
/// max(x, 0).
template <detail::ExpressionOperand X>
auto relu(X&& x) {
    return apply<functor::Relu>(std::forward<X>(x));
}
/// max(x, 0)² (So et al. 2021, "Primer").
template <detail::ExpressionOperand X>
auto squared_relu(X&& x) {
    return apply<functor::SquaredRelu>(std::forward<X>(x));
}
/// log(1 + exp(x)).
template <detail::ExpressionOperand X>
auto softplus(X&& x) {
    return apply<functor::Softplus>(std::forward<X>(x));
}
/// x Φ(x), Φ the distribution function of the standard normal (Hendrycks, Gimpel 2016): exact, also where Φ
/// is small.
template <detail::ExpressionOperand X>
auto gelu(X&& x) {
    return apply<functor::Gelu>(std::forward<X>(x));
}
/// x (1 + tanh(sqrt(2 / π) (x + 0.044715 x³))) / 2, which is close to `gelu` and what GPT-2 was trained with.
template <detail::ExpressionOperand X>
auto gelu_tanh(X&& x) {
    return apply<functor::GeluTanh>(std::forward<X>(x));
}
/// cap tanh(x / cap): almost x where x is small, and never beyond ±cap (Gemma Team 2024, "Gemma 2"). Throws
/// Error unless the cap is positive and finite.
template <detail::ExpressionOperand X>
auto soft_cap(X&& x, double cap) {
    if (!(cap > 0 && cap <= std::numeric_limits<double>::max()))
        throw Error("soft_cap: expected a positive, finite cap, got " + std::to_string(cap));
    return cap * tanh(std::forward<X>(x) * (1 / cap));
}

}  // namespace tenon
