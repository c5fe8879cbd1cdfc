#pragma once

#include <concepts>
#include <type_traits>

#include <tenon/op/operation.hpp>

namespace tenon {

/// Row lookup: y[..., :] = weight[ids[...], :].
struct Embedding {};

namespace mismatch {
/// embedding(weight, ids): the weight is no [vocabulary, width], or the result's rank is too great.
template <class Weight, class Ids>
struct embedding_weight_is_not_a_matrix;
}  // namespace mismatch

template <class T>
concept TokenTensor = TensorLike<T> && std::integral<typename std::remove_cvref_t<T>::value_type> &&
    std::remove_cvref_t<T>::is_packed;

/// [vocabulary, width], [...] -> [..., width].
constexpr Deduction embedding_rule(const Extents& weight, Extents ids) {
    if (weight.rank != 2 || ids.rank >= max_rank) return {{}, 1};
    ids.append(weight[1]);
    return {ids};
}

template <class Weight, class Ids>
struct EmbeddingRule {
    static constexpr Deduction deduction = embedding_rule(Weight::codes, Ids::codes);
    static constexpr Extents extents = deduction.extents;
};

namespace detail {

template <class Device, class T, class Id>
struct EmbeddingNode : Node {
    Saved<T> weight;
    Storage ids_storage;
    const Id* ids;
    std::int64_t count;

    void backward() {
        if (!weight.slot) return;
        Kernel<Embedding, Device>::backward(weight.view.extents, ids, count, upstream_of<T, Device>(*this),
                                            contribute<T, Device>(*weight.slot));
    }
};

}  // namespace detail

/// The rows of `weight` [vocabulary, width] that `ids` name. Throws Error where an id is not below
/// `vocabulary`. `ids` must outlive the backward pass. Rows of StoredReal are floats.
template <Argument W, TokenTensor Ids>
    requires(EmbeddingRule<ShapeOfArgument<W>, typename Ids::shape_type>::deduction.ok())
auto embedding(W&& table, const Ids& ids) {
    const auto weight = evaluate(std::forward<W>(table));
    using X = std::remove_const_t<decltype(weight)>;
    using T = typename X::value_type;
    using D = typename X::device_type;
    using Row = std::conditional_t<std::same_as<T, StoredReal>, ComputeOf<T>, T>;
    using Id = typename Ids::value_type;
    static_assert(X::is_packed, "embedding takes a packed weight: pass contiguous(weight)");
    using S = ShapeOf<EmbeddingRule<typename X::shape_type, typename Ids::shape_type>>;
    auto y = Tensor<Row, S, D>::with_extents(embedding_rule(weight.extents(), ids.extents()).extents);
    Kernel<Embedding, D>::forward(weight.extents(), weight.data(), ids.data(), ids.size(), y.data());
    if constexpr (X::is_tracked)
        return track<detail::EmbeddingNode<D, T, Id>>(y, save(weight), ids.storage(), ids.data(), ids.size());
    else
        return y;
}
template <Argument W, TokenTensor Ids>
    requires(!EmbeddingRule<ShapeOfArgument<W>, typename Ids::shape_type>::deduction.ok())
mismatch::embedding_weight_is_not_a_matrix < ShapeOfArgument<W>,
typename Ids::shape_type > embedding(W&&, const Ids&);
template <class W, TokenTensor Ids>
    requires NamedExpression<W> NamedExpressionError<Embedding, W> embedding(W&&, const Ids&);

}  // namespace tenon
