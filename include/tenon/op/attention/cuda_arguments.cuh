#pragma once

#include <cstdint>
#include <limits>

#include <tenon/core/layout.hpp>
#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/op/attention/key_range.hpp>
#include <tenon/op/attention/options.hpp>
#include <tenon/op/attention/score_rule.hpp>
#include <tenon/op/attention/shape.hpp>

namespace tenon::cuda {

template <class C>
inline constexpr C infinity = std::numeric_limits<C>::infinity();

/// The dynamic shared memory of attention's kernels.
__device__ inline unsigned char* attention_shared_memory() {
    extern __shared__ __align__(128) unsigned char attention_shared_bytes[];
    return attention_shared_bytes;
}

/// What attention's kernels read and write in the forward direction.
template <class T>
struct AttentionForward {
    using C = ComputeOf<T>;
    kernel::AttentionShape shape;
    AttentionOptions options;
    kernel::AttentionMasks masks;
    kernel::AttentionOperand<const T> queries, keys, values;
    kernel::AttentionOperand<T> out;
    C* log_sum_exp;  // [batch, heads, T], or null
};

/// A gradient, [batch, time, heads, width] and packed, that attention writes or adds to; wanted by nobody if
/// both pointers are null.
template <class G>
struct AttentionGradient {
    Contribution<G> to;
    std::int64_t times, heads, width;

    __host__ __device__ bool is_wanted() const { return to.data != nullptr || to.wide != nullptr; }
    __device__ std::int64_t at(std::int64_t batch, std::int64_t time, std::int64_t head) const {
        return ((batch * times + time) * heads + head) * width;
    }
};

/// What they read and write in the backward direction.
template <class T>
struct AttentionBackward {
    using C = ComputeOf<T>;
    kernel::AttentionShape shape;
    AttentionOptions options;
    kernel::AttentionMasks masks;
    kernel::AttentionOperand<const T> queries, keys, values, out, grad_out;
    const C* log_sum_exp;
    AttentionGradient<T> grad_queries, grad_keys, grad_values;
};

/// Finds lengths that no sequence can have. Attention itself takes lengths beyond the keys for all keys, and
/// negative ones for none.
template <int threads>
__global__ void check_key_lengths(const int* lengths, int batch, int key_length, Fault* fault,
                                  const char* expected) {
    for (int b = static_cast<int>(threadIdx.x); b < batch; b += threads)
        if (lengths[b] < 0 || lengths[b] > key_length)
            report_fault(fault, expected, key_length, lengths[b], b);
}

inline void require_key_lengths(const kernel::AttentionShape& shape, const kernel::AttentionMasks& masks) {
    if (masks.key_length == nullptr) return;
    launch(check_key_lengths<256>, {1, 256}, masks.key_length, static_cast<int>(shape.batch),
           static_cast<int>(shape.key_length), fault(), "attention: expected lengths of 0 to");
}

/// Which row of [batch, heads, times] this is.
struct AttentionRow {
    std::int64_t batch, head, time;

    __device__ AttentionRow(std::int64_t row, std::int64_t heads, std::int64_t times)
        : batch(row / times / heads), head(row / times % heads), time(row % times) {}
};

}  // namespace tenon::cuda
