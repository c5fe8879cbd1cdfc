#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <tenon/core/tensor.hpp>
#include <tenon/expression/functor.hpp>

namespace tenon {

namespace mismatch {
/// The shapes A and B do not broadcast to each other, as the elementwise function F needs.
template <class F, class A, class B>
struct extents_do_not_broadcast;
/// A reduction R over axis `Axis` of a shape that has no such axis.
template <class R, class S, class Axis>
struct no_such_axis;
/// A named expression would be computed once more for each use. Write `Tensor h = …;` and pass that.
template <class Operation, class S>
struct named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first;
}  // namespace mismatch

/// A number in an expression: `2 * x`.
struct Scalar {
    double value;
};

namespace detail {

/// What a tree knows of the reductions in it: they run over rows, `rows` of them.
struct RowCodes {
    bool reduces = false;
    bool drops_axis = false;  // its shape is `rows`; otherwise `rows` and one more axis
    Extents rows;
};

template <class X>
struct Traits {
    using shape_type = typename X::shape_type;
    using value_type = typename X::value_type;
    using device_type = typename X::device_type;
    static constexpr bool is_tracked = X::is_tracked;
    static constexpr RowCodes rows = [] {
        if constexpr (Lazy<X>)
            return X::row_codes;
        else
            return RowCodes{};
    }();
};
template <>
struct Traits<Scalar> {
    using shape_type = Shape<>;
    using value_type = void;
    using device_type = void;
    static constexpr bool is_tracked = false;
    static constexpr RowCodes rows{};
};

/// The element type of a combination: the same, or the wider; float for two different 16-bit types.
template <class A, class B>
constexpr auto promote() {
    if constexpr (std::is_void_v<A> || std::same_as<A, B>)
        return std::type_identity<B>{};
    else if constexpr (std::is_void_v<B>)
        return std::type_identity<A>{};
    else if constexpr (std::same_as<A, double> || std::same_as<B, double>)
        return std::type_identity<double>{};
    else
        return std::type_identity<float>{};
}
template <class A, class B>
using Promoted = typename decltype(promote<A, B>())::type;

inline Extents extents_of(const Scalar&) { return {}; }
template <class X>
const Extents& extents_of(const X& x) {
    return x.extents();
}

/// Whether a part that holds reductions may fuse into a whole of this shape: its rows must be the whole's.
constexpr bool rows_fit(const RowCodes& part, const Extents& whole) {
    if (!part.reduces) return true;
    if (part.drops_axis) return part.rows == whole;
    if (whole.rank != part.rows.rank + 1) return false;
    for (int axis = 0; axis < part.rows.rank; ++axis)
        if (part.rows[axis] != whole[axis]) return false;
    return true;
}

}  // namespace detail

/// F applied to A, or to A and B, element by element, not yet evaluated. Its leaves are handles: it never
/// dangles.
template <class F, class A, class B = void>
class Expression {
    using TraitsA = detail::Traits<A>;
    using TraitsB = detail::Traits<B>;

public:
    using lazy_expression = void;
    using shape_type = ShapeOf<Broadcast<typename TraitsA::shape_type, typename TraitsB::shape_type>>;
    using value_type = detail::Promoted<typename TraitsA::value_type, typename TraitsB::value_type>;
    using device_type = std::conditional_t<std::is_void_v<typename TraitsA::device_type>,
                                           typename TraitsB::device_type, typename TraitsA::device_type>;
    static constexpr bool is_tracked = TraitsA::is_tracked || TraitsB::is_tracked;
    using tracking_type = std::conditional_t<is_tracked, Tracked, Untracked>;
    static constexpr detail::RowCodes row_codes = TraitsA::rows.reduces ? TraitsA::rows : TraitsB::rows;

    Expression(A first, B second) : a(std::move(first)), b(std::move(second)), extents_(combined()) {}

    const Extents& extents() const { return extents_.get(); }

    A a;
    B b;

private:
    Extents combined() const {
        const Deduction result = broadcast_rule(detail::extents_of(a), detail::extents_of(b));
        // What the types leave open may conflict even where the result's type is exact.
        if constexpr (!TraitsA::shape_type::is_static || !TraitsB::shape_type::is_static)
            if (!result.ok())
                throw_mismatch<mismatch::extents_do_not_broadcast, F>(detail::extents_of(a),
                                                                      detail::extents_of(b));
        return result.extents;
    }

    [[no_unique_address]] detail::ExtentsOf<shape_type> extents_;
};

template <class F, class A>
class Expression<F, A, void> {
public:
    using lazy_expression = void;
    using shape_type = typename A::shape_type;
    using value_type = typename A::value_type;
    using device_type = typename A::device_type;
    static constexpr bool is_tracked = A::is_tracked;
    using tracking_type = std::conditional_t<is_tracked, Tracked, Untracked>;
    static constexpr detail::RowCodes row_codes = detail::Traits<A>::rows;

    explicit Expression(A argument) : a(std::move(argument)) {}

    const Extents& extents() const { return a.extents(); }

