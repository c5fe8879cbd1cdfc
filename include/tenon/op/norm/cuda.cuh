#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/cuda/async_copy.cuh>
#include <tenon/cuda/column_sums.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/op/norm/norm.hpp>

namespace tenon {
namespace cuda::norm {

template <class T>
inline constexpr int packet = 16 / static_cast<int>(sizeof(T));

/// Sums N numbers over the threads of a row: a warp, or several. Where a block has several such rows, each
/// meets at a barrier of its own; a kernel may use all 16 then. `scratch`: shared memory for N numbers a
/// warp; not that of the last call.
template <bool meets_apart, int N, class C>
__device__ __forceinline__ void sum_over_row(C (&values)[N], C* scratch) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = reduce_warp(values[i], Sum{});
    const int warps = static_cast<int>(blockDim.x) / warp_size;
    if (warps == 1) return;
    C* const own = scratch + static_cast<int>(threadIdx.y) * warps * N;
    if (threadIdx.x % warp_size == 0)
#pragma unroll
        for (int i = 0; i < N; ++i) own[static_cast<int>(threadIdx.x) / warp_size * N + i] = values[i];
    if constexpr (!meets_apart)
        __syncthreads();
    else
        asm volatile("bar.sync %0, %1;" ::"r"(threadIdx.y + 1), "r"(blockDim.x) : "memory");
#pragma unroll
    for (int i = 0; i < N; ++i) {
        values[i] = own[i];
        for (int warp = 1; warp < warps; ++warp) values[i] += own[warp * N + i];
    }
}

inline constexpr int turns = 4;  // packets of a row that a thread keeps in registers

/// Row blockIdx.x * blockDim.y + threadIdx.y, whose packets are aligned and fit into its threads' registers.
/// `mean` and `inverse`, of each row, may be null.
template <bool centered, class T, class Weight, class C>
__global__ void __launch_bounds__(1024)
    forward_kernel(const __grid_constant__ tenon::detail::NormInputs<T, Weight> in, T* y, C* mean,
                   C* inverse) {
    constexpr int W = packet<T>;
    __shared__ C scratch[2][warp_size];
    const std::int64_t row = std::int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= in.rows) return;  // with all threads of the row
    const int width = static_cast<int>(in.width), step = static_cast<int>(blockDim.x) * W;
    const int first = static_cast<int>(threadIdx.x) * W;
    PackBits<T, W> kept[turns];
#pragma unroll
    for (int turn = 0; turn < turns; ++turn)
        if (const int at = first + turn * step; at < width)
            kept[turn] = load_bits<W>(in.x + row * width + at);
    const auto each_packet = [&](const auto& visit) {
#pragma unroll
        for (int turn = 0; turn < turns; ++turn)
            if (const int at = first + turn * step; at < width) {
                C values[W];
                unpack_bits<T>(kept[turn], values);
                visit(at, values);
            }
    };
    const C share = C(1) / static_cast<C>(width);
    C center(0), total[1] = {}, squares[1] = {};
    if constexpr (centered) {
        each_packet([&](int, const C(&v)[W]) {
#pragma unroll
            for (int lane = 0; lane < W; ++lane) total[0] += v[lane];
        });
        sum_over_row<false>(total, scratch[0]);
        center = total[0] * share;
    }
    each_packet([&](int, const C(&v)[W]) {
#pragma unroll
        for (int lane = 0; lane < W; ++lane) squares[0] += (v[lane] - center) * (v[lane] - center);
    });
    sum_over_row<false>(squares, scratch[1]);
    const C scale = C(1) / sqrt(squares[0] * share + static_cast<C>(in.epsilon));
    each_packet([&](int at, C(&v)[W]) {
        C gain[W], bias[W];
        load(in.gain + at, gain);
        if (in.bias) load(in.bias + at, bias);
#pragma unroll
        for (int lane = 0; lane < W; ++lane) {
            v[lane] = (v[lane] - center) * scale * gain[lane];
            if (in.bias) v[lane] += bias[lane];
        }
        store(v, y + row * width + at);
    });
    if (mean && threadIdx.x == 0) {
        mean[row] = center;
        inverse[row] = scale;
    }
}

