#pragma once

#include <cstdint>

#include <tenon/cuda/tile.cuh>
#include <tenon/op/attention/cuda_arguments.cuh>

/// What the tiled kernels of both directions know of a warp's scores: which of them count, and how they are
/// made.
namespace tenon::cuda {

inline constexpr float log2_of_e = 1.44269504088896f, log_of_2 = 0.693147180559945f;

/// The rows and columns of a block of `Sums` that a lane holds.
__device__ __forceinline__ int row_of_lane() { return static_cast<int>(threadIdx.x) % warp_size / 4; }
__device__ __forceinline__ int column_of_lane() { return static_cast<int>(threadIdx.x) % 4 * 2; }

/// Keys [begin, end).
struct Keys {
    int begin, end;

    __device__ bool empty() const { return begin >= end; }
    __device__ Keys hull(Keys other) const {
        if (empty()) return other;
        if (other.empty()) return *this;
        return {begin < other.begin ? begin : other.begin, end > other.end ? end : other.end};
    }
    __device__ bool holds(int key) const { return begin <= key && key < end; }
};

__device__ inline Keys keys_of_query(const kernel::AttentionShape& shape, const AttentionOptions& options,
                                     const kernel::AttentionMasks& masks, int batch, int query) {
    const tenon::detail::KeyRange range = tenon::detail::key_range(shape, options, masks, batch, query);
    return {static_cast<int>(range.begin), static_cast<int>(range.end)};
}

/// The keys that each of a warp's queries attends to: of query number i in lane i (and again in lane 16 + i
/// where the warp has 16), and the keys of `any` and of `all`.
struct WarpKeys {
    Keys own, any, all;

    __device__ WarpKeys(const kernel::AttentionShape& shape, const AttentionOptions& options,
                        const kernel::AttentionMasks& masks, int batch, int first_query, int queries) {
        constexpr int none = 0x7fffffff;
        const int query = first_query + static_cast<int>(threadIdx.x) % warp_size % queries;
        const bool exists = query < shape.query_length;
        own = exists ? keys_of_query(shape, options, masks, batch, query) : Keys{0, 0};
        any.begin = least(own.empty() ? none : own.begin);
        any.end = -least(own.empty() ? 0 : -own.end);
        all.begin = -least(exists ? -own.begin : 0);
        all.end = least(exists ? own.end : none);
    }

    /// Those of query number i; all lanes of the warp call this.
    __device__ Keys of(int i) const {
        return {__shfl_sync(0xffffffffu, own.begin, i), __shfl_sync(0xffffffffu, own.end, i)};
    }
    /// Those that any query of the block's warps attends to; all threads call this, once.
    template <int warps>
    __device__ Keys any_of_block() const {
        __shared__ Keys of_warps[warps];
        const int thread = static_cast<int>(threadIdx.x);
        if (thread % warp_size == 0) of_warps[thread / warp_size] = any;
        __syncthreads();
        Keys all_warps = of_warps[0];
#pragma unroll
        for (int i = 1; i < warps; ++i) all_warps = all_warps.hull(of_warps[i]);
        return all_warps;
    }
    __device__ bool any_in(int begin, int end) const { return any.begin < end && begin < any.end; }
    __device__ bool all_of(int begin, int end) const { return all.begin <= begin && end <= all.end; }

private:
    __device__ static int least(int value) {
        return reduce_warp(value, [](int a, int b) { return a < b ? a : b; });
    }
};

}  // namespace tenon::cuda
