#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <tenon/op/matmul/matmul.hpp>

namespace tenon {

/// A product with more added to it: c[..., i, j] = sum over k of a[..., i, k] b[..., k, j] + bias[j] +
/// addend[..., i, j], rounded once. On a GPU the additions cost no pass of their own.
struct MatmulAdd {};

/// Whether that is so on a device. Elsewhere an expression adds, together with whatever else there is to do.
template <class Device>
inline constexpr bool product_adds = std::same_as<Device, Cuda>;

/// Stands for a bias or an addend that there is not.
struct Nothing {
    static constexpr bool is_tracked = false;
};

namespace mismatch {
/// matmul_add: a bias has one axis, the columns of the product.
template <class Product, class Bias>
struct matmul_bias_differs;
/// matmul_add: an addend has the product's shape.
template <class Product, class Addend>
struct matmul_addend_differs;
}  // namespace mismatch

constexpr bool matmul_bias_fits(const Extents& product, const Extents& bias) {
    return bias.rank == 1 && !extents_conflict(product[product.rank - 1], bias[0]);
}
constexpr bool matmul_addend_fits(const Extents& product, const Extents& addend) {
    bool fits = product.rank == addend.rank;
    for (int axis = 0; fits && axis < product.rank; ++axis)
        fits = !extents_conflict(product[axis], addend[axis]);
    return fits;
}

namespace detail {

template <class X>
inline constexpr bool is_nothing = std::same_as<std::remove_cvref_t<X>, Nothing>;
template <class X>
concept ArgumentOrNothing = is_nothing<X> || Argument<X>;

/// What is wrong with the operands: nothing (0), their product (1, 2 as in `matmul_rule`), the bias (3), or
/// the addend (4).
template <class A, class B, class Bias, class Addend, MatmulOptions options>
consteval int matmul_add_fault() {
    using Rule = MatmulRule<ShapeOfArgument<A>, ShapeOfArgument<B>, options>;
    if (!Rule::deduction.ok()) return Rule::deduction.fault;
    if constexpr (!is_nothing<Bias>)
        if (!matmul_bias_fits(Rule::extents, ShapeOfArgument<Bias>::codes)) return 3;
    if constexpr (!is_nothing<Addend>)
        if (!matmul_addend_fits(Rule::extents, ShapeOfArgument<Addend>::codes)) return 4;
    return 0;
}

template <class X>
auto packed_or_nothing(X&& x) {
    if constexpr (is_nothing<X>)
        return Nothing();
    else
        return contiguous(evaluate(std::forward<X>(x)));
}
template <class X>
SlotReference slot_or_none(const X& x) {
    if constexpr (is_nothing<X>)
        return {};
    else
        return gradient_slot(x);
}

/// A product's addends, which must fit its extents.
template <class T, class Bias, class Addend>
ProductAddends<T> addends_of(const Extents& product, const Bias& bias, const Addend& addend) {
    ProductAddends<T> addends;
    if constexpr (!is_nothing<Bias>) {
        if (!matmul_bias_fits(product, bias.extents()))
            throw_mismatch<mismatch::matmul_bias_differs>(product, bias.extents());
        addends.bias = bias.data();
    }
    if constexpr (!is_nothing<Addend>) {
        if (!matmul_addend_fits(product, addend.extents()))
            throw_mismatch<mismatch::matmul_addend_differs>(product, addend.extents());
        addends.addend = addend.data();
    }
    return addends;
}

/// Contributes a node's upstream to an addend, at the end of its backward pass: what was the one's gradient
/// is the other's, and its memory moves along where it can.
template <class T, class Device>
void hand_over_output(Node& node, const SlotReference& addend) {
    if (!addend) return;
    const bool is_alike = std::same_as<GradientOf<T, Device>, ComputeOf<T>> || !addend->is_wide;
    if (is_alike && !addend->storage) {
        addend->storage = std::move(node.output.storage);
        addend->written = true;
        addend->is_shared = node.output.is_shared;
    } else {
        contribute_elements<T, Device>(upstream_of<T, Device>(node), *addend);
    }
}

template <class Device, class T>
struct MatmulAddNode : Node {
    SavedFactors<T> factors;
    SlotReference bias, addend;