/// The same for rows of any width and alignment, one block a row.
template <bool centered, class T, class Weight, class C>
__global__ void __launch_bounds__(1024)
    any_forward_kernel(const __grid_constant__ tenon::detail::NormInputs<T, Weight> in, T* y, C* mean,
                       C* inverse) {
    __shared__ C scratch[2][warp_size];
    const std::int64_t width = in.width, begin = blockIdx.x * width;
    C center(0), total[1] = {C(0)}, squares[1] = {C(0)};
    if constexpr (centered) {
        for (std::int64_t at = threadIdx.x; at < width; at += blockDim.x)
            total[0] += convert<C>(in.x[begin + at]);
        sum_over_row<false>(total, scratch[0]);
        center = total[0] / static_cast<C>(width);
    }
    for (std::int64_t at = threadIdx.x; at < width; at += blockDim.x) {
        const C v = convert<C>(in.x[begin + at]) - center;
        squares[0] += v * v;
    }
    sum_over_row<false>(squares, scratch[1]);
    const C scale = C(1) / sqrt(squares[0] / static_cast<C>(width) + static_cast<C>(in.epsilon));
    for (std::int64_t at = threadIdx.x; at < width; at += blockDim.x) {
        C v = (convert<C>(in.x[begin + at]) - center) * scale * convert<C>(in.gain[at]);
        if (in.bias) v += convert<C>(in.bias[at]);
        y[begin + at] = rounded<T>(v);
    }
    if (mean && threadIdx.x == 0) {
        mean[blockIdx.x] = center;
        inverse[blockIdx.x] = scale;
    }
}

inline constexpr int summed_turns = 2;  // packets of a row for whose columns a thread keeps sums, too
inline constexpr int most_summing_threads = 768;  // so that three blocks of 256 have their registers, too

/// Adds up what the rows of a block have for each column, one after the other. A lane's sums lie side by side
/// over the threads of shared memory.
template <class C, int W>
__device__ __forceinline__ void sum_rows_of_block(const C (&own)[summed_turns][W], C* sums, int width,
                                                  C* to) {
    const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
    for (int y = 0; y < static_cast<int>(blockDim.y); ++y) {
        if (static_cast<int>(threadIdx.y) == y) {
#pragma unroll
            for (int turn = 0; turn < summed_turns; ++turn)
#pragma unroll
                for (int lane = 0; lane < W; ++lane) {
                    C& sum = sums[(turn * W + lane) * threads + thread];
                    sum = y == 0 ? own[turn][lane] : sum + own[turn][lane];
                }
        }
        __syncthreads();
    }
    if (threadIdx.y == 0) {
#pragma unroll
        for (int turn = 0; turn < summed_turns; ++turn)
#pragma unroll
            for (int lane = 0; lane < W; ++lane) {
                const int at = (thread + turn * threads) * W + lane;
                if (at < width) to[at] = sums[(turn * W + lane) * threads + thread];
            }
    }
    __syncthreads();
}

