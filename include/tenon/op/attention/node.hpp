#pragma once

#include <concepts>

#include <tenon/core/error.hpp>
#include <tenon/op/attention/masks.hpp>
#include <tenon/op/attention/options.hpp>
#include <tenon/op/attention/rule.hpp>
#include <tenon/op/distinct_contributions.hpp>
#include <tenon/op/operation.hpp>

namespace tenon {

/// Names the operation where kernels are declared.
struct Attention {};

namespace detail {

/// [batch, time, width] as one head.
template <class T>
ArrayView<T> with_head_axis(const ArrayView<T>& x) {
    if (x.extents.rank == 4) return x;
    ArrayView<T> heads{x.data, with_head_axis(x.extents), x.strides};
    heads.strides[2] = heads.strides[3] = x.strides[2];
    return heads;
}

/// Kernels: those of a device, for what they need to know of the widths at compile time.
template <class Device, class Kernels, class T>
struct AttentionNode : Node {
    Saved<T> queries, keys, values;
    AttentionOptions options;
    HeldMasks held;
    Storage result, log_sum_exp;

    void backward() {
        using C = ComputeOf<T>;
        DistinctContributions<T, Device, 3> contributions;
        const auto to_queries = contributions.to(queries.slot), to_keys = contributions.to(keys.slot),
                   to_values = contributions.to(values.slot);
        Kernels::backward(with_head_axis(queries.view), with_head_axis(keys.view),
                          with_head_axis(values.view), options, held.masks,
                          static_cast<const T*>(result.data()), static_cast<const C*>(log_sum_exp.data()),
                          upstream_of<T, Device>(*this), to_queries, to_keys, to_values);
        contributions.finish();
    }
};

/// A document's end is not known, only the next one's start: it is the causal mask that keeps that out.
inline void require_causal_documents(const AttentionOptions& options, const kernel::AttentionMasks& masks) {
    if (masks.document_start != nullptr && !options.causal && options.window <= 0)
        throw Error(
            "attention: expected causal attention where documents are given, as only their starts are, got "
            ".causal = false");
}

/// `log_sum_exp_out`: where it goes, or null; a node keeps its own.
template <TensorLike Q, TensorLike K, TensorLike V>
auto attention(const Q& given_q, const K& given_k, const V& given_v, const AttentionOptions& options,
               const HeldMasks& held, ComputeOf<typename Q::value_type>* log_sum_exp_out) {
    using T = typename Q::value_type;
    using D = typename Q::device_type;
    using C = ComputeOf<T>;
    static_assert(std::same_as<T, typename K::value_type> && std::same_as<T, typename V::value_type>,
                  "attention: the element types differ");
    require_causal_documents(options, held.masks);
    const Q q = with_dense_last_axis(given_q);
    const K k = with_dense_last_axis(given_k);
    const V v = with_dense_last_axis(given_v);
    using S = ShapeOf<AttentionRule<typename Q::shape_type, typename K::shape_type, typename V::shape_type>>;
    auto y = Tensor<T, S, D>::with_extents(attention_rule(q.extents(), k.extents(), v.extents()).extents);
    Storage log_sum_exp;
    if (any_tracked<Q, K, V> && !log_sum_exp_out)
        log_sum_exp = Storage(Memory<D>::allocate(
            static_cast<std::size_t>(log_sum_exp_extents(q.extents()).count()) * sizeof(C)));
    C* const sums = log_sum_exp_out ? log_sum_exp_out : static_cast<C*>(log_sum_exp.data());
    constexpr ExtentCode key_width =
        refine_extent(Q::shape_type::codes.from_end(0), K::shape_type::codes.from_end(0));
    using Kernels = typename Kernel<Attention, D>::template For<key_width, V::shape_type::codes.from_end(0)>;
    Kernels::forward(with_head_axis(q.view()), with_head_axis(k.view()), with_head_axis(v.view()), options,
                     held.masks, y.data(), sums);
    if constexpr (any_tracked<Q, K, V>)
        return track<AttentionNode<D, Kernels, T>>(y, save(q), save(k), save(v), options, held, y.storage(),
                                                   log_sum_exp);
    else
        return y;
}

}  // namespace detail
}  // namespace tenon
