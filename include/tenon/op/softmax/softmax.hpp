#pragma once

#include <utility>

#include <tenon/expression/reduction.hpp>
#include <tenon/op/operation.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// Softmax: exp(x - max x) / sum of exp(x - max x). Over the last axis one pass each way, rows in cache. Kept
/// for the gradient: the result.
struct Softmax {};

namespace detail {

/// An operation O on rows that computes its gradient from its result alone.
template <class O, class Device, class T>
struct RowsNode : Node {
    SlotReference slot;
    Storage result;
    Extents extents;

    void backward() {
        if (!slot) return;
        const ArrayView<T> y{static_cast<T*>(result.data()), extents, row_major_strides(extents)};
        Kernel<O, Device>::backward(y, upstream_of<T, Device>(*this), contribute<T, Device>(*slot));
    }
};

/// The operation O on the rows along the last axis.
template <class O, TensorLike X>
auto apply_to_rows(const X& x) {
    using T = typename X::value_type;
    using D = typename X::device_type;
    auto y = Tensor<T, typename X::shape_type, D>::with_extents(x.extents());
    Kernel<O, D>::forward(x.view(), y.data());
    if constexpr (X::is_tracked)
        return track<RowsNode<O, D, T>>(y, gradient_slot(x), y.storage(), x.extents());
    else
        return y;
}

/// The number of the one axis that Axes names; -1 where it names none of so many, or several.
template <class Axes, int rank>
inline constexpr int one_axis = -1;
template <int Axis, int rank>
    requires(has_axis(Axis, rank))
inline constexpr int one_axis<axis<Axis>, rank> = axis_number(Axis, rank);

/// The operation O on the rows along the axis that Axes names; over another than the last the result is a
/// transposed view.
template <class O, class Axes, TensorLike X>
auto apply_along(const X& x) {
    constexpr int number = one_axis<Axes, X::rank>;
    if constexpr (number == X::rank - 1)
        return apply_to_rows<O>(x);
    else
        return transpose<number, -1>(apply_to_rows<O>(transpose<number, -1>(x)));
}

template <class Axes, class A>
concept NamesOneAxis = one_axis<Axes, ShapeOfArgument<A>::rank>
>= 0;

}  // namespace detail

/// Softmax over the last axis.
template <Argument A>
    requires(ShapeOfArgument<A>::rank >= 1)
auto softmax(A&& x) { return detail::apply_to_rows<Softmax>(evaluate(std::forward<A>(x))); }
template <class A>
    requires NamedExpression<A> NamedExpressionError<Softmax, A> softmax(A&&);

/// Softmax over any one axis: `softmax<axis<1>>(x)`. Over another than the last the result is a view.
template <class Axes, Argument A>
    requires(detail::NamesOneAxis<Axes, A>)
auto softmax(A&& x) { return detail::apply_along<Softmax, Axes>(evaluate(std::forward<A>(x))); }
template <class Axes, Argument A>
    requires(!detail::NamesOneAxis<Axes, A>)
mismatch::no_such_axis<Softmax, ShapeOfArgument<A>, Axes> softmax(A&&);
template <class Axes, class A>
    requires NamedExpression<A> NamedExpressionError<Softmax, A> softmax(A&&);

}  // namespace tenon