/// dx = scale (u - mean u - x̂ mean(u x̂)) with u = upstream · gain, x̂ = (x - mean) scale; without the second
/// term where rows are not centered. Each block takes every gridDim.x-th group of rows, and leaves its part
/// of the gradients of gain and bias in parts[blockIdx.x], [2, width]. For rows that fit into the registers
/// of their threads, each packet aligned.
template <bool centered, class T, class Weight, class G, class C>
__global__ void __launch_bounds__(most_summing_threads)
    backward_kernel(const __grid_constant__ tenon::detail::NormInputs<T, Weight> in, const C* mean,
                    const C* inverse, const G* upstream, const Contribution<G> to, C* parts) {
    constexpr int W = packet<T>;
    __shared__ C scratch[2][2 * warp_size];
    extern __shared__ __align__(16) unsigned char dynamic[];
    const int width = static_cast<int>(in.width), step = static_cast<int>(blockDim.x) * W;
    const int first = static_cast<int>(threadIdx.x) * W;
    const int threads = static_cast<int>(blockDim.x * blockDim.y),
              thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
    // Stage s, stream i, turn t of a thread: neighbours in neighbouring threads.
    auto* const staged = reinterpret_cast<uint4*>(dynamic);
    const auto place = [&](int stage, int stream, int turn) {
        return staged + ((stage * 3 + stream) * summed_turns + turn) * threads + thread;
    };
    const bool writes = to.data || to.wide, adds = writes && to.accumulate && to.data;
    const auto ask = [&](std::int64_t row, int stage) {
        if (row < in.rows) {
#pragma unroll
            for (int turn = 0; turn < summed_turns; ++turn) {
                const int at = first + turn * step;
                if (at >= width) continue;
                copy_async(shared_address(place(stage, 0, turn)), in.x + row * width + at, true);
                copy_async(shared_address(place(stage, 1, turn)), upstream + row * width + at, true);
                if (adds) copy_async(shared_address(place(stage, 2, turn)), to.data + row * width + at, true);
            }
        }
        commit_copies();
    };
    const auto get = [&](int stage, int stream, int turn, C(&values)[W]) {
        unpack(__builtin_bit_cast(Pack<T, W>, *place(stage, stream, turn)), values);
    };

    const C share = C(1) / static_cast<C>(width);
    C gain_sum[summed_turns][W] = {}, bias_sum[summed_turns][W] = {};
    const std::int64_t rows_step = std::int64_t(gridDim.x) * blockDim.y;
    std::int64_t row = std::int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
    ask(row, 0);
    for (int stage = 0; row < in.rows; row += rows_step, stage ^= 1) {
        ask(row + rows_step, stage ^ 1);
        const C center = centered ? mean[row] : C(0), scale = inverse[row];
        wait_copies<1>();
        C sums[centered ? 2 : 1] = {};  // of u x̂, and of u
#pragma unroll
        for (int turn = 0; turn < summed_turns; ++turn) {
            const int at = first + turn * step;
            if (at >= width) continue;
            C xs[W], us[W], gain[W];
            get(stage, 0, turn, xs);
            get(stage, 1, turn, us);
            load(in.gain + at, gain);
#pragma unroll
            for (int lane = 0; lane < W; ++lane) {
                const C normal = (xs[lane] - center) * scale;
                sums[0] += us[lane] * gain[lane] * normal;
                if constexpr (centered) sums[1] += us[lane] * gain[lane];
                gain_sum[turn][lane] += us[lane] * normal;
                if constexpr (centered) bias_sum[turn][lane] += us[lane];
            }
        }
        sum_over_row<true>(sums, scratch[stage]);
        const C mean_ux = scale * sums[0] * share,
                mean_u = centered ? scale * sums[centered ? 1 : 0] * share : C(0);
        if (!writes) continue;
#pragma unroll
        for (int turn = 0; turn < summed_turns; ++turn) {
            const int at = first + turn * step;
            if (at >= width) continue;
            C xs[W], us[W], gain[W];
            get(stage, 0, turn, xs);
            get(stage, 1, turn, us);
            load(in.gain + at, gain);
#pragma unroll
            for (int lane = 0; lane < W; ++lane)
                us[lane] = scale * (us[lane] * gain[lane]) - mean_u - (xs[lane] - center) * scale * mean_ux;
            if (adds) {
                get(stage, 2, turn, xs);
#pragma unroll
                for (int lane = 0; lane < W; ++lane) us[lane] += xs[lane];
                store(us, to.data + row * width + at);
            } else {
                contribute(to, row * width + at, us);
            }
        }
    }
    wait_copies<0>();
    __syncthreads();
    C* const sums = reinterpret_cast<C*>(dynamic);
    C* const part = parts + std::int64_t(blockIdx.x) * 2 * width;
    sum_rows_of_block(gain_sum, sums, width, part);
    if constexpr (centered) sum_rows_of_block(bias_sum, sums, width, part + width);
}

/// The same for rows of any width and alignment, one block a row; the sums are added to the parts in memory,
/// each by one thread.
template <bool centered, class T, class Weight, class G, class C>
__global__ void __launch_bounds__(1024)
    any_backward_kernel(const __grid_constant__ tenon::detail::NormInputs<T, Weight> in, const C* mean,
                        const C* inverse, const G* upstream, const Contribution<G> to, C* parts) {
    __shared__ C scratch[32];
    const std::int64_t width = in.width, threads = blockDim.x;
    C* const part = parts + std::int64_t(blockIdx.x) * 2 * width;
    for (std::int64_t at = threadIdx.x; at < width; at += threads) part[at] = part[width + at] = C(0);
    for (std::int64_t row = blockIdx.x; row < in.rows; row += gridDim.x) {
        const C center = centered ? mean[row] : C(0), scale = inverse[row];
        const auto normal = [&](std::int64_t at) {
            return (convert<C>(in.x[row * width + at]) - center) * scale;
        };
        const auto given = [&](std::int64_t at) { return convert<C>(upstream[row * width + at]); };
        C sum_u(0), sum_ux(0);
        for (std::int64_t at = threadIdx.x; at < width; at += threads) {
            const C u = given(at), gain = convert<C>(in.gain[at]), x = normal(at);
            sum_u += u * gain;
            sum_ux += u * gain * x;
            part[at] += u * x;
            part[width + at] += u;
        }
        const C mean_u = centered ? reduce_block(sum_u, Sum{}, scratch) / static_cast<C>(width) : C(0);
        const C mean_ux = reduce_block(sum_ux, Sum{}, scratch) / static_cast<C>(width);
        if (!to.data && !to.wide) continue;
        for (std::int64_t at = threadIdx.x; at < width; at += threads)
            contribute(to, row * width + at,
                       scale * (given(at) * convert<C>(in.gain[at]) - mean_u - normal(at) * mean_ux));
    }
}

