#pragma once

#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>
#include <tenon/op/operation.hpp>

/// Views: tensors that share another's elements under another shape. None copies; the gradient of a view goes
/// into the place that it shows.
namespace tenon {

namespace mismatch {
/// Shapes From and To differ in their number of elements.
template <class From, class To>
struct reshape_changes_the_number_of_elements;
/// Shape From does not broadcast to shape To.
template <class From, class To>
struct broadcast_to_extents_differ;
/// The range begins or ends outside of the axis, or ends before it begins.
template <class S, class Range>
struct slice_outside_of_extent;
/// A view names an axis that the shape does not have.
template <class S, class Axis>
struct view_of_no_such_axis;
}  // namespace mismatch

/// Names views where kernels are declared.
struct View {};

/// The range [Begin, End) of a slice that is known at compile time.
template <int Begin, int End>
struct range {};

namespace detail {

template <int... Axis>
struct axes;

/// Where the elements of a view lie in an array of given strides.
struct ViewMap {
    std::int64_t offset = 0;
    Extents extents;
    Strides strides;
};

/// A strided view on the tape. Its own gradient is packed; the map leads from there into the packed gradient
/// of what it shows.
template <class Device, class T>
struct ViewNode : Node {
    SlotReference slot;
    ViewMap map;

    void backward() {
        if (!slot) return;
        Kernel<View, Device>::add(upstream_of<T, Device>(*this), map.extents, map.strides, map.offset,
                                  slot->count, contribute<T, Device>(*slot));
    }
};

/// The view of x that `map_of(extents, strides)` describes, for its value and again for its gradient.
template <class S, class Layout, class X, class MapOf>
auto make_view(const X& x, MapOf map_of) {
    using T = typename X::value_type;
    using D = typename X::device_type;
    const ViewMap map = map_of(x.extents(), x.strides());
    Layout layout;
    if constexpr (!Layout::is_packed) layout.strides = map.strides;
    if constexpr (X::is_tracked) {
        Tracked link = Tape::current().record<ViewNode<D, T>>(
            map.extents.count(), gradient_slot(x), map_of(x.extents(), row_major_strides(x.extents())));
        return Tensor<T, S, D, Tracked, Layout>(x.storage(), x.data() + map.offset, map.extents, layout,
                                                std::move(link));
    } else {
        return Tensor<T, S, D, Untracked, Layout>(x.storage(), x.data() + map.offset, map.extents, layout);
    }
}

constexpr int axis_number(int axis, int rank) { return axis < 0 ? axis + rank : axis; }
constexpr bool has_axis(int axis, int rank) {
    return axis_number(axis, rank) >= 0 && axis_number(axis, rank) < rank;
}

template <class S, int A, int B>
struct Transposed {
    static constexpr Extents extents = [] {
        Extents codes = S::codes;
        codes[A] = S::codes[B];
        codes[B] = S::codes[A];
        return codes;
    }();
};

template <class S, int Axis, ExtentCode length>
struct Resized {
    static constexpr Extents extents = [] {
        Extents codes = S::codes;
        codes[Axis] = length;
        return codes;
    }();
};

template <class S, int Axis>
struct Selected {
    static constexpr Extents extents = [] {
        Extents codes = S::codes;
        for (int axis = Axis; axis + 1 < codes.rank; ++axis) codes[axis] = codes[axis + 1];
        --codes.rank;
        return codes;
    }();
};

template <class S, int Axis>
struct Merged {
    static constexpr Extents extents = [] {
        Extents codes = Selected<S, Axis>::extents;
        codes[Axis] = multiply_extents(S::codes[Axis], S::codes[Axis + 1]);
        return codes;
    }();
};

template <class S, int Axis, ExtentCode First, ExtentCode Second>
struct Split {
    static constexpr Extents extents = [] {
        Extents codes = S::codes;
        ++codes.rank;
        for (int axis = codes.rank - 1; axis > Axis; --axis) codes[axis] = codes[axis - 1];
        codes[Axis] = First;
        codes[Axis + 1] = Second;
        return codes;
    }();
};

/// Whether a packed tensor may certainly not be reshaped: both numbers of elements are known, and differ.
constexpr bool counts_conflict(const Extents& from, const Extents& to) {
    return from.all_exact() && to.all_exact() && from.count() != to.count();
}

template <class S, class X>
auto reshaped(const X& x, const Extents& extents) {
    using T = typename X::value_type;
    using D = typename X::device_type;
    bytes_of(extents, sizeof(T));
    if (extents.count() != x.size())
        throw_mismatch<mismatch::reshape_changes_the_number_of_elements>(x.extents(), extents);
    if (!may_convert(extents, S::codes)) throw_mismatch<mismatch::assignment>(extents, S::codes);
    // The order of the elements stays, so the gradient may gather in the same place.
    return Tensor<T, S, D, typename X::tracking_type>(x.storage(), x.data(), extents, {}, x.tracking());
}

}  // namespace detail

/// The same elements in order, in another shape. x is packed. One extent that S leaves open is deduced; more
/// are given as `lengths`. Throws ShapeError where the numbers of elements differ.
template <class S, TensorLike X, std::same_as<int>... N>
    requires(X::is_packed && !detail::counts_conflict(X::shape_type::codes, S::codes) &&
             (sizeof...(N) == S::dynamic_count || (sizeof...(N) == 0 && S::dynamic_count == 1)))
auto reshape(const X& x, N... lengths) {
    Extents extents = S::codes;
    const int given[] = {lengths..., 0};
    for (int axis = 0, next = 0; axis < extents.rank; ++axis) {
        if (is_exact(extents[axis])) continue;
        extents[axis] = 1;
        if constexpr (sizeof...(N) > 0) {
            extents[axis] = given[next++];
        } else {
            const std::int64_t others = [&] {
                std::int64_t product = 1;
                for (int i = 0; i < extents.rank; ++i)
                    if (i != axis) product *= extents[i];
                return product;
            }();
            if (others > 0) extents[axis] = static_cast<int>(x.size() / others);
        }
    }
    return detail::reshaped<S>(x, extents);
}
template <class S, TensorLike X, std::same_as<int>... N>
    requires(detail::counts_conflict(X::shape_type::codes, S::codes))
mismatch::reshape_changes_the_number_of_elements<typename X::shape_type, S> reshape(const X&, N...);

/// Axes Axis and Axis + 1 as one: [a, b, c] -> [a, b c]. x is packed.
template <int Axis, TensorLike X>
    requires(X::is_packed&& Axis >= 0 && Axis + 1 < X::rank)
auto merge_axes(const X& x) {
    Extents extents = x.extents();
    extents[Axis] *= extents[Axis + 1];
    for (int axis = Axis + 1; axis + 1 < extents.rank; ++axis) extents[axis] = extents[axis + 1];
    --extents.rank;
    return detail::reshaped<ShapeOf<detail::Merged<typename X::shape_type, Axis>>>(x, extents);
}

/// Axis Axis as two, of the extents First and Second: [a, b c] -> [a, b, c]. `first` and `second` are their
/// lengths, needed where the types leave them open. Throws ShapeError where their product is another.
template <int Axis, auto First, auto Second, TensorLike X>
    requires(Axis >= 0 && Axis < X::rank &&
             !extents_conflict(multiply_extents(extent_code(First), extent_code(Second)),
                               X::shape_type::codes[Axis]))
auto split_axis(const X& x, int first = bound_of(extent_code(First)),
                int second = bound_of(extent_code(Second))) {
    using S = ShapeOf<detail::Split<typename X::shape_type, Axis, extent_code(First), extent_code(Second)>>;
    Extents extents = x.extents();
    ++extents.rank;
    for (int axis = extents.rank - 1; axis > Axis; --axis) extents[axis] = extents[axis - 1];
    extents[Axis] = first;
    extents[Axis + 1] = second;
    if constexpr (X::is_packed) {
        return detail::reshaped<S>(x, extents);
    } else {
        if (first < 0 || second < 0 || std::int64_t{first} * second != x.extents()[Axis])
            throw_mismatch<mismatch::reshape_changes_the_number_of_elements>(x.extents(), extents);
        return detail::make_view<S, Strided>(x, [&](const Extents&, Strides strides) {
            for (int axis = extents.rank - 1; axis > Axis; --axis) strides[axis] = strides[axis - 1];
            strides[Axis] *= second;
            return detail::ViewMap{0, extents, strides};
        });
    }
}
template <int Axis, auto First, auto Second, TensorLike X>
    requires(Axis >= 0 && Axis < X::rank &&
             extents_conflict(multiply_extents(extent_code(First), extent_code(Second)),
                              X::shape_type::codes[Axis]))
mismatch::reshape_changes_the_number_of_elements<
    typename X::shape_type,
    ShapeOf<detail::Split<typename X::shape_type, Axis, extent_code(First), extent_code(Second)>>>
split_axis(const X&, int = 0, int = 0);

/// Axes A and B exchanged; by default the last two.
template <int A = -2, int B = -1, TensorLike X>
    requires(detail::has_axis(A, X::rank) && detail::has_axis(B, X::rank))
auto transpose(const X& x) {
    constexpr int a = detail::axis_number(A, X::rank), b = detail::axis_number(B, X::rank);
    return detail::make_view<ShapeOf<detail::Transposed<typename X::shape_type, a, b>>, Strided>(
        x, [](Extents extents, Strides strides) {
            std::swap(extents[a], extents[b]);
            std::swap(strides[a], strides[b]);
            return detail::ViewMap{0, extents, strides};
        });
}
template <int A = -2, int B = -1, TensorLike X>
    requires(!detail::has_axis(A, X::rank) || !detail::has_axis(B, X::rank))
mismatch::view_of_no_such_axis<typename X::shape_type, detail::axes<A, B>> transpose(const X&);

/// Positions [begin, end) of an axis. Throws ShapeError where they lie outside. A slice of the first axis of
/// a packed tensor is packed.
template <int Axis, TensorLike X>
    requires(detail::has_axis(Axis, X::rank))
auto slice(const X& x, int begin, int end) {
    constexpr int axis = detail::axis_number(Axis, X::rank);
    if (begin < 0 || end < begin || end > x.extents()[axis])
        throw ShapeError("slice_outside_of_extent<" + detail::shape_text(x.extents()) + ", range<" +
                         std::to_string(begin) + ", " + std::to_string(end) + ">> of axis " +
                         std::to_string(axis));
    using Layout = std::conditional_t<axis == 0 && X::is_packed, RowMajor, Strided>;
    return detail::make_view<ShapeOf<detail::Resized<typename X::shape_type, axis, dyn_code>>, Layout>(
        x, [=](Extents extents, Strides strides) {
            extents[axis] = end - begin;
            return detail::ViewMap{begin * strides[axis], extents, strides};
        });
}

/// Positions [Begin, End) of an axis, known at compile time: the result's extent is exact.
template <int Axis, int Begin, int End, TensorLike X>
    requires(detail::has_axis(Axis, X::rank) && Begin >= 0 && Begin <= End &&
             !(X::shape_type::codes[detail::axis_number(Axis, X::rank)] != dyn_code &&
               End > bound_of(X::shape_type::codes[detail::axis_number(Axis, X::rank)])))
auto slice(const X& x) {
    constexpr int axis = detail::axis_number(Axis, X::rank);
    auto part = slice<Axis>(x, Begin, End);
    using S = ShapeOf<detail::Resized<typename X::shape_type, axis, End - Begin>>;
    return Tensor<typename X::value_type, S, typename X::device_type, typename X::tracking_type,
                  typename decltype(part)::layout_type>(part);
}
template <int Axis, int Begin, int End, TensorLike X>
    requires(detail::has_axis(Axis, X::rank) &&
             (Begin < 0 || Begin > End ||
              (X::shape_type::codes[detail::axis_number(Axis, X::rank)] != dyn_code &&
               End > bound_of(X::shape_type::codes[detail::axis_number(Axis, X::rank)]))))
mismatch::slice_outside_of_extent<typename X::shape_type, range<Begin, End>> slice(const X&);

/// One position of an axis, which goes: [a, b, c] -> [a, c] for axis 1. Throws ShapeError where it lies
/// outside.
template <int Axis, TensorLike X>
    requires(detail::has_axis(Axis, X::rank))
auto select(const X& x, int index) {
    constexpr int axis = detail::axis_number(Axis, X::rank);
    if (index < 0 || index >= x.extents()[axis])
        throw ShapeError("slice_outside_of_extent<" + detail::shape_text(x.extents()) + ", range<" +
                         std::to_string(index) + ", " + std::to_string(index + 1) + ">> of axis " +
                         std::to_string(axis));
    using Layout = std::conditional_t<axis == 0 && X::is_packed, RowMajor, Strided>;
    return detail::make_view<ShapeOf<detail::Selected<typename X::shape_type, axis>>, Layout>(
        x, [=](Extents extents, Strides strides) {
            const std::int64_t offset = index * strides[axis];
            for (int i = axis; i + 1 < extents.rank; ++i) {
                extents[i] = extents[i + 1];
                strides[i] = strides[i + 1];
            }
            --extents.rank;
            return detail::ViewMap{offset, extents, strides};
        });
}

/// x repeated along the axes where its extent is 1 or missing, without a copy. Extents that S leaves open are
/// given as `lengths`. Throws ShapeError where x does not broadcast to the shape.
template <class S, TensorLike X, std::same_as<int>... N>
    requires(sizeof...(N) == S::dynamic_count && Broadcast<typename X::shape_type, S>::deduction.ok() &&
             may_convert(Broadcast<typename X::shape_type, S>::extents, S::codes))
auto broadcast_to(const X& x, N... lengths) {
    Extents target = S::codes;
    const int given[] = {lengths..., 0};
    for (int axis = 0, next = 0; axis < target.rank; ++axis)
        if (!is_exact(target[axis])) target[axis] = given[next++];
    detail::bytes_of(target, 1);
    const Deduction deduction = broadcast_rule(x.extents(), target);
    if (!deduction.ok() || !(deduction.extents == target) || !may_convert(target, S::codes))
        throw_mismatch<mismatch::broadcast_to_extents_differ>(x.extents(), target);
    return detail::make_view<S, Strided>(x, [=](const Extents& extents, const Strides& strides) {
        Strides steps;
        for (int axis = 0; axis < target.rank; ++axis) {
            const int own = axis - (target.rank - extents.rank);
            steps[axis] = own < 0 || extents[own] == 1 ? 0 : strides[own];
        }
        return detail::ViewMap{0, target, steps};
    });
}
template <class S, TensorLike X, std::same_as<int>... N>
    requires(!Broadcast<typename X::shape_type, S>::deduction.ok() ||
             !may_convert(Broadcast<typename X::shape_type, S>::extents, S::codes))
mismatch::broadcast_to_extents_differ<typename X::shape_type, S> broadcast_to(const X&, N...);

/// A packed tensor of the same elements: x itself, or a copy of a view.
template <TensorLike X>
auto contiguous(const X& x) {
    if constexpr (X::is_packed) {
        return x;
    } else if constexpr (Real<typename X::value_type>) {
        return evaluate(apply<functor::Identity>(x));
    } else {
        auto copy =
            Tensor<typename X::value_type, typename X::shape_type, typename X::device_type>::with_extents(
                x.extents());
        Kernel<View, typename X::device_type>::copy(x.view(), copy.view());
        return copy;
    }
}

/// Writes the elements of x into those that `place` shows; the two may overlap. Throws ShapeError where their
/// extents differ. What is recorded on the tape keeps the memory, not a copy: values that a backward pass
/// still needs must not be written.
template <TensorLike Place, TensorLike X>
    requires(!Place::is_tracked && !X::is_tracked &&
             std::same_as<typename Place::value_type, typename X::value_type> &&
             may_convert(X::shape_type::codes, Place::shape_type::codes))
void copy_to(const Place& place, const X& x) {
    if (!(place.extents() == x.extents())) throw_mismatch<mismatch::assignment>(x.extents(), place.extents());
    using Copy = Kernel<View, typename Place::device_type>;
    if (!x.storage() || x.storage().data() != place.storage().data())
        Copy::copy(x.view(), place.view());
    else if constexpr (X::is_packed)
        Copy::copy(x.clone().view(), place.view());
    else
        Copy::copy(contiguous(x).view(), place.view());
}
template <TensorLike Place, TensorLike X>
    requires(!may_convert(X::shape_type::codes, Place::shape_type::codes))
mismatch::assignment<typename X::shape_type, typename Place::shape_type> copy_to(const Place&, const X&);

namespace detail {

/// A view as it is, if it suits a kernel; else a copy of it, packed, under the same type.
template <TensorLike X>
auto copied_unless(bool suits, const X& x) {
    if constexpr (X::is_packed) {
        return x;
    } else {
        if (suits) return x;
        const auto copy = contiguous(x);
        return X(copy.storage(), copy.data(), copy.extents(), Strided{copy.strides()}, copy.tracking());
    }
}

}  // namespace detail

// Parameters and unnamed expressions are taken for the tensors that they stand for; named expressions are
// refused.

template <class S, Argument A, std::same_as<int>... N>
    requires(!TensorLike<A>)
auto reshape(A&& x, N... lengths) { return reshape<S>(evaluate(std::forward<A>(x)), lengths...); }
template <class S, class A, std::same_as<int>... N>
    requires NamedExpression<A> NamedExpressionError<View, A> reshape(A&&, N...);

template <int Axis, Argument A>
    requires(!TensorLike<A>)
auto merge_axes(A&& x) { return merge_axes<Axis>(evaluate(std::forward<A>(x))); }
template <int Axis, class A>
    requires NamedExpression<A> NamedExpressionError<View, A> merge_axes(A&&);

template <int Axis, auto First, auto Second, Argument A, std::same_as<int>... N>
    requires(!TensorLike<A>)
auto split_axis(A&& x, N... lengths) {
    return split_axis<Axis, First, Second>(evaluate(std::forward<A>(x)), lengths...);
}
template <int Axis, auto First, auto Second, class A, std::same_as<int>... N>
    requires NamedExpression<A> NamedExpressionError<View, A> split_axis(A&&, N...);

template <int A = -2, int B = -1, Argument X>
    requires(!TensorLike<X>)
auto transpose(X&& x) { return transpose<A, B>(evaluate(std::forward<X>(x))); }
template <int A = -2, int B = -1, class X>
    requires NamedExpression<X> NamedExpressionError<View, X> transpose(X&&);

template <int Axis, Argument A>
    requires(!TensorLike<A>)
auto slice(A&& x, int begin, int end) { return slice<Axis>(evaluate(std::forward<A>(x)), begin, end); }
template <int Axis, class A>
    requires NamedExpression<A> NamedExpressionError<View, A> slice(A&&, int, int);

template <int Axis, Argument A>
    requires(!TensorLike<A>)
auto select(A&& x, int index) { return select<Axis>(evaluate(std::forward<A>(x)), index); }
template <int Axis, class A>
    requires NamedExpression<A> NamedExpressionError<View, A> select(A&&, int);

template <class S, Argument A, std::same_as<int>... N>
    requires(!TensorLike<A>)
auto broadcast_to(A&& x, N... lengths) { return broadcast_to<S>(evaluate(std::forward<A>(x)), lengths...); }
template <class S, class A, std::same_as<int>... N>
    requires NamedExpression<A> NamedExpressionError<View, A> broadcast_to(A&&, N...);

}  // namespace tenon
