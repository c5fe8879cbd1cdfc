#pragma once

#include <cstdint>

#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pack.cuh>

namespace tenon {
namespace cuda {

/// Packs first, then what is left one by one.
template <int N, class From, class To>
__global__ void accumulate_elements(const From* from, std::int64_t packs, std::int64_t count, To* to,
                                    bool accumulate) {
    using C = ComputeOf<To>;
    const auto add = [&](auto& values, std::int64_t at) {
        load(from + at, values);
        contribute(Contribution<To>{to, accumulate}, at, values);
    };
    const std::int64_t number = thread_number();
    if (number < packs) {
        C values[N];
        add(values, number * N);
    } else if (const std::int64_t at = packs * N + number - packs; at < count) {
        C value[1];
        add(value, at);
    }
}

}  // namespace cuda

template <>
struct Kernel<Accumulate, Cuda> {
    /// to (+)= from, each rounded once. Both are packed, and in the GPU's memory.
    template <class From, class To>
    static void run(const From* from, std::int64_t count, To* to, bool accumulate) {
        constexpr int n = 16 / (sizeof(From) < sizeof(To) ? sizeof(From) : sizeof(To)), threads = 256;
        const std::int64_t packs = cuda::is_aligned<n>(from) && cuda::is_aligned<n>(to) ? count / n : 0;
        cuda::launch(cuda::accumulate_elements<n, From, To>,
                     {cuda::blocks_for(packs + count - packs * n, threads, max_blocks), threads}, from, packs,
                     count, to, accumulate);
    }

private:
    static constexpr std::int64_t max_blocks = 0x7fffffff;
};

}  // namespace tenon
