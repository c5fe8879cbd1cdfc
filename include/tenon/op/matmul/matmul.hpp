#pragma once

#include <tenon/op/matmul/matrix_view.hpp>
#include <tenon/op/operation.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// The matrix product c[i, j] = sum over k of a[i, k] b[k, j], over the last two axes.
struct Matmul {};

struct MatmulOptions {
    bool transpose_left = false;   ///< the left operand is [..., K, M]
    bool transpose_right = false;  ///< the right operand is [..., N, K], as linear layers keep their weights
};

namespace mismatch {
/// matmul of A [..., M, K] and B [..., K, N]: the K differ.
template <class A, class B>
struct matmul_inner_extents_differ;
/// matmul of A and B: an operand is no matrix, or the axes before the matrices differ.
template <class A, class B>
struct matmul_batch_extents_differ;
}  // namespace mismatch

/// [..., M, K] x [K, N] -> [..., M, N], or with the same axes before both matrices.
constexpr Deduction matmul_rule(const Extents& a, const Extents& b, MatmulOptions options) {
    if (a.rank < 2 || b.rank < 2 || (b.rank > 2 && b.rank != a.rank)) return {{}, 2};
    const int rows = a.rank - (options.transpose_left ? 1 : 2),
              columns = b.rank - (options.transpose_right ? 2 : 1);
    const int depth_a = a.rank + a.rank - 3 - rows, depth_b = b.rank + b.rank - 3 - columns;
    if (extents_conflict(a[depth_a], b[depth_b])) return {{}, 1};
    Deduction result;
    for (int axis = 0; axis < a.rank - 2; ++axis) {
        if (b.rank > 2 && extents_conflict(a[axis], b[axis])) return {{}, 2};
        result.extents.append(b.rank > 2 ? refine_extent(a[axis], b[axis]) : a[axis]);
    }
    result.extents.append(a[rows]);
    result.extents.append(b[columns]);
    return result;
}

template <class A, class B, MatmulOptions options>
struct MatmulRule {
    static constexpr Deduction deduction = matmul_rule(A::codes, B::codes, options);
    static constexpr Extents extents = deduction.extents;
};

namespace detail {

/// One product or several, shapes erased: `batch` products of [rows, depth] x [depth, columns], transposes
/// and axes before the matrices folded into strides.
struct Product {
    std::int64_t batch = 1, rows = 0, columns = 0, depth = 0;
    std::int64_t a_row = 0, a_column = 0, a_batch = 0;
    std::int64_t b_row = 0, b_column = 0, b_batch = 0;
};

/// Whether axes [first, last) step through memory evenly, so that they count as one.
inline bool is_even(const Extents& extents, const Strides& strides, int first, int last) {
    std::int64_t expected = -1;
    for (int axis = last - 1; axis >= first; --axis) {
        if (extents[axis] == 1) continue;
        if (expected >= 0 && strides[axis] != expected) return false;
        expected = strides[axis] * extents[axis];
    }
    return true;
}

/// The step from matrix to matrix: that of the last axis before the matrices that is longer than 1.
inline std::int64_t batch_stride(const Extents& extents, const Strides& strides) {
    for (int axis = extents.rank - 3; axis >= 0; --axis)
        if (extents[axis] != 1) return strides[axis];
    return 0;
}

[[gnu::noinline]] inline Product describe_product(const Extents& a, const Strides& sa, const Extents& b,
                                                  const Strides& sb, MatmulOptions options) {
    const int row = a.rank - (options.transpose_left ? 1 : 2),
              column = b.rank - (options.transpose_right ? 2 : 1);
    const int depth_a = 2 * a.rank - 3 - row, depth_b = 2 * b.rank - 3 - column;
    Product product;
    product.rows = a[row];
    product.columns = b[column];
    product.depth = a[depth_a];
    product.a_row = sa[row];
    product.a_column = sa[depth_a];
    product.b_row = sb[depth_b];
    product.b_column = sb[column];
    product.batch = a.count(0, a.rank - 2);
    product.a_batch = batch_stride(a, sa);
    product.b_batch = batch_stride(b, sb);
    // Rows of all matrices follow each other: one product serves all.
    if (b.rank == 2 && a.rank > 2 && product.a_batch == product.a_row * product.rows) {
        product.rows *= product.batch;
        product.batch = 1;
    }
    return product;
}

/// What is added to a product, packed: a number for each column, one for each element. Null: nothing.
template <class T>
struct ProductAddends {
    const T* bias = nullptr;
    const T* addend = nullptr;
};

/// The factors of a product, for its gradients.
template <class T>
struct SavedFactors {
    Saved<T> a, b;
    MatmulOptions options;

