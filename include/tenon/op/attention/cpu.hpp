#pragma once

#include <concepts>
#include <string>

#include <tenon/core/workspace.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/attention/tiled.hpp>
#include <tenon/op/computed.hpp>

namespace tenon {

/// The tiles compute in one type: operands of half types are converted to it first, and the result is rounded
/// once, at the end.
template <>
struct Kernel<Attention, Cpu> {
    /// One kernel serves all widths.
    template <ExtentCode key_width, ExtentCode value_width>
    using For = Kernel;

    /// y is packed and overwritten, and so is log_sum_exp if it is not null.
    template <class T, class C>
    static void forward(const ArrayView<T>& q, const ArrayView<T>& k, const ArrayView<T>& v,
                        const AttentionOptions& options, const kernel::AttentionMasks& masks, T* y,
                        C* log_sum_exp) {
        const kernel::AttentionShape shape = shape_of(q, k, v);
        require_lengths(shape, masks);
        const std::int64_t count = shape.batch * shape.query_length * shape.heads * shape.value_width;
        Workspace scratch;
        C* out;
        if constexpr (std::same_as<T, C>)
            out = y;
        else
            out = scratch.take<C>(static_cast<std::size_t>(count));
        kernel::attention_forward<C>(
            shape, options, operand(kernel::computed<C>(q, scratch)),
            operand(kernel::computed<C>(k, scratch)), operand(kernel::computed<C>(v, scratch)), masks,
            packed(out, shape.query_length, shape.heads, shape.value_width), log_sum_exp);
        if constexpr (!std::same_as<T, C>) kernel::convert_all<C>(out, count, y);
    }

    /// Gradients are packed in the shapes of q, k and v. All three are computed; those not wanted (null) go
    /// to scratch.
    template <class T, class C>
    static void backward(const ArrayView<T>& q, const ArrayView<T>& k, const ArrayView<T>& v,
                         const AttentionOptions& options, const kernel::AttentionMasks& masks, const T* y,
                         const C* log_sum_exp, const C* upstream, Contribution<C> to_q, Contribution<C> to_k,
                         Contribution<C> to_v) {
        const kernel::AttentionShape shape = shape_of(q, k, v);
        const std::int64_t count = shape.batch * shape.query_length * shape.heads * shape.value_width;
        Workspace scratch;
        auto gradient = [&](const ArrayView<T>& x, Contribution<C> to) {
            C* data = to.data ? to.data : scratch.take<C>(static_cast<std::size_t>(x.extents.count()));
            return kernel::AttentionGradient<C>{packed(data, x.extents[1], x.extents[2], x.extents[3]),
                                                to.data && to.accumulate};
        };
        const kernel::AttentionGradient<C> gradient_q = gradient(q, to_q), gradient_k = gradient(k, to_k),
                                           gradient_v = gradient(v, to_v);
        kernel::attention_backward<C>(
            shape, options, operand(kernel::computed<C>(q, scratch)),
            operand(kernel::computed<C>(k, scratch)), operand(kernel::computed<C>(v, scratch)), masks,
            packed(kernel::computed<C>(y, count, scratch), shape.query_length, shape.heads,
                   shape.value_width),
            log_sum_exp, packed(upstream, shape.query_length, shape.heads, shape.value_width), gradient_q,
            gradient_k, gradient_v);
    }

private:
    static void require_lengths(const kernel::AttentionShape& shape, const kernel::AttentionMasks& masks) {
        for (std::int64_t b = 0; b < shape.batch && masks.key_length != nullptr; ++b) {
            const int length = masks.key_length[b];
            if (length < 0 || length > shape.key_length)
                throw Error("attention: expected lengths of 0 to " + std::to_string(shape.key_length) +
                            " keys, got " + std::to_string(length) + " for sequence " + std::to_string(b));
        }
    }
    template <class T>
    static kernel::AttentionShape shape_of(const ArrayView<T>& q, const ArrayView<T>& k,
                                           const ArrayView<T>& v) {
        return {q.extents[0], q.extents[2], k.extents[2], q.extents[1],
                k.extents[1], q.extents[3], v.extents[3]};
    }
    template <class C>
    static kernel::AttentionOperand<const C> operand(const ArrayView<C>& x) {
        return {x.data, x.strides[0], x.strides[1], x.strides[2]};
    }
    template <class P>
    static kernel::AttentionOperand<P> packed(P* data, std::int64_t time, std::int64_t heads,
                                              std::int64_t width) {
        return {data, time * heads * width, heads * width, width};
    }
};

}  // namespace tenon
