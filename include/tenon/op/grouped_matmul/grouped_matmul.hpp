#pragma once

#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/operation.hpp>

namespace tenon {

/// The products of groups of rows, each with a matrix of its group: y[r] = weight[g] x[r] for rows r of g.
struct GroupedMatmul {};

/// Where groups of rows begin: on a device, a multiple of so many. The GPU's tensor cores multiply so many
/// rows at once, and no two groups at once; what a group does not fill is to be zeros.
template <class Device>
inline constexpr int group_alignment = std::same_as<Device, Cpu> ? 1 : 64;

namespace mismatch {
/// grouped_matmul(x [rows, In], weight [groups, Out, In], begins): the In differ, or the ranks are others.
template <class X, class Weight>
struct grouped_matmul_inner_extents_differ;
/// grouped_matmul(x, weight [groups, Out, In], begins): begins are not [groups + 1].
template <class Weight, class Begins>
struct grouped_matmul_begins_are_not_one_more_than_groups;
}  // namespace mismatch

/// [rows, In], [groups, Out, In], [groups + 1] -> [rows, Out].
constexpr Deduction grouped_matmul_rule(const Extents& x, const Extents& weight, const Extents& begins) {
    if (x.rank != 2 || weight.rank != 3 || extents_conflict(x[1], weight[2])) return {{}, 1};
    if (begins.rank != 1 || (is_exact(weight[0]) && extents_conflict(begins[0], weight[0] + 1)))
        return {{}, 2};
    Deduction result;
    result.extents.append(x[0]);
    result.extents.append(weight[1]);
    return result;
}

template <class X, class Weight, class Begins>
struct GroupedMatmulRule {
    static constexpr Deduction deduction = grouped_matmul_rule(X::codes, Weight::codes, Begins::codes);
    static constexpr Extents extents = deduction.extents;
};

/// Group g has rows [begins[g], begins[g + 1]) of so many; rows of no group are at the front or at the end.
struct RowGroups {
    const std::int32_t* begins;  ///< [count + 1]
    int count, rows;
};

namespace detail {

template <class Device, class T>
struct GroupedMatmulNode : Node {
    Saved<T> x, weight;
    Storage begins;
    RowGroups groups;

    void backward() {
        const auto* const upstream = upstream_of<T, Device>(*this);
        const int out = weight.view.extents[1], in = weight.view.extents[2];
        if (x.slot)
            Kernel<GroupedMatmul, Device>::gradient_rows(groups, in, out, upstream, weight.view.data,
                                                         contribute<T, Device>(*x.slot));
        if (weight.slot)
            Kernel<GroupedMatmul, Device>::gradient_weight(groups, in, out, upstream, x.view.data,
                                                           contribute<T, Device>(*weight.slot));
    }
};

}  // namespace detail

/// Rows of x [rows, In], each by the matrix of its group, of weight [groups, Out, In]: [rows, Out]. Group g
/// has rows [begins[g], begins[g + 1]), which ascend in multiples of `group_alignment`; results of rows of no
/// group, and gradients of a weight whose group has no rows, are zero. One launch on a GPU, each way.
/// Throws ShapeError where extents known at run time differ, Error where begins do not ascend.
template <Argument X, Argument Weight, TensorLike Begins>
    requires(GroupedMatmulRule<ShapeOfArgument<X>, ShapeOfArgument<Weight>,
                               typename Begins::shape_type>::deduction.ok())
auto grouped_matmul(X&& rows, Weight&& matrices, const Begins& begins) {
    const auto x = evaluate(std::forward<X>(rows));
    const auto weight = evaluate(std::forward<Weight>(matrices));
    using A = std::remove_const_t<decltype(x)>;
    using B = std::remove_const_t<decltype(weight)>;
    using T = typename A::value_type;
    using D = typename A::device_type;
    static_assert(detail::are_factors<A, B>, "grouped_matmul: the element types differ");
    static_assert(std::same_as<typename Begins::value_type, std::int32_t> && Begins::is_packed,
                  "grouped_matmul: begins are packed 32-bit integers");
    static_assert(A::is_packed && B::is_packed, "grouped_matmul takes packed tensors: pass contiguous(x)");
    using S = ShapeOf<
        GroupedMatmulRule<typename A::shape_type, typename B::shape_type, typename Begins::shape_type>>;
    const Deduction deduction = grouped_matmul_rule(x.extents(), weight.extents(), begins.extents());
    if (deduction.fault == 1)
        throw_mismatch<mismatch::grouped_matmul_inner_extents_differ>(x.extents(), weight.extents());
    if (deduction.fault == 2)
        throw_mismatch<mismatch::grouped_matmul_begins_are_not_one_more_than_groups>(weight.extents(),
                                                                                     begins.extents());
    auto y = Tensor<T, S, D>::with_extents(deduction.extents);
    const RowGroups groups{begins.data(), weight.extents()[0], x.extents()[0]};
    Kernel<GroupedMatmul, D>::forward(groups, weight.extents()[2], weight.extents()[1], x.data(),
                                      weight.data(), y.data());
    if constexpr (any_tracked<A, B>)
        return track<detail::GroupedMatmulNode<D, T>>(y, save(x), save(weight), begins.storage(), groups);
    else
        return y;
}
template <Argument X, Argument Weight, TensorLike Begins>
    requires(GroupedMatmulRule<ShapeOfArgument<X>, ShapeOfArgument<Weight>,
                               typename Begins::shape_type>::deduction.fault == 1)
mismatch::grouped_matmul_inner_extents_differ<ShapeOfArgument<X>, ShapeOfArgument<Weight>> grouped_matmul(
    X&&, Weight&&, const Begins&);
template <Argument X, Argument Weight, TensorLike Begins>
    requires(GroupedMatmulRule<ShapeOfArgument<X>, ShapeOfArgument<Weight>,
                               typename Begins::shape_type>::deduction.fault == 2)
mismatch::grouped_matmul_begins_are_not_one_more_than_groups < ShapeOfArgument<Weight>,
typename Begins::shape_type > grouped_matmul(X&&, Weight&&, const Begins&);
template <class X, class Weight, TensorLike Begins>
    requires NamedExpression<X> NamedExpressionError<GroupedMatmul, X> grouped_matmul(X&&, Weight&&,
                                                                                      const Begins&);

}  // namespace tenon