    template <class Device>
    void contribute_gradients(const GradientOf<T, Device>* upstream) {
        const Product product =
            describe_product(a.view.extents, a.view.strides, b.view.extents, b.view.strides, options);
        if (a.slot) {
            // In the packed gradient of a: its own strides.
            const Product packed = describe_product(a.view.extents, row_major_strides(a.view.extents),
                                                    b.view.extents, b.view.strides, options);
            Kernel<Matmul, Device>::gradient_a(packed, upstream, b.view.data, contribute<T, Device>(*a.slot));
        }
        if (b.slot) {
            const Product packed = describe_product(a.view.extents, a.view.strides, b.view.extents,
                                                    row_major_strides(b.view.extents), options);
            Kernel<Matmul, Device>::gradient_b(packed, product, upstream, a.view.data,
                                               contribute<T, Device>(*b.slot));
        }
    }
};

/// Whether a product takes factors of the types of these: the same, or of floats with a right one that
/// becomes floats as it is read, on the CPU and without a gradient.
template <class X, class Y>
inline constexpr bool are_factors = std::same_as<typename X::value_type, typename Y::value_type> ||
                                    (std::same_as<typename X::value_type, float> &&
                                     std::same_as<ComputeOf<typename Y::value_type>, float> &&
                                     std::same_as<typename X::device_type, Cpu> && !any_tracked<X, Y>);

/// Each factor is needed for the gradient of the other alone: where that has none, it is not kept.
template <TensorLike X, TensorLike Y>
SavedFactors<typename X::value_type> save_factors(const X& a, const Y& b, MatmulOptions options) {
    SavedFactors<typename X::value_type> factors{save(a), save(b), options};
    if (!factors.b.slot) factors.a.storage = {};
    if (!factors.a.slot) factors.b.storage = {};
    return factors;
}

template <class Device, class T>
struct MatmulNode : Node {
    SavedFactors<T> factors;

    void backward() { factors.template contribute_gradients<Device>(upstream_of<T, Device>(*this)); }
};

/// An operand as kernels take it: the axes before its matrices step evenly.
template <TensorLike X>
X product_operand(const X& given) {
    if constexpr (X::rank <= 3)
        return given;  // one axis is even
    else
        return copied_unless(is_even(given.extents(), given.strides(), 0, X::rank - 2), given);
}

/// Throws for what `matmul_rule` found at fault.
template <class X, class Y>
void require_product(const Deduction& deduction, const X& a, const Y& b) {
    static_assert(are_factors<X, Y>, "matmul: the element types differ");
    if (deduction.fault == 1) throw_mismatch<mismatch::matmul_inner_extents_differ>(a.extents(), b.extents());
    if (deduction.fault == 2) throw_mismatch<mismatch::matmul_batch_extents_differ>(a.extents(), b.extents());
}

}  // namespace detail

/// The matrix product of [..., M, K] and [K, N] or [..., K, N]. Views are read where they lie. On the CPU and
/// without a gradient a factor of floats may have a right one of 16 bits, or of StoredReal. Throws ShapeError
/// where extents known at run time differ.
template <MatmulOptions options = MatmulOptions{}, Argument A, Argument B>
    requires(MatmulRule<ShapeOfArgument<A>, ShapeOfArgument<B>, options>::deduction.ok())
auto matmul(A&& left, B&& right) {
    using X = Evaluated<A>;
    using Y = Evaluated<B>;
    const X a = detail::product_operand<X>(evaluate(std::forward<A>(left)));
    const Y b = detail::product_operand<Y>(evaluate(std::forward<B>(right)));
    using T = typename X::value_type;
    using D = typename X::device_type;
    using S = ShapeOf<MatmulRule<typename X::shape_type, typename Y::shape_type, options>>;
    const Deduction deduction = matmul_rule(a.extents(), b.extents(), options);
    detail::require_product(deduction, a, b);
    auto c = Tensor<T, S, D>::with_extents(deduction.extents);
    Kernel<Matmul, D>::forward(
        detail::describe_product(a.extents(), a.strides(), b.extents(), b.strides(), options), a.data(),
        b.data(), c.data());
    if constexpr (any_tracked<X, Y>)
        return track<detail::MatmulNode<D, T>>(c, detail::save_factors(a, b, options));
    else
        return c;
}
template <MatmulOptions options = MatmulOptions{}, Argument A, Argument B>
    requires(MatmulRule<ShapeOfArgument<A>, ShapeOfArgument<B>, options>::deduction.fault == 1)
mismatch::matmul_inner_extents_differ<ShapeOfArgument<A>, ShapeOfArgument<B>> matmul(A&&, B&&);
template <MatmulOptions options = MatmulOptions{}, Argument A, Argument B>
    requires(MatmulRule<ShapeOfArgument<A>, ShapeOfArgument<B>, options>::deduction.fault == 2)
mismatch::matmul_batch_extents_differ<ShapeOfArgument<A>, ShapeOfArgument<B>> matmul(A&&, B&&);
template <MatmulOptions options = MatmulOptions{}, class A, class B>
    requires NamedExpression<A> NamedExpressionError<Matmul, A> matmul(A&&, B&&);
template <MatmulOptions options = MatmulOptions{}, class A, class B>
    requires(!NamedExpression<A> && NamedExpression<B>)
NamedExpressionError<Matmul, B> matmul(A&&, B&&);

}  // namespace tenon
