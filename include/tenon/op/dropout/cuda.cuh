#pragma once

#include <cstdint>

#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/op/dropout/dropout.hpp>

namespace tenon {
namespace cuda {

/// A thread for each N elements, which N / 4 blocks of random words decide on. The last ones go one by one.
template <int N, class T, class To>
__global__ void drop_elements(const T* from, std::int64_t count, const Dropout options,
                              std::uint32_t threshold, ComputeOf<T> scale, bool in_packs,
                              const Contribution<To> to) {
    using C = ComputeOf<T>;
    const std::int64_t first = thread_number() * N;
    if (first >= count) return;
    const Philox random(options.seed, options.stream_now());
    C factor[N];
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        const Philox::Block block = random(static_cast<std::uint64_t>(first + i) / 4);
#pragma unroll
        for (int j = 0; j < 4; ++j) factor[i + j] = block.word[j] >= threshold ? scale : C(0);
    }
    if (in_packs && first + N <= count) {
        C values[N];
        load(from + first, values);
#pragma unroll
        for (int i = 0; i < N; ++i) values[i] *= factor[i];
        contribute(to, first, values);
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i)
            if (first + i < count) contribute(to, first + i, convert<C>(from[first + i]) * factor[i]);
    }
}

}  // namespace cuda

template <>
struct Kernel<Dropout, Cuda> {
    /// to (+)= from, elements dropped or scaled. A NaN or an infinity that is dropped becomes NaN, not zero.
    template <class T, class To>
    static void run(const T* from, std::int64_t count, const Dropout& options, const Contribution<To>& to) {
        constexpr int n = sizeof(T) == 2 ? 8 : 4, threads = 256;
        const bool in_packs = cuda::is_aligned<n>(from) && cuda::is_aligned<n>(to.data);
        cuda::launch(cuda::drop_elements<n, T, To>,
                     {cuda::blocks_for(count, std::int64_t{n} * threads, count), threads}, from, count,
                     options, options.threshold(), 1 / (1 - options.probability), in_packs, to);
    }
};

}  // namespace tenon
