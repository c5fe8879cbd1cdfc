#pragma once

#include <cstdint>

#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/expression/lanes.cuh>

namespace tenon::cuda::fused {

inline constexpr int map_threads = 256;

/// Writes a packet of results, `count` of them.
template <int W, class T, class C>
__device__ __forceinline__ void write_packet(const C (&values)[W], int count, bool is_packed, T* to) {
    if (count == W && is_packed) {
        store(values, to);
    } else {
#pragma unroll
        for (int lane = 0; lane < W; ++lane)
            if (lane < count) to[lane] = rounded<T>(values[lane]);
    }
}

/// Evaluates a tree packet by packet; `whole`: all are packed and none reaches past the end of a row.
/// Reductions, if any, have been computed: reduced[row * N + i].
template <class Tree, bool whole, int W, class T, class C, int L, int K, int N>
__global__ void __launch_bounds__(map_threads)
    map_kernel(const __grid_constant__ program::Run<C, L, K, N> run,
               const __grid_constant__ IndexSpace<L> rows, Divisor packets, unsigned packed,
               bool packs_result, const C* reduced, T* out) {
    const std::int64_t length = run.iteration.length, total = run.iteration.rows * packets.value();
    for (std::int64_t index = thread_number(); index < total; index += std::int64_t(gridDim.x) * blockDim.x) {
        std::int64_t row = index;
        const std::int64_t at = packets.divide(row) * W;
        const int count = whole ? W : lanes_before<W>(length, at);
        Lanes<C, L, K, N, W> lanes;
        lanes.constant = run.constants;
        lanes.reduced = reduced + row * N;
        load_leaves<Tree>(run, rows.offsets(row), whole ? ~0u : packed, at, count, lanes.leaf);
        using V = Number<Tree, T, C>;
        C values[W];
#pragma unroll
        for (int lane = 0; lane < W; ++lane)
            values[lane] = static_cast<C>(tree::evaluate<Tree, V>(lanes, lane).value);
        write_packet<W>(values, count, whole || packs_result, out + row * length + at);
    }
}

/// A block computes whole rows: their reductions, then their results.
template <class Tree, bool per_row, int W, class T, class C, int L, int K, int N>
__global__ void row_kernel(const __grid_constant__ program::Run<C, L, K, N> run,
                           const __grid_constant__ IndexSpace<L> rows, unsigned packed, bool packs_result,
                           T* out) {
    using V = Number<Tree, T, C>;
    __shared__ C scratch[32];
    const std::int64_t length = run.iteration.length;
    for (std::int64_t row = blockIdx.x; row < run.iteration.rows; row += gridDim.x) {
        const RowTeam<C, L, K, N, W, V> team{run, rows.offsets(row), packed, 0, INT64_MAX, scratch};
        C reduced[N > 0 ? N : 1];
        team.reduce_all(reduced, tree::ReductionsOf<Tree>{});
        if constexpr (per_row) {
            if (threadIdx.x == 0) {
                Lanes<C, L, K, N, W> lanes;
                lanes.constant = run.constants;
                lanes.reduced = reduced;
                load_leaves<Tree>(run, team.rows, 0, 0, 1, lanes.leaf);
                out[row] = rounded<T>(static_cast<C>(tree::evaluate<Tree, V>(lanes, 0).value));
            }
        } else {
            team.template for_each_packet<Tree>(
                length, reduced, [&](const auto& lanes, int count, std::int64_t at) {
                    C values[W];
#pragma unroll
                    for (int lane = 0; lane < W; ++lane)
                        values[lane] = static_cast<C>(tree::evaluate<Tree, V>(lanes, lane).value);
                    write_packet<W>(values, count, packs_result, out + row * length + at);
                });
        }
    }
}

/// One reduction of a tree over one segment of one row.
template <class R, class Tree, int W, class V, class C, int L, int K, int N>
__global__ void segment_kernel(const __grid_constant__ program::Run<C, L, K, N> run,
                               const __grid_constant__ IndexSpace<L> rows, unsigned packed,
                               std::int64_t row_length, std::int64_t segment, const C* reduced, C* parts) {
    __shared__ C scratch[32];
    const std::int64_t row = blockIdx.y;
    const RowTeam<C, L, K, N, W, V> team{
        run, rows.offsets(row), packed, blockIdx.x * segment, (blockIdx.x + 1) * segment, scratch};
    const C total = team.template reduce<R, Tree>(row_length, reduced + row * N);
    if (threadIdx.x == 0) parts[row * gridDim.x + blockIdx.x] = total;
}

/// Combines a row's segments in order.
template <class R, class C>
__global__ void combine_kernel(const C* parts, int segments, std::int64_t row_length, C* out, int stride) {
    __shared__ C scratch[32];
    C total = R::template identity<C>();
    for (int i = static_cast<int>(threadIdx.x); i < segments; i += static_cast<int>(blockDim.x))
        total = R::combine(total, parts[std::int64_t(blockIdx.x) * segments + i]);
    total = reduce_block(
        total, [](C a, C b) { return R::combine(a, b); }, scratch);
    if (threadIdx.x == 0)
        out[std::int64_t(blockIdx.x) * stride] = R::finish(total, static_cast<C>(row_length));
}

/// How rows become blocks. It follows from the lengths alone, since the order of sums follows from it.
struct Plan {
    std::int64_t longest = 1;  // row, of the result or a reduction
    int threads = 32;          // that share a row
    bool is_cut = false;       // few long rows: several blocks share one

