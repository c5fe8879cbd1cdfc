#pragma once

#include <cstdint>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/memory.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/attention/cuda_arguments.cuh>
#include <tenon/op/attention/cuda_paths.cuh>

namespace tenon::cuda {

/// Attention's kernels for tiles of these widths: see `attend_in`.
template <int key_tile, int value_tile>
struct AttentionKernels {
    /// y is packed and overwritten, and so is log_sum_exp if it is not null.
    template <class T, class C>
    static void forward(const ArrayView<T>& q, const ArrayView<T>& k, const ArrayView<T>& v,
                        const AttentionOptions& options, const kernel::AttentionMasks& masks, T* y,
                        C* log_sum_exp) {
        const kernel::AttentionShape shape = shape_of(q, k, v);
        require_key_lengths(shape, masks);
        const AttentionForward<T> call{shape,
                                       options,
                                       masks,
                                       operand(q),
                                       operand(k),
                                       operand(v),
                                       packed(y, shape.query_length, shape.heads, shape.value_width),
                                       log_sum_exp};
        attend_in<key_tile, value_tile>(call);
    }

    /// Gradients are packed in the shapes of q, k and v; those that are null are not computed.
    template <class T, class C>
    static void backward(const ArrayView<T>& q, const ArrayView<T>& k, const ArrayView<T>& v,
                         const AttentionOptions& options, const kernel::AttentionMasks& masks, const T* y,
                         const C* log_sum_exp, const T* upstream, const Contribution<T>& to_q,
                         const Contribution<T>& to_k, const Contribution<T>& to_v) {
        const kernel::AttentionShape shape = shape_of(q, k, v);
        const AttentionBackward<T> call{shape,
                                        options,
                                        masks,
                                        operand(q),
                                        operand(k),
                                        operand(v),
                                        packed(y, shape.query_length, shape.heads, shape.value_width),
                                        packed(upstream, shape.query_length, shape.heads, shape.value_width),
                                        log_sum_exp,
                                        gradient(q, to_q),
                                        gradient(k, to_k),
                                        gradient(v, to_v)};
        attend_in<key_tile, value_tile>(call);
    }

private:
    template <class T>
    static kernel::AttentionShape shape_of(const ArrayView<T>& q, const ArrayView<T>& k,
                                           const ArrayView<T>& v) {
        return {q.extents[0], q.extents[2], k.extents[2], q.extents[1],
                k.extents[1], q.extents[3], v.extents[3]};
    }
    template <class T>
    static kernel::AttentionOperand<const T> operand(const ArrayView<T>& x) {
        return {x.data, x.strides[0], x.strides[1], x.strides[2]};
    }
    template <class P>
    static kernel::AttentionOperand<P> packed(P* data, std::int64_t times, std::int64_t heads,
                                              std::int64_t width) {
        return {data, times * heads * width, heads * width, width};
    }
    template <class T>
    static AttentionGradient<T> gradient(const ArrayView<T>& x, const Contribution<T>& to) {
        return {to, x.extents[1], x.extents[2], x.extents[3]};
    }
};

/// The tile of a width that a type states, -1 of one that it leaves open.
constexpr int tile_width_of(ExtentCode width) { return is_exact(width) ? tile_width(width) : -1; }

}  // namespace tenon::cuda

namespace tenon {

/// Elements of 16 bits are multiplied by tensor cores where widths are multiples of 8 up to 256, and operands
/// and their strides are aligned to 16 bytes. All else, slowly, as its formula reads.
template <>
struct Kernel<Attention, Cuda> {
    template <ExtentCode key_width, ExtentCode value_width>
    using For = cuda::AttentionKernels<cuda::tile_width_of(key_width), cuda::tile_width_of(value_width)>;
};

}  // namespace tenon
