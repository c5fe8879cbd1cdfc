#pragma once

namespace tenon::cuda {

inline constexpr int warp_size = 32;

/// Combines the values of a warp's lanes, in a fixed order; all lanes get the result.
template <class T, class Combine>
__device__ __forceinline__ T reduce_warp(T value, Combine combine) {
#pragma unroll
    for (int distance = warp_size / 2; distance > 0; distance /= 2)
        value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

/// Combines the values of a block's threads, whole warps of them, in a fixed order; all threads get the
/// result. `scratch`: shared memory for one T a warp. It may be called again with the same.
template <class T, class Combine>
__device__ __forceinline__ T reduce_block(T value, Combine combine, T* scratch) {
    value = reduce_warp(value, combine);
    const int warps = static_cast<int>(blockDim.x) / warp_size;
    if (warps == 1) return value;
    const int warp = static_cast<int>(threadIdx.x) / warp_size,
              lane = static_cast<int>(threadIdx.x) % warp_size;
    __syncthreads();  // an earlier call's readers are done
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    T total = scratch[0];
    for (int i = 1; i < warps; ++i) total = combine(total, scratch[i]);
    return total;
}

struct Sum {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a + b;
    }
};

struct Maximum {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a > b ? a : b;
    }
};

}  // namespace tenon::cuda
