#pragma once

#include <cstdint>

#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/reduce.cuh>

namespace tenon::cuda {

/// A warp's number in a launch of one dimension.
__device__ __forceinline__ std::int64_t warp_number() { return thread_number() / warp_size; }

/// The launch of a warp for each of so many.
inline Grid warp_grid(std::int64_t count) {
    constexpr int threads = 256;
    return {blocks_for(count, threads / warp_size, 0x7fffffff), threads};
}

}  // namespace tenon::cuda
