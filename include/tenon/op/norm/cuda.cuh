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

inline constexpr int turns = 4;  // packets of a row that a thread keeps in registers

template <class T>
inline constexpr int packet = 16 / static_cast<int>(sizeof(T));

/// A packet of a row; zeros past its end.
template <class C, int W, class T>
__device__ __forceinline__ void read(const T* row, int at, int width, bool is_aligned, C (&values)[W]) {
    if (is_aligned && at + W <= width) {
        load(row + at, values);
    } else {
#pragma unroll
        for (int lane = 0; lane < W; ++lane)
            values[lane] = at + lane < width ? convert<C>(row[at + lane]) : C(0);
    }
}

/// The same, as it is.
template <int W, class T>
__device__ __forceinline__ void read(const T* row, int at, int width, bool is_aligned, Pack<T, W>& pack) {
    if (is_aligned && at + W <= width) {
        pack = *reinterpret_cast<const Pack<T, W>*>(row + at);
    } else {
#pragma unroll
        for (int lane = 0; lane < W; ++lane)
            pack.element[lane] = at + lane < width ? row[at + lane] : T(0.0f);
    }
}

/// Sums over the threads of a row: a warp, or a block.
template <class C>
__device__ __forceinline__ C sum_of_row(C value, C* scratch) {
    return blockDim.x == warp_size ? reduce_warp(value, Sum{}) : reduce_block(value, Sum{}, scratch);
}

/// Row blockIdx.x * blockDim.y + threadIdx.y. `mean` and `inverse`, of each row, may be null.
template <bool centered, class T, class C>
__global__ void __launch_bounds__(1024)
    forward_kernel(const __grid_constant__ tenon::detail::NormInputs<T> in, bool is_aligned, T* y, C* mean,
                   C* inverse) {
    constexpr int W = packet<T>;
    __shared__ C scratch[32];
    const std::int64_t row = std::int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= in.rows) return;  // whole warps; a block that shares a row has one row
    const int width = static_cast<int>(in.width), step = static_cast<int>(blockDim.x) * W;
    const int first = static_cast<int>(threadIdx.x) * W;
    const T* const x = in.x + row * width;
    const bool fits = width <= turns * step;  // into registers; else the row is read again
    Pack<T, W> kept[turns];
    const auto each_packet = [&](bool reads, const auto& visit) {
        for (int begin = 0; begin < width; begin += turns * step) {
            if (reads || !fits)
#pragma unroll
                for (int turn = 0; turn < turns; ++turn)
                    read(x, begin + first + turn * step, width, is_aligned, kept[turn]);
#pragma unroll
            for (int turn = 0; turn < turns; ++turn) {
                const int at = begin + first + turn * step;
                if (at >= width) continue;
                C values[W];
#pragma unroll
                for (int lane = 0; lane < W; ++lane) values[lane] = convert<C>(kept[turn].element[lane]);
                visit(values, at);
            }
        }
    };
    C total(0), squares(0), center(0);
    each_packet(true, [&](const C(&v)[W], int) {
#pragma unroll
        for (int lane = 0; lane < W; ++lane) {
            total += v[lane];
            squares += v[lane] * v[lane];
        }
    });
    if constexpr (centered) {
        center = sum_of_row(total, scratch) / static_cast<C>(width);
        squares = C(0);
        each_packet(false, [&](const C(&v)[W], int at) {
#pragma unroll
            for (int lane = 0; lane < W; ++lane)
                if (at + lane < width) squares += (v[lane] - center) * (v[lane] - center);
        });
    }
    const C deviation =
        sqrt(sum_of_row(squares, scratch) / static_cast<C>(width) + static_cast<C>(in.epsilon));
    const C scale = C(1) / deviation;
    each_packet(false, [&](const C(&v)[W], int at) {
        C gain[W], bias[W], result[W];
        read(in.gain, at, width, is_aligned, gain);
        if (in.bias) read(in.bias, at, width, is_aligned, bias);
#pragma unroll
        for (int lane = 0; lane < W; ++lane) {
            result[lane] = (v[lane] - center) * scale * gain[lane];
            if (in.bias) result[lane] += bias[lane];
        }
        T* const to = y + row * width + at;
        if (is_aligned && at + W <= width) {
            store(result, to);
        } else {
#pragma unroll
            for (int lane = 0; lane < W; ++lane)
                if (at + lane < width) to[lane] = rounded<T>(result[lane]);
        }
    });
    if (mean && threadIdx.x == 0) {
        mean[row] = center;
        inverse[row] = scale;
    }
}

