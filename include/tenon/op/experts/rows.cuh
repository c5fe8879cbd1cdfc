#pragma once

#include <cstdint>
#include <type_traits>

#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/op/experts/rows.hpp>
#include <tenon/op/experts/warps.cuh>

namespace tenon {
namespace cuda {

/// A thread for each N elements of a row; `packs` of them are a row's. Returns whether there is one.
template <int N>
__device__ __forceinline__ bool find_pack(const Divisor& packs, std::int64_t rows, std::int64_t& row,
                                          std::int64_t& column) {
    row = thread_number();
    column = packs.divide(row) * N;
    return row < rows;
}

template <int N, class T>
__global__ void gather_token_rows(const RowPlaces p, const Divisor packs, const T* x, T* y) {
    std::int64_t row, column;
    if (!find_pack<N>(packs, p.rows, row, column)) return;
    const std::int32_t source = p.sources[row];
    Pack<T, N> pack{};
    if (source >= 0)
        pack = *reinterpret_cast<const Pack<T, N>*>(x + source / p.experts_per_token * p.width + column);
    *reinterpret_cast<Pack<T, N>*>(y + row * p.width + column) = pack;
}

/// The sum of a token's rows, each times what `factor(assignment)` says.
template <int N, class C, class T, class Factor>
__device__ __forceinline__ void sum_token_rows(const RowPlaces& p, std::int64_t token, std::int64_t column,
                                               const T* x, C (&sums)[N], const Factor& factor) {
    for (int i = 0; i < p.experts_per_token; ++i) {
        const std::int64_t assignment = token * p.experts_per_token + i;
        const std::int32_t slot = p.slots[assignment];
        if (slot < 0) continue;
        C values[N];
        load(x + slot * p.width + column, values);
        const C weight = factor(assignment);
#pragma unroll
        for (int j = 0; j < N; ++j) sums[j] += weight * values[j];
    }
}

template <int N, class G>
__global__ void gather_gradient(const RowPlaces p, const Divisor packs, const G* upstream,
                                const Contribution<G> gradient) {
    using C = ComputeOf<G>;
    std::int64_t token, column;
    if (!find_pack<N>(packs, p.tokens, token, column)) return;
    C sums[N] = {};
    sum_token_rows(p, token, column, upstream, sums, [](std::int64_t) { return C(1); });
    contribute(gradient, token * p.width + column, sums);
}

template <int N, class T, class C>
__global__ void combine_token_rows(const RowPlaces p, const Divisor packs, const C* weights, const T* x,
                                   T* y) {
    std::int64_t token, column;
    if (!find_pack<N>(packs, p.tokens, token, column)) return;
    C sums[N] = {};
    sum_token_rows(p, token, column, x, sums, [&](std::int64_t assignment) { return weights[assignment]; });
    store(sums, y + token * p.width + column);
}

template <int N, class C, class G>
__global__ void combine_rows_gradient(const RowPlaces p, const Divisor packs, const C* weights,
                                      const G* upstream, const Contribution<G> gradient) {
    std::int64_t row, column;
    if (!find_pack<N>(packs, p.rows, row, column)) return;
    const std::int32_t source = p.sources[row];
    C values[N] = {};
    if (source >= 0) {
        load(upstream + source / p.experts_per_token * p.width + column, values);
#pragma unroll
        for (int j = 0; j < N; ++j) values[j] *= weights[source];
    } else if (gradient.accumulate) {
        return;
    }
    contribute(gradient, row * p.width + column, values);
}

/// A warp for each assignment.
template <int N, class T, class C, class G>
__global__ void combine_weights_gradient(const RowPlaces p, const T* x, const G* upstream,
                                         const Contribution<C> gradient) {
    const std::int64_t assignment = warp_number();
    if (assignment >= std::int64_t{p.tokens} * p.experts_per_token) return;
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    const std::int32_t slot = p.slots[assignment];
    C sum = 0;
    if (slot >= 0) {
        const T* const row = x + slot * p.width;
        const G* const token = upstream + assignment / p.experts_per_token * p.width;
        for (std::int64_t at = lane * N; at < p.width; at += warp_size * N) {
            C a[N], b[N];
            load(row + at, a);
            load(token + at, b);
#pragma unroll
            for (int j = 0; j < N; ++j) sum += a[j] * b[j];
        }
        sum = reduce_warp(sum, Sum());
    }
    if (lane == 0) contribute(gradient, assignment, sum);
}

/// A thread for each N elements; the last ones go one by one.
template <int N, class From, class To>
__global__ void widen_elements(const From* from, std::int64_t count, const Contribution<To> to) {
    using C = ComputeOf<To>;
    const std::int64_t first = thread_number() * N;
    if (first >= count) return;
    if (first + N <= count) {
        C values[N];
        load(from + first, values);
        contribute(to, first, values);
    } else {
        for (std::int64_t i = first; i < count; ++i) contribute(to, i, convert<C>(from[i]));
    }
}

/// Runs a kernel of packs of T for so many rows, in packs of 16 bytes if they fit.
template <class T, class Run>
void run_in_packs(bool fits, const RowPlaces& p, const Run& run) {
    constexpr int n = 16 / sizeof(T);
    if (fits && p.width % n == 0)
        run(std::integral_constant<int, n>());
    else
        run(std::integral_constant<int, 1>());
}

/// The launch of a thread for each pack of `each` elements of so many rows.
inline Grid pack_grid(std::int64_t rows, std::int64_t width, int each) {
    constexpr int threads = 256;
    return {blocks_for(rows * (width / each), threads, 0x7fffffff), threads};
}
}  // namespace cuda

template <>
struct Kernel<GatherRows, Cuda> {
    template <class T>
    static void forward(const RowPlaces& p, const T* x, T* y) {
        if (p.width == 0) return;
        constexpr int n = 16 / sizeof(T);
        cuda::run_in_packs<T>(cuda::is_aligned<n>(x) && cuda::is_aligned<n>(y), p, [&](auto each) {
            cuda::launch(cuda::gather_token_rows<each(), T>, cuda::pack_grid(p.rows, p.width, each()), p,
                         cuda::Divisor(p.width / each()), x, y);
        });
    }
    template <class G>
    static void backward(const RowPlaces& p, const G* upstream, const Contribution<G>& gradient) {
        if (p.width == 0) return;
        cuda::run_in_packs<G>(true, p, [&](auto each) {
            cuda::launch(cuda::gather_gradient<each(), G>, cuda::pack_grid(p.tokens, p.width, each()), p,
                         cuda::Divisor(p.width / each()), upstream, gradient);
        });
    }
};

template <>
struct Kernel<CombineRows, Cuda> {
    template <class T, class C>
    static void forward(const RowPlaces& p, const C* weights, const T* x, T* y) {
        if (p.width == 0) return;
        constexpr int n = 16 / sizeof(T);
        cuda::run_in_packs<T>(cuda::is_aligned<n>(x) && cuda::is_aligned<n>(y), p, [&](auto each) {
            cuda::launch(cuda::combine_token_rows<each(), T, C>, cuda::pack_grid(p.tokens, p.width, each()),
                         p, cuda::Divisor(p.width / each()), weights, x, y);
        });
    }
    template <class C, class G>
    static void gradient_rows(const RowPlaces& p, const C* weights, const G* upstream,
                              const Contribution<G>& gradient) {
        if (p.width == 0) return;
        cuda::run_in_packs<G>(true, p, [&](auto each) {
            cuda::launch(cuda::combine_rows_gradient<each(), C, G>, cuda::pack_grid(p.rows, p.width, each()),
                         p, cuda::Divisor(p.width / each()), weights, upstream, gradient);
        });
    }
    template <class T, class C, class G>
    static void gradient_weights(const RowPlaces& p, const T* x, const G* upstream,
                                 const Contribution<C>& gradient) {
        constexpr int n = 16 / sizeof(T);
        cuda::run_in_packs<T>(cuda::is_aligned<n>(x), p, [&](auto each) {
            cuda::launch(cuda::combine_weights_gradient<each(), T, C, G>,
                         cuda::warp_grid(std::int64_t{p.tokens} * p.experts_per_token), p, x, upstream,
                         gradient);
        });
    }
};

template <>
struct Kernel<Widen, Cuda> {
    template <class From, class To>
    static void run(const From* from, std::int64_t count, const Contribution<To>& to) {
        constexpr int threads = 256;
        const auto launch = [&](auto* widen, int each) {
            cuda::launch(widen, {cuda::blocks_for(count, std::int64_t{each} * threads, 0x7fffffff), threads},
                         from, count, to);
        };
        constexpr int n = 4;
        if (cuda::is_aligned<n>(from) && cuda::is_aligned<n>(to.data) &&
            (is_half<To> || cuda::is_aligned<n>(to.wide)))
            launch(cuda::widen_elements<n, From, To>, n);
        else
            launch(cuda::widen_elements<1, From, To>, 1);
    }
};

}  // namespace tenon
