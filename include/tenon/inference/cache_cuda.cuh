#pragma once

#include <cstdint>

#include <tenon/cuda/launch.cuh>
#include <tenon/inference/cache.hpp>

namespace tenon {
namespace cuda {

template <class T>
__global__ void append_to_cache(const T* rows, int capacity, std::int64_t width, const int* position,
                                T* caches) {
    const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x, b = blockIdx.y;
    if (i < width) caches[(b * capacity + *position) * width + i] = rows[b * width + i];
}

/// One block: `length` is read by all of it before it is written.
template <int threads>
__global__ void __launch_bounds__(threads) move_cache_place(const CachePlace place, int tokens) {
    const int stored = *place.length + tokens;
    __syncthreads();
    if (threadIdx.x == 0) *place.length = stored;
    for (int b = static_cast<int>(threadIdx.x); b < place.batch; b += threads) place.set_row(b, stored);
}

}  // namespace cuda

template <>
struct Kernel<CacheAppend, Cuda> {
    /// Row *position of each of `batch` caches, `capacity` rows of `width` elements, becomes row b of `rows`.
    template <class T>
    static void run(const T* rows, int batch, int capacity, std::int64_t width, const int* position,
                    T* caches) {
        constexpr int threads = 256;
        cuda::launch(cuda::append_to_cache<T>,
                     {dim3(cuda::blocks_for(width, threads), static_cast<unsigned>(batch)), threads}, rows,
                     capacity, width, position, caches);
    }
};

template <>
struct Kernel<CachePlace, Cuda> {
    /// Moves on by as many tokens, and writes what follows from `length`.
    static void run(const CachePlace& place, int tokens) {
        constexpr int threads = 128;
        cuda::launch(cuda::move_cache_place<threads>, {1, threads}, place, tokens);
    }
};

}  // namespace tenon