    A a;
};

namespace detail {

constexpr RowCodes reduced_rows(Extents codes, bool keeps_axis, int axes) {
    codes.rank -= axes;
    return {true, !keeps_axis, codes};
}

constexpr Extents reduced_extents(Extents extents, bool keeps_axis, int axes) {
    if (keeps_axis)
        extents[extents.rank - 1] = 1;
    else
        extents.rank -= axes;
    return extents;
}

template <class S, bool keeps_axis, int axes>
struct Reduced {
    static constexpr Extents extents = reduced_extents(S::codes, keeps_axis, axes);
};

}  // namespace detail

/// R over the last axes of A, iterated as one, not yet evaluated. They go, or a single one stays with
/// length 1.
template <class R, bool keeps_axis, int axes, class A>
class Reduction {
public:
    static_assert(axes == 1 || !keeps_axis);
    using lazy_expression = void;
    using shape_type = ShapeOf<detail::Reduced<typename A::shape_type, keeps_axis, axes>>;
    using value_type = typename A::value_type;
    using device_type = typename A::device_type;
    static constexpr bool is_tracked = A::is_tracked;
    using tracking_type = std::conditional_t<is_tracked, Tracked, Untracked>;
    static constexpr detail::RowCodes row_codes =
        detail::reduced_rows(A::shape_type::codes, keeps_axis, axes);

    explicit Reduction(A argument)
        : a(std::move(argument)), extents_(detail::reduced_extents(a.extents(), keeps_axis, axes)) {}

    const Extents& extents() const { return extents_.get(); }

    A a;

private:
    [[no_unique_address]] detail::ExtentsOf<shape_type> extents_;
};

namespace detail {

/// What stands for a tensor that it holds: a parameter. (Lazy logits do not: they become one only on
/// request.)
template <class X>
concept HasTensor = requires {
    typename X::tensor_type;
};

/// What may stand in an expression beside numbers: tensors of reals, expressions, and what holds a tensor.
template <class X>
concept ExpressionOperand = Lazy<X> || HasTensor<std::remove_cvref_t<X>> ||
    (TensorLike<X>&& Real<typename std::remove_cvref_t<X>::value_type>);

// Constrained, since the operators on tensors are looked up with operands of any library.
template <class X>
    requires(ExpressionOperand<X> || std::is_arithmetic_v<std::remove_cvref_t<X>>)
auto operand(X&& x) {
    using Plain = std::remove_cvref_t<X>;
    if constexpr (std::is_arithmetic_v<Plain>)
        return Scalar{static_cast<double>(x)};
    else if constexpr (HasTensor<Plain>)
        return x.tensor();
    else
        return Plain(std::forward<X>(x));
}
template <class X>
using Operand = decltype(operand(std::declval<X>()));
template <class X>
using ShapeOfOperand = typename Traits<Operand<X>>::shape_type;

template <class A, class B>
concept ExpressionOperands = (ExpressionOperand<A> &&
                              (ExpressionOperand<B> || std::is_arithmetic_v<std::remove_cvref_t<B>>)) ||
                             (ExpressionOperand<B> && std::is_arithmetic_v<std::remove_cvref_t<A>>);

template <class A, class B>
inline constexpr bool broadcasts = Broadcast<ShapeOfOperand<A>, ShapeOfOperand<B>>::deduction.ok();

/// A part stays lazy where it may, and is evaluated first where it must.
template <bool stays_lazy, class X>
auto settle(X x) {
    if constexpr (stays_lazy)
        return x;
    else
        return evaluate(x);
}

template <class F, class A, class B>
auto combine(A a, B b) {
    constexpr Extents whole =
        Broadcast<typename Traits<A>::shape_type, typename Traits<B>::shape_type>::extents;
    constexpr RowCodes rows_a = Traits<A>::rows, rows_b = Traits<B>::rows;
    constexpr bool a_fits = rows_fit(rows_a, whole);
    constexpr bool b_fits = rows_fit(rows_b, whole) && (!a_fits || !rows_a.reduces || !rows_b.reduces ||
                                                        rows_a.drops_axis == rows_b.drops_axis);
    auto left = settle<a_fits>(std::move(a));
    auto right = settle<b_fits>(std::move(b));
    return Expression<F, decltype(left), decltype(right)>(std::move(left), std::move(right));
}

}  // namespace detail

/// Applies an elementwise functor of one argument; the result is lazy.
template <class F, class A>
    requires detail::ExpressionOperand<A>
auto apply(A&& a) { return Expression<F, detail::Operand<A>>(detail::operand(std::forward<A>(a))); }

/// Applies an elementwise functor of two arguments, broadcasting; the result is lazy. Throws ShapeError where
/// extents known at run time do not broadcast.
template <class F, class A, class B>
    requires(detail::ExpressionOperands<A, B>&& detail::broadcasts<A, B>)
auto apply(A&& a, B&& b) {
    return detail::combine<F>(detail::operand(std::forward<A>(a)), detail::operand(std::forward<B>(b)));
}

}  // namespace tenon
