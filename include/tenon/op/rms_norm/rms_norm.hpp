#pragma once

#include <tenon/expression/reduction.hpp>
#include <tenon/op/norm/norm.hpp>
#include <tenon/op/operation.hpp>

namespace tenon {

/// Root mean square normalization over the last axis: x / sqrt(mean x² + epsilon) · gain (Zhang, Sennrich
/// 2019). One fused pass each way, rows in cache or registers; an expression for the gain is part of it, and
/// so is not rounded by itself. The result is of x's element type, also where the gain is of a wider one.
struct RmsNorm {};

namespace mismatch {
/// rms_norm(x, gain): the gain is no vector as long as x's last axis.
template <class X, class Gain>
struct rms_norm_gain_differs;
}  // namespace mismatch

constexpr bool rms_norm_fits(const Extents& x, const Extents& gain) {
    return x.rank >= 1 && gain.rank == 1 && !extents_conflict(x[x.rank - 1], gain[0]);
}

template <Argument A, Argument G>
    requires(rms_norm_fits(ShapeOfArgument<A>::codes, ShapeOfArgument<G>::codes))
auto rms_norm(A&& argument, G&& gain_argument, double epsilon = 1e-5) {
    const auto x = evaluate(std::forward<A>(argument));
    const auto gain = detail::operand(std::forward<G>(gain_argument));
    if (!rms_norm_fits(x.extents(), gain.extents()))
        throw_mismatch<mismatch::rms_norm_gain_differs>(x.extents(), gain.extents());
    using X = std::remove_const_t<decltype(x)>;
    if constexpr (detail::has_norm_kernel_for<X, std::remove_const_t<decltype(gain)>>)
        return detail::normalize_rows<false>(x, gain, detail::NoBias(), epsilon);
    else
        return materialize_as<typename X::value_type>(x * rsqrt(mean<keep_axis<-1>>(square(x)) + epsilon) *
                                                      gain);
}
template <Argument A, Argument G>
    requires(!rms_norm_fits(ShapeOfArgument<A>::codes, ShapeOfArgument<G>::codes))
mismatch::rms_norm_gain_differs<ShapeOfArgument<A>, ShapeOfArgument<G>> rms_norm(A&&, G&&, double = 1e-5);
template <class A, class G>
    requires NamedExpression<A> NamedExpressionError<RmsNorm, A> rms_norm(A&&, G&&, double = 1e-5);
template <class A, class G>
    requires(!NamedExpression<A> && NamedExpression<G>)
NamedExpressionError<RmsNorm, G> rms_norm(A&&, G&&, double = 1e-5);

}  // namespace tenon
