#pragma once

#include <type_traits>
#include <utility>

#include <tenon/expression/reduction.hpp>
#include <tenon/op/norm/norm.hpp>
#include <tenon/op/operation.hpp>

namespace tenon {

/// Layer normalization over the last axis: (x - mean x) / sqrt(var x + epsilon) · gain + bias, the variance
/// being the mean of (x - mean x)² (Ba, Kiros, Hinton 2016). One fused pass each way, rows in cache;
/// expressions for gain and bias are part of it, and so are not rounded by themselves. The result is of x's
/// element type, also where they are of a wider one.
struct LayerNorm {};

namespace mismatch {
/// layer_norm(x, gain): the gain is no vector as long as x's last axis.
template <class X, class Gain>
struct layer_norm_gain_differs;
/// layer_norm(x, gain, bias): the bias is no vector as long as x's last axis, or as the gain.
template <class X, class Bias>
struct layer_norm_bias_differs;
}  // namespace mismatch

constexpr bool layer_norm_fits(const Extents& x, const Extents& weight) {
    return x.rank >= 1 && weight.rank == 1 && !extents_conflict(x[x.rank - 1], weight[0]);
}

namespace detail {

inline void require_layer_norm(const Extents& x, const Extents& gain) {
    if (!layer_norm_fits(x, gain)) throw_mismatch<mismatch::layer_norm_gain_differs>(x, gain);
}

template <class X, class G>
auto normalized(const X& x, const G& gain, double epsilon) {
    require_layer_norm(x.extents(), gain.extents());
    // A variance does not change with the mean that it is taken about, to first order: no gradient goes
    // through that mean.
    const auto variance = mean<keep_axis<-1>>(square(x - mean<keep_axis<-1>>(detach(x))));
    return (x - mean<keep_axis<-1>>(x)) * rsqrt(variance + epsilon) * gain;
}

template <class A, class W>
concept LayerNormFits = layer_norm_fits(ShapeOfArgument<A>::codes, ShapeOfArgument<W>::codes);
template <class A, class G, class B>
concept LayerNormBiasFits = LayerNormFits<A, B> && LayerNormFits<G, B>;

}  // namespace detail

/// Without a bias. Throws ShapeError where run-time extents differ.
template <Argument A, Argument G>
    requires(detail::LayerNormFits<A, G>)
auto layer_norm(A&& argument, G&& gain_argument, double epsilon = 1e-5) {
    const auto x = evaluate(std::forward<A>(argument));
    const auto gain = detail::operand(std::forward<G>(gain_argument));
    using X = std::remove_const_t<decltype(x)>;
    if constexpr (detail::has_norm_kernel_for<X, std::remove_const_t<decltype(gain)>>) {
        detail::require_layer_norm(x.extents(), gain.extents());
        return detail::normalize_rows<true>(x, gain, detail::NoBias(), epsilon);
    } else {
        return materialize_as<typename X::value_type>(detail::normalized(x, gain, epsilon));
    }
}
template <Argument A, Argument G>
    requires(!detail::LayerNormFits<A, G>)
mismatch::layer_norm_gain_differs<ShapeOfArgument<A>, ShapeOfArgument<G>> layer_norm(A&&, G&&, double = 1e-5);
template <class A, class G>
    requires NamedExpression<A> NamedExpressionError<LayerNorm, A> layer_norm(A&&, G&&, double = 1e-5);
template <class A, class G>
    requires(!NamedExpression<A> && NamedExpression<G>)
NamedExpressionError<LayerNorm, G> layer_norm(A&&, G&&, double = 1e-5);

/// With a bias.
template <Argument A, Argument G, Argument B>
    requires(detail::LayerNormFits<A, G>&& detail::LayerNormBiasFits<A, G, B>)
auto layer_norm(A&& argument, G&& gain_argument, B&& bias_argument, double epsilon = 1e-5) {
    const auto x = evaluate(std::forward<A>(argument));
    const auto gain = detail::operand(std::forward<G>(gain_argument));
    const auto bias = detail::operand(std::forward<B>(bias_argument));
    if (!layer_norm_fits(x.extents(), bias.extents()))
        throw_mismatch<mismatch::layer_norm_bias_differs>(x.extents(), bias.extents());
    using X = std::remove_const_t<decltype(x)>;
    if constexpr (detail::has_norm_kernel_for<X, std::remove_const_t<decltype(gain)>,
                                              std::remove_const_t<decltype(bias)>>) {
        detail::require_layer_norm(x.extents(), gain.extents());
        return detail::normalize_rows<true>(x, gain, bias, epsilon);
    } else {
        return materialize_as<typename X::value_type>(detail::normalized(x, gain, epsilon) + bias);
    }
}
template <Argument A, Argument G, Argument B>
    requires(!detail::LayerNormFits<A, G>)
mismatch::layer_norm_gain_differs<ShapeOfArgument<A>, ShapeOfArgument<G>> layer_norm(A&&, G&&, B&&,
                                                                                     double = 1e-5);
template <Argument A, Argument G, Argument B>
    requires(detail::LayerNormFits<A, G> && !detail::LayerNormBiasFits<A, G, B>)
mismatch::layer_norm_bias_differs<ShapeOfArgument<std::conditional_t<detail::LayerNormFits<A, B>, G, A>>,
                                  ShapeOfArgument<B>>
layer_norm(A&&, G&&, B&&, double = 1e-5);
template <class A, class G, class B>
    requires(NamedExpression<A> && (Argument<B> || NamedExpression<B>))
NamedExpressionError<LayerNorm, A> layer_norm(A&&, G&&, B&&, double = 1e-5);
template <class A, class G, class B>
    requires(!NamedExpression<A> && NamedExpression<G> && (Argument<B> || NamedExpression<B>))
NamedExpressionError<LayerNorm, G> layer_norm(A&&, G&&, B&&, double = 1e-5);
template <class A, class G, class B>
    requires(!NamedExpression<A> && !NamedExpression<G> && NamedExpression<B>)
NamedExpressionError<LayerNorm, B> layer_norm(A&&, G&&, B&&, double = 1e-5);

}  // namespace tenon