/// The threads of a row and the rows of a block, `threads` in all if there are so many, from the width alone.
inline dim3 team(std::int64_t width, int of_a_thread, int threads) {
    const std::int64_t own =
        std::clamp<std::int64_t>((width + of_a_thread * warp_size - 1) / (of_a_thread * warp_size), 1, 32);
    const auto x = static_cast<unsigned>(own) * warp_size;
    return dim3(x, std::max(1u, threads / x));
}

}  // namespace cuda::norm

/// A warp normalizes a row, or a block a wide one, in registers: one pass over memory each way.
template <>
struct Kernel<NormRows, Cuda> {
    /// y is overwritten; `statistics` [2, rows] too, unless null.
    template <bool centered, class T, class Weight, class C>
    static void forward(const detail::NormInputs<T, Weight>& in, T* y, C* statistics) {
        if (in.rows * in.width == 0) return;
        constexpr int own = cuda::norm::packet<T> * cuda::norm::turns;  // elements of a thread
        const bool fits = in.width <= 1024 * own && is_aligned(in);
        dim3 threads = cuda::norm::team(in.width, fits ? own : 1, 128);
        if (!fits || threads.x > cuda::warp_size) threads.y = 1;  // they meet at the block's barrier
        cuda::launch(fits ? cuda::norm::forward_kernel<centered, T, Weight, C>
                          : cuda::norm::any_forward_kernel<centered, T, Weight, C>,
                     {.blocks = cuda::blocks_for(in.rows, threads.y, INT32_MAX), .threads = threads}, in, y,
                     statistics, statistics ? statistics + in.rows : nullptr);
    }

    template <bool centered, class T, class Weight, class C, class G, class H>
    static void backward(const detail::NormInputs<T, Weight>& in, const C* statistics, const G* upstream,
                         const detail::NormGradients<G, H>& to) {
        if (in.rows * in.width == 0) return;
        constexpr int own = cuda::norm::packet<T> * cuda::norm::summed_turns;  // elements of a thread
        const bool fits = in.width <= cuda::norm::most_summing_threads * own && is_aligned(in);
        dim3 threads = cuda::norm::team(in.width, fits ? own : 1, 256);
        if (!fits) threads.y = 1;
        // Few parts of sums, each of many rows; enough blocks for any card.
        const std::int64_t wanted = 396 * 256 / std::max(256u, threads.x),
                           blocks = std::clamp<std::int64_t>(in.rows / threads.y, 1, wanted);
        const Storage parts(
            Memory<Cuda>::allocate(static_cast<std::size_t>(blocks * 2 * in.width) * sizeof(C)));
        C* const part = static_cast<C*>(parts.data());
        const std::size_t staged = std::size_t{2 * 3 * 16} * cuda::norm::summed_turns * threads.x * threads.y,
                          sums = std::size_t{own} * threads.x * sizeof(C);
        cuda::launch(fits ? cuda::norm::backward_kernel<centered, T, Weight, G, C>
                          : cuda::norm::any_backward_kernel<centered, T, Weight, G, C>,
                     {.blocks = static_cast<unsigned>(blocks),
                      .threads = threads,
                      .shared_bytes = fits ? std::max(staged, sums) : 0},
                     in, statistics, statistics + in.rows, upstream, to.x, part);
        cuda::column_sums(part, blocks, in.width, cuda::ColumnSums<H, 2>{{to.gain, to.bias}});
    }

private:
    template <class T, class Weight>
    static bool is_aligned(const detail::NormInputs<T, Weight>& in) {
        constexpr int W = cuda::norm::packet<T>;
        return in.width % W == 0 && cuda::is_aligned<W>(in.x) && cuda::is_aligned<W>(in.gain) &&
               (!in.bias || cuda::is_aligned<W>(in.bias));
    }
};

}  // namespace tenon
