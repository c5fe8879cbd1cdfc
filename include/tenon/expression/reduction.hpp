#pragma once

#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>

namespace tenon {

/// Names axes, to be reduced away: `sum<axis<1>>(x)`. Negative numbers count from the end.
template <int... Axes>
struct axis {};

/// Names axes that stay with length 1 when they are reduced: `x / sum<keep_axis<-1>>(x)`.
template <int... Axes>
struct keep_axis {};

/// Names the reduction over an axis that is not the last where kernels are declared.
struct ReduceAxis {};

namespace detail {

template <class Axes>
struct AxisList {
    static constexpr bool valid = false;
};
template <int... Axes>
struct AxisList<axis<Axes...>> {
    static constexpr bool valid = true, keeps = false;
    static constexpr Extents axes{Axes...};
};
template <int... Axes>
struct AxisList<keep_axis<Axes...>> {
    static constexpr bool valid = true, keeps = true;
    static constexpr Extents axes{Axes...};
};

/// Bit a is set where axis a is named; -1 for an axis that is not there.
constexpr int axis_mask(const Extents& axes, int rank) {
    int mask = 0;
    for (int i = 0; i < axes.rank; ++i) {
        const int number = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (number < 0 || number >= rank) return -1;
        mask |= 1 << number;
    }
    return mask;
}

/// How many of the last axes are all named.
constexpr int last_axes(int mask, int rank) {
    int count = 0;
    while (count < rank && (mask >> (rank - 1 - count) & 1)) ++count;
    return count;
}

/// The last of the named axes, to be reduced first.
constexpr int last_axis(int mask) {
    int last = -1;
    for (int number = 0; number < max_rank; ++number)
        if (mask >> number & 1) last = number;
    return last;
}

constexpr Extents without_axis(Extents extents, int axis, bool keeps_axis) {
    if (keeps_axis) {
        extents[axis] = 1;
    } else {
        for (int i = axis; i + 1 < extents.rank; ++i) extents[i] = extents[i + 1];
        --extents.rank;
    }
    return extents;
}

template <class S, int Axis, bool keeps_axis>
struct WithoutAxis {
    static constexpr Extents extents = without_axis(S::codes, Axis, keeps_axis);
};

/// A reduction over an axis that is not the last, on the tape.
template <class R, class Device, class T>
struct ReduceAxisNode : Node {
    Saved<T> x;
    Storage result;
    int axis;

