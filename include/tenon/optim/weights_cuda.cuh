#pragma once

#include <cstdint>

#include <tenon/cuda/pack.cuh>
#include <tenon/optim/weights.hpp>

namespace tenon::cuda {

/// N weights from `at` on.
template <class C, int N, class T, class Master>
__device__ __forceinline__ void load_weights(const Weights<T, Master>& weights, std::int64_t at, C (&p)[N]) {
    if constexpr (Weights<T, Master>::has_master)
        load(weights.master + at, p);
    else
        load(weights.values + at, p);
}

/// Writes N weights from `at` on. With stochastic rounding N divides its groups, and `at` is a multiple of N.
template <class C, int N, class T, class Master>
__device__ __forceinline__ void store_weights(const C (&p)[N], const Weights<T, Master>& weights,
                                              std::int64_t at) {
    if constexpr (Weights<T, Master>::is_stochastic) {
        static_assert(rounding_group % N == 0);
        const auto block =
            Philox(Seed{weights.seed}, weights.stream)(static_cast<std::uint64_t>(at / rounding_group));
        const int first = static_cast<int>(at % rounding_group);
        Pack<T, N> pack;
#pragma unroll
        for (int i = 0; i < N; ++i)
            pack.element[i] =
                round_stochastically(p[i], rounding_bits(block, N == rounding_group ? i : first + i));
        *reinterpret_cast<Pack<T, N>*>(weights.values + at) = pack;
    } else {
        if constexpr (Weights<T, Master>::has_master) {
            store(p, weights.master + at);
            if (!weights.values) return;
        }
        store(p, weights.values + at);
    }
}

}  // namespace tenon::cuda