/// Adds up what the rows of a block have for each column, one after the other. A lane's sums lie side by side
/// over the threads of shared memory.
template <class C, int W>
__device__ __forceinline__ void sum_rows_of_block(const C (&own)[turns][W], C* sums, int width, C* to) {
    const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
    for (int y = 0; y < static_cast<int>(blockDim.y); ++y) {
        if (static_cast<int>(threadIdx.y) == y) {
#pragma unroll
            for (int turn = 0; turn < turns; ++turn)
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
        for (int turn = 0; turn < turns; ++turn)
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
template <bool centered, class T, class G, class C>
__global__ void __launch_bounds__(256)
    backward_kernel(const __grid_constant__ tenon::detail::NormInputs<T> in, const C* mean, const C* inverse,
                    const G* upstream, const Contribution<G> to, C* parts) {
    constexpr int W = packet<T>;
    __shared__ C scratch[32];
    extern __shared__ __align__(16) unsigned char dynamic[];
    const int width = static_cast<int>(in.width), step = static_cast<int>(blockDim.x) * W;
    const int first = static_cast<int>(threadIdx.x) * W;
    const int threads = static_cast<int>(blockDim.x * blockDim.y),
              thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
    // Stage s, stream i, turn t of a thread: neighbours in neighbouring threads.
    auto* const staged = reinterpret_cast<uint4*>(dynamic);
    const auto place = [&](int stage, int stream, int turn) {
        return staged + ((stage * 3 + stream) * turns + turn) * threads + thread;
    };
    const bool writes = to.data || to.wide, adds = writes && to.accumulate && to.data;
    const auto ask = [&](std::int64_t row, int stage) {
        if (row < in.rows) {
#pragma unroll
            for (int turn = 0; turn < turns; ++turn) {
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
        const auto pack = __builtin_bit_cast(Pack<T, W>, *place(stage, stream, turn));
#pragma unroll
        for (int lane = 0; lane < W; ++lane) values[lane] = convert<C>(pack.element[lane]);
    };

    C gain_sum[turns][W] = {}, bias_sum[turns][W] = {};
    const std::int64_t rows_step = std::int64_t(gridDim.x) * blockDim.y;
    std::int64_t row = std::int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
    ask(row, 0);
    for (int stage = 0; row < in.rows; row += rows_step, stage ^= 1) {
        ask(row + rows_step, stage ^ 1);
        const C center = centered ? mean[row] : C(0), scale = inverse[row];
        wait_copies<1>();
        C sum_u(0), sum_ux(0);
#pragma unroll
        for (int turn = 0; turn < turns; ++turn) {
            const int at = first + turn * step;
            if (at >= width) continue;
            C xs[W], us[W], gain[W];
            get(stage, 0, turn, xs);
            get(stage, 1, turn, us);
            load(in.gain + at, gain);
#pragma unroll
            for (int lane = 0; lane < W; ++lane) {
                const C normal = (xs[lane] - center) * scale;
                if constexpr (centered) sum_u += us[lane] * gain[lane];
                sum_ux += us[lane] * gain[lane] * normal;
                gain_sum[turn][lane] += us[lane] * normal;
                if constexpr (centered) bias_sum[turn][lane] += us[lane];
            }
        }
        const C mean_u = centered ? sum_of_row(sum_u, scratch) / static_cast<C>(width) : C(0);
        const C mean_ux = sum_of_row(sum_ux, scratch) / static_cast<C>(width);
        if (!writes) continue;
#pragma unroll
        for (int turn = 0; turn < turns; ++turn) {
            const int at = first + turn * step;
            if (at >= width) continue;
            C xs[W], us[W], gain[W];
            get(stage, 0, turn, xs);
            get(stage, 1, turn, us);
            load(in.gain + at, gain);
#pragma unroll
            for (int lane = 0; lane < W; ++lane)
                us[lane] = scale * (us[lane] * gain[lane] - mean_u - (xs[lane] - center) * scale * mean_ux);
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
template <bool centered, class T, class G, class C>
__global__ void __launch_bounds__(1024)
    any_backward_kernel(const __grid_constant__ tenon::detail::NormInputs<T> in, const C* mean,
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

/// The threads of a row and the rows of a block, from the width alone.
inline dim3 team(std::int64_t width, int packet) {
    const std::int64_t threads = (width + packet * turns - 1) / (packet * turns);
    if (threads <= warp_size) return dim3(warp_size, 4);
    return dim3(static_cast<unsigned>(
        std::min<std::int64_t>((threads + warp_size - 1) / warp_size * warp_size, 1024)));
}

}  // namespace cuda::norm

/// A warp normalizes a row, or a block a wide one, in registers: one pass over memory each way.
template <>
struct Kernel<NormRows, Cuda> {
    /// y is overwritten; `statistics` [2, rows] too, unless null.
    template <bool centered, class T, class C>
    static void forward(const detail::NormInputs<T>& in, T* y, C* statistics) {
        if (in.rows * in.width == 0) return;
        const dim3 threads = cuda::norm::team(in.width, cuda::norm::packet<T>);
        cuda::launch(cuda::norm::forward_kernel<centered, T, C>,
                     {.blocks = cuda::blocks_for(in.rows, threads.y, INT32_MAX), .threads = threads}, in,
                     is_aligned(in), y, statistics, statistics ? statistics + in.rows : nullptr);
    }

    template <bool centered, class T, class C, class G>
    static void backward(const detail::NormInputs<T>& in, const C* statistics, const G* upstream,
                         const detail::NormGradients<G>& to) {
        if (in.rows * in.width == 0) return;
        constexpr int W = cuda::norm::packet<T>, turns = cuda::norm::turns;
        const bool fits = in.width <= 256 * W * turns && is_aligned(in);
        const dim3 threads =
            fits ? cuda::norm::team(in.width, W)
                 : dim3(static_cast<unsigned>(std::min<std::int64_t>(1024, (in.width + 31) / 32 * 32)));
        // Few parts of sums, each of many rows; enough blocks for any card.
        const std::int64_t wanted = 528 * (threads.y > 1 ? 1 : std::max<std::int64_t>(1, 128 / threads.x));
        const std::int64_t blocks = std::max<std::int64_t>(1, std::min(wanted, in.rows / (4 * threads.y)));
        const Storage parts(
            Memory<Cuda>::allocate(static_cast<std::size_t>(blocks * 2 * in.width) * sizeof(C)));
        C* const part = static_cast<C*>(parts.data());
        const std::size_t staged = std::size_t{2 * 3 * 16} * turns * threads.x * threads.y,
                          sums = std::size_t{turns * W} * threads.x * sizeof(C);
        cuda::launch(fits ? cuda::norm::backward_kernel<centered, T, G, C>
                          : cuda::norm::any_backward_kernel<centered, T, G, C>,
                     {.blocks = static_cast<unsigned>(blocks),
                      .threads = threads,
                      .shared_bytes = fits ? std::max(staged, sums) : 0},
                     in, statistics, statistics + in.rows, upstream, to.x, part);
        cuda::column_sums(part, blocks, in.width, cuda::ColumnSums<G, 2>{{to.gain, to.bias}});
    }

private:
    template <class T>
    static bool is_aligned(const detail::NormInputs<T>& in) {
        constexpr int W = cuda::norm::packet<T>;
        return in.width % W == 0 && cuda::is_aligned<W>(in.x) && cuda::is_aligned<W>(in.gain) &&
               (!in.bias || cuda::is_aligned<W>(in.bias));
    }
};

}  // namespace tenon