    void backward() {
        const auto* upstream = upstream_of<T, Device>(*this);
        factors.template contribute_gradients<Device>(upstream);
        if (bias && bias->count > 0)
            Kernel<Matmul, Device>::gradient_bias(output.count / bias->count, bias->count, upstream,
                                                  contribute<T, Device>(*bias));
        hand_over_output<T, Device>(*this, addend);
    }
};

}  // namespace detail

/// The product of [..., M, K] and [K, N] or [..., K, N], plus a bias [N] and an addend [..., M, N]; of these
/// one may be Nothing(). Throws like `matmul`.
template <MatmulOptions options = MatmulOptions{}, Argument A, Argument B, detail::ArgumentOrNothing Bias,
          detail::ArgumentOrNothing Addend = Nothing>
    requires(detail::matmul_add_fault<A, B, Bias, Addend, options>() == 0)
auto matmul_add(A&& left, B&& right, Bias&& bias, Addend&& addend = {}) {
    using X = Evaluated<A>;
    using Y = Evaluated<B>;
    const X a = detail::product_operand<X>(evaluate(std::forward<A>(left)));
    const Y b = detail::product_operand<Y>(evaluate(std::forward<B>(right)));
    const auto u = detail::packed_or_nothing(std::forward<Bias>(bias));
    const auto v = detail::packed_or_nothing(std::forward<Addend>(addend));
    using T = typename X::value_type;
    using D = typename X::device_type;
    using S = ShapeOf<MatmulRule<typename X::shape_type, typename Y::shape_type, options>>;
    const Deduction deduction = matmul_rule(a.extents(), b.extents(), options);
    detail::require_product(deduction, a, b);
    const auto addends = detail::addends_of<T>(deduction.extents, u, v);
    auto c = Tensor<T, S, D>::with_extents(deduction.extents);
    Kernel<Matmul, D>::forward(
        detail::describe_product(a.extents(), a.strides(), b.extents(), b.strides(), options), a.data(),
        b.data(), c.data(), addends);
    if constexpr (any_tracked<X, Y, decltype(u), decltype(v)>)
        return track<detail::MatmulAddNode<D, T>>(c, detail::save_factors(a, b, options),
                                                  detail::slot_or_none(u), detail::slot_or_none(v));
    else
        return c;
}

template <MatmulOptions options = MatmulOptions{}, Argument A, Argument B, detail::ArgumentOrNothing Bias,
          detail::ArgumentOrNothing Addend = Nothing>
    requires(detail::matmul_add_fault<A, B, Bias, Addend, options>() == 1)
mismatch::matmul_inner_extents_differ<ShapeOfArgument<A>, ShapeOfArgument<B>> matmul_add(A&&, B&&, Bias&&,
                                                                                         Addend&& = {});
template <MatmulOptions options = MatmulOptions{}, Argument A, Argument B, detail::ArgumentOrNothing Bias,
          detail::ArgumentOrNothing Addend = Nothing>
    requires(detail::matmul_add_fault<A, B, Bias, Addend, options>() == 2)
mismatch::matmul_batch_extents_differ<ShapeOfArgument<A>, ShapeOfArgument<B>> matmul_add(A&&, B&&, Bias&&,
                                                                                         Addend&& = {});
template <MatmulOptions options = MatmulOptions{}, Argument A, Argument B, detail::ArgumentOrNothing Bias,
          detail::ArgumentOrNothing Addend = Nothing>
    requires(detail::matmul_add_fault<A, B, Bias, Addend, options>() == 3)
mismatch::matmul_bias_differs<ShapeOf<MatmulRule<ShapeOfArgument<A>, ShapeOfArgument<B>, options>>,
                              ShapeOfArgument<Bias>>
matmul_add(A&&, B&&, Bias&&, Addend&& = {});
template <MatmulOptions options = MatmulOptions{}, Argument A, Argument B, detail::ArgumentOrNothing Bias,
          detail::ArgumentOrNothing Addend = Nothing>
    requires(detail::matmul_add_fault<A, B, Bias, Addend, options>() == 4)
mismatch::matmul_addend_differs<ShapeOf<MatmulRule<ShapeOfArgument<A>, ShapeOfArgument<B>, options>>,
                                ShapeOfArgument<Addend>>
matmul_add(A&&, B&&, Bias&&, Addend&& = {});
template <MatmulOptions options = MatmulOptions{}, class A, class B, class Bias, class Addend = Nothing>
    requires NamedExpression<A> NamedExpressionError<MatmulAdd, A> matmul_add(A&&, B&&, Bias&&,
                                                                              Addend&& = {});
template <MatmulOptions options = MatmulOptions{}, class A, class B, class Bias, class Addend = Nothing>
    requires(!NamedExpression<A> && NamedExpression<B>)
NamedExpressionError<MatmulAdd, B> matmul_add(A&&, B&&, Bias&&, Addend&& = {});

}  // namespace tenon