    template <class C, int L, int K, int N>
    Plan(const program::Run<C, L, K, N>& run, int packet) {
        longest = run.iteration.length;
        for (int i = 0; i < N; ++i) longest = longest < run.lengths[i] ? run.lengths[i] : longest;
        const std::int64_t packets = (longest + packet - 1) / packet;
        while (threads < 512 && threads < packets) threads *= 2;
        is_cut = run.iteration.rows < 128 && longest >= std::int64_t{1} << 15;
    }
    static constexpr std::int64_t segment = std::int64_t{1} << 14;  // elements of a cut row, at least
};

/// All reductions of a tree for all rows of a cut plan, [rows, N].
template <class Tree, int W, class V, class C, int L, int K, int N>
Storage reduce_in_segments(const program::Run<C, L, K, N>& run, const IndexSpace<L>& space, unsigned packed) {
    const std::int64_t rows = run.iteration.rows;
    Storage reduced(Memory<Cuda>::allocate(static_cast<std::size_t>(rows * N) * sizeof(C)));
    C* const all = static_cast<C*>(reduced.data());
    [&]<class... R, int... Index, class... A>(tree::ReductionList<tree::Reduce<R, Index, A>...>) {
        const auto one =
            [&]<class Combine, int number, class Argument>(tree::Reduce<Combine, number, Argument>) {
                const std::int64_t length = run.lengths[number];
                std::int64_t segment = Plan::segment;
                while ((length + segment - 1) / segment > 1024) segment *= 2;
                const auto segments =
                    static_cast<unsigned>(length > segment ? (length + segment - 1) / segment : 1);
                Storage parts(Memory<Cuda>::allocate(static_cast<std::size_t>(rows) * segments * sizeof(C)));
                C* const part = static_cast<C*>(parts.data());
                launch(segment_kernel<Combine, Argument, W, V, C, L, K, N>,
                       {.blocks = dim3(segments, static_cast<unsigned>(rows)), .threads = 512}, run, space,
                       packed, length, segment, all, part);
                launch(combine_kernel<Combine, C>, {.blocks = static_cast<unsigned>(rows), .threads = 128},
                       part, static_cast<int>(segments), length, all + number, N);
            };
        (one(tree::Reduce<R, Index, A>{}), ...);
    }(tree::ReductionsOf<Tree>{});
    return reduced;
}

/// out is overwritten.
template <class Tree, bool per_row, class T, class C, int L, int K, int N>
void forward(const program::Run<C, L, K, N>& run, T* out) {
    constexpr int W = packet_size<Tree, T>;
    const program::Iteration& iteration = run.iteration;
    if (iteration.rows * iteration.length == 0) return;
    const unsigned packed = packed_leaves<Tree, W>(run);
    const bool packs_result = iteration.length % W == 0 || iteration.rows == 1;
    const IndexSpace<L> rows = space_of_rows(iteration, run.paths);
    const Plan plan(run, W);
    const auto map = [&](const C* reduced) {
        const std::int64_t packets = (iteration.length + W - 1) / W;
        const bool is_whole = iteration.length % W == 0 && packs_all<Tree>(packed);
        launch(
            is_whole ? map_kernel<Tree, true, W, T, C, L, K, N> : map_kernel<Tree, false, W, T, C, L, K, N>,
            {.blocks = blocks_for(iteration.rows * packets, map_threads), .threads = map_threads}, run, rows,
            Divisor(packets), packed, packs_result, reduced, out);
    };
    if constexpr (N == 0) {
        map(nullptr);
    } else if (plan.is_cut) {
        const Storage reduced = reduce_in_segments<Tree, W, Number<Tree, T, C>>(run, rows, packed);
        map(static_cast<const C*>(reduced.data()));
    } else {
        launch(row_kernel<Tree, per_row, W, T, C, L, K, N>,
               {.blocks = blocks_for(iteration.rows, 1), .threads = static_cast<unsigned>(plan.threads)}, run,
               rows, packed, packs_result, out);
    }
}

}  // namespace tenon::cuda::fused