    void backward() {
        if (!x.slot) return;
        Kernel<ReduceAxis, Device>::template backward<R>(x.view, axis, static_cast<const T*>(result.data()),
                                                         upstream_of<T, Device>(*this),
                                                         contribute<T, Device>(*x.slot));
    }
};

template <class R, bool keeps_axis, int Axis, class X>
auto reduce_inner_axis(const X& x) {
    using T = typename X::value_type;
    using D = typename X::device_type;
    using S = ShapeOf<WithoutAxis<typename X::shape_type, Axis, keeps_axis>>;
    auto result = Tensor<T, S, D>::with_extents(without_axis(x.extents(), Axis, keeps_axis));
    Kernel<ReduceAxis, D>::template forward<R>(x.view(), Axis, result.data());
    if constexpr (X::is_tracked)
        return track<ReduceAxisNode<R, D, T>>(result, save(x), result.storage(), Axis);
    else
        return result;
}

constexpr Extents with_ones(Extents extents, int axes) {
    for (int axis = 0; axis < axes; ++axis) extents.append(1);
    return extents;
}

template <class S, int axes>
struct WithOnes {
    static constexpr Extents extents = with_ones(S::codes, axes);
};

/// The same tensor, with so many axes of length 1 after its own.
template <int axes, class T, class S, class D, class G>
auto append_ones(const Tensor<T, S, D, G>& x) {
    return Tensor<T, ShapeOf<WithOnes<S, axes>>, D, G>(x.storage(), x.data(), with_ones(x.extents(), axes),
                                                       {}, x.tracking());
}

template <class R, bool keeps_axis, int mask, class X>
auto reduce_axes(X x) {
    if constexpr (mask == 0) {
        return x;
    } else {
        constexpr int number = last_axis(mask), run = last_axes(mask, X::shape_type::rank);
        constexpr int rest = mask & ~(1 << number);
        if constexpr (run > 1 && joins_last_axes<X>(run)) {
            constexpr int before = mask & ((1 << (X::shape_type::rank - run)) - 1);
            Reduction<R, false, run, X> reduced(std::move(x));
            if constexpr (keeps_axis)
                return reduce_axes<R, keeps_axis, before>(append_ones<run>(evaluate(reduced)));
            else
                return reduce_axes<R, keeps_axis, before>(std::move(reduced));
        } else if constexpr (number == X::shape_type::rank - 1) {
            // A dropped axis within the argument would leave rows that are not this reduction's.
            auto argument = settle<!Traits<X>::rows.drops_axis>(std::move(x));
            return reduce_axes<R, keeps_axis, rest>(
                Reduction<R, keeps_axis, 1, decltype(argument)>(std::move(argument)));
        } else {
            return reduce_axes<R, keeps_axis, rest>(
                reduce_inner_axis<R, keeps_axis, number>(evaluate(std::move(x))));
        }
    }
}

template <class Axes, class X>
inline constexpr int mask_of = axis_mask(AxisList<Axes>::axes, Traits<Operand<X>>::shape_type::rank);

}  // namespace detail

/// Applies a reduction over the named axes, last first. Over the last axis it is lazy and fuses with what is
/// around it, in the same pass; so it is over several last axes that go, if each leaf is packed and no
/// stranger to any of them. Over any other axis it is evaluated here, as is all that it is made from.
template <class R, class Axes, class X>
    requires(detail::ExpressionOperand<X>&& detail::mask_of<Axes, X> >= 0)
auto reduce(X&& x) {
    return detail::reduce_axes<R, detail::AxisList<Axes>::keeps, detail::mask_of<Axes, X>>(
        detail::operand(std::forward<X>(x)));
}
template <class R, class Axes, class X>
    requires(detail::ExpressionOperand<X>&& detail::mask_of<Axes, X> < 0)
mismatch::no_such_axis<R, detail::ShapeOfOperand<X>, Axes> reduce(X&&);

/// Sum over the named axes: `sum<axis<1>>(x)`.
template <class Axes, class X>
    requires(detail::AxisList<Axes>::valid)
auto sum(X&& x) -> decltype(reduce<reduction::Sum, Axes>(std::forward<X>(x))) {
    return reduce<reduction::Sum, Axes>(std::forward<X>(x));
}
/// Mean over the named axes.
template <class Axes, class X>
    requires(detail::AxisList<Axes>::valid)
auto mean(X&& x) -> decltype(reduce<reduction::Mean, Axes>(std::forward<X>(x))) {
    return reduce<reduction::Mean, Axes>(std::forward<X>(x));
}
/// Greatest element over the named axes; its gradient is shared equally by equals.
template <class Axes, class X>
    requires(detail::AxisList<Axes>::valid)
auto max(X&& x) -> decltype(reduce<reduction::Maximum, Axes>(std::forward<X>(x))) {
    return reduce<reduction::Maximum, Axes>(std::forward<X>(x));
}
/// Least element over the named axes.
template <class Axes, class X>
    requires(detail::AxisList<Axes>::valid)
auto min(X&& x) -> decltype(reduce<reduction::Minimum, Axes>(std::forward<X>(x))) {
    return reduce<reduction::Minimum, Axes>(std::forward<X>(x));
}

namespace detail {
template <class R, class X>
auto reduce_all_axes(X&& x) {
    constexpr int rank = Traits<Operand<X>>::shape_type::rank;
    return evaluate(reduce_axes<R, false, (1 << rank) - 1>(operand(std::forward<X>(x))));
}
}  // namespace detail

/// Sum, mean, greatest and least of all elements: a tensor of `Shape<>`, evaluated here.
template <detail::ExpressionOperand X>
auto sum(X&& x) {
    return detail::reduce_all_axes<reduction::Sum>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto mean(X&& x) {
    return detail::reduce_all_axes<reduction::Mean>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto max(X&& x) {
    return detail::reduce_all_axes<reduction::Maximum>(std::forward<X>(x));
}
template <detail::ExpressionOperand X>
auto min(X&& x) {
    return detail::reduce_all_axes<reduction::Minimum>(std::forward<X>(x));
}

}  // namespace tenon
