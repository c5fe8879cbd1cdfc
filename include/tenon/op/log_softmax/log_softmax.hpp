#pragma once

#include <limits>
#include <utility>

#include <tenon/op/softmax/softmax.hpp>

namespace tenon {

/// Logarithm of softmax: x - max x - log sum exp(x - max x), finite where softmax itself would be zero. Over
/// the last axis one pass each way, rows in cache. Kept for the gradient: the result.
struct LogSoftmax {};

/// Names log_sum_exp in messages.
struct LogSumExp {};

/// Log-softmax over the last axis.
template <Argument A>
    requires(ShapeOfArgument<A>::rank >= 1)
auto log_softmax(A&& x) { return detail::apply_to_rows<LogSoftmax>(evaluate(std::forward<A>(x))); }
template <class A>
    requires NamedExpression<A> NamedExpressionError<LogSoftmax, A> log_softmax(A&&);

/// Log-softmax over any one axis: `log_softmax<axis<1>>(x)`. Over another than the last the result is a view.
template <class Axes, Argument A>
    requires(detail::NamesOneAxis<Axes, A>)
auto log_softmax(A&& x) { return detail::apply_along<LogSoftmax, Axes>(evaluate(std::forward<A>(x))); }
template <class Axes, Argument A>
    requires(!detail::NamesOneAxis<Axes, A>)
mismatch::no_such_axis<LogSoftmax, ShapeOfArgument<A>, Axes> log_softmax(A&&);
template <class Axes, class A>
    requires NamedExpression<A> NamedExpressionError<LogSoftmax, A> log_softmax(A&&);

namespace detail {
template <class Axes>
struct KeepAxes;
template <int... Axis>
struct KeepAxes<axis<Axis...>> {
    using type = keep_axis<Axis...>;
};
template <int... Axis>
struct KeepAxes<keep_axis<Axis...>> {
    using type = keep_axis<Axis...>;
};
}  // namespace detail

/// log sum exp(x) over the named axes, at no risk of overflow: `log_sum_exp<axis<-1>>(x)`. -infinity of
/// nothing but -infinities, and NaN for the gradient there.
template <class Axes, Argument A>
    requires(detail::AxisList<Axes>::valid)
auto log_sum_exp(A&& argument) {
    const auto x = evaluate(std::forward<A>(argument));
    // The greatest element only guards against overflow, and no gradient goes through it. Infinity, taken
    // from infinity, would be NaN.
    constexpr double finite =
        std::numeric_limits<ComputeOf<typename std::remove_const_t<decltype(x)>::value_type>>::max();
    const auto greatest = [&]<class Named>(Named) {
        return min(max(max<Named>(detach(x)), -finite), finite);
    };
    const auto powers = exp(x - greatest(typename detail::KeepAxes<Axes>::type{}));
    return evaluate(log(sum<Axes>(powers)) + greatest(Axes{}));
}
template <class Axes, class A>
    requires NamedExpression<A> NamedExpressionError<LogSumExp, A> log_sum_exp(A&&);

}  // namespace tenon
