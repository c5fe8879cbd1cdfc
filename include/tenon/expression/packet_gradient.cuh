#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/cuda/launch.cuh>
#include <tenon/expression/forward.cuh>
#include <tenon/expression/scatter.cuh>

/// Gradients of expressions without reductions, where all that is read and written goes in whole packets.
namespace tenon::cuda::fused {

/// Gradients on their way: of a packet's leaves, and of its row's reductions.
template <class C, int L, int N, int W>
struct LaneSink {
    C gradient[L][W];
    C adjoint[N > 0 ? N : 1];

    template <int Index, tree::Access, class V>
    __device__ __forceinline__ void leaf(std::int64_t lane, V value) {
        gradient[Index][lane] = static_cast<C>(value);  // a leaf occurs once
    }
    template <int Index, class V>
    __device__ __forceinline__ void reduced(V value) {
        adjoint[Index] += static_cast<C>(value);
    }
};

/// The gradients of all leaves. Unless `sums_column`, the threads take the packets of all rows in turn. If
/// so, each takes those of its place in all rows of its chunk, and leaves the sum for the leaf that rows
/// share.
template <class Tree, bool sums_column, int W, class G, class C, int L, int K>
__global__ void __launch_bounds__(map_threads)
    packet_gradient_kernel(const __grid_constant__ program::Run<C, L, K, 0> run,
                           const __grid_constant__ IndexSpace<L> rows,
                           const __grid_constant__ Targets<C, L> targets, Divisor packets,
                           const G* upstream) {
    using V = Number<Tree, G, C>;
    const std::int64_t length = run.iteration.length, row_count = run.iteration.rows,
                       chunk = std::int64_t{blockIdx.y} * blockDim.y + threadIdx.y, packet = thread_number();
    if (sums_column && packet >= packets.value()) return;
    const std::int64_t end = sums_column ? row_count : row_count * packets.value(),
                       step = sums_column ? std::int64_t{gridDim.y} * blockDim.y
                                          : std::int64_t{gridDim.x} * blockDim.x;
    C column[W] = {};
    for (std::int64_t number = sums_column ? chunk : packet; number < end; number += step) {
        std::int64_t row = number;
        const std::int64_t at = (sums_column ? packet : packets.divide(row)) * W;
        const std::int64_t place = row * length + at;  // in what is packed
        Lanes<C, L, K, 0, W> lanes;
        lanes.constant = run.constants;
        load_leaves<Tree>(run, rows.offsets(row), ~0u, at, W, lanes.leaf);
        C given[W];
        load(upstream + place, given);
        LaneSink<C, L, 0, W> sink;
#pragma unroll
        for (int lane = 0; lane < W; ++lane)
            tree::Reverse<Tree>::run(tree::evaluate<Tree, V>(lanes, lane), V(given[lane]), sink, lane);
        targets.merge(sink.gradient);
        visit_leaves<Tree>([&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                               tree::Leaf<T, Index, access, is_tracked, has_value>) {
            if constexpr (is_tracked) {
                using Gradient = GradientOf<T, Cuda>;
                const Target& target = targets.leaf[Index];
                if (target.way == Way::direct) {
                    const Contribution<Gradient> to{static_cast<Gradient*>(target.data), target.accumulate};
                    contribute(to, place, sink.gradient[Index]);
                } else if (sums_column && target.way == Way::column) {
#pragma unroll
                    for (int lane = 0; lane < W; ++lane) column[lane] += sink.gradient[Index][lane];
                }
            }
        });
    }
    if constexpr (sums_column)
        for (int i = 0; i < L; ++i)
            if (targets.leaf[i].way == Way::column)
                store(column, static_cast<C*>(targets.leaf[i].apart) + chunk * length + packet * W);
}

/// Where all that is wanted is the gradient of an addend that all rows share, it is the sum of the upstream
/// gradient's columns; else it returns false.
template <class Tree, class G, class C, int L, int K>
bool sum_upstream(const program::Run<C, L, K, 0>& run, const Targets<C, L>& targets, const G* upstream) {
    int wanted = 0;
    for (const Target& target : targets.leaf) wanted += target.way != Way::none;
    bool is_done = false;
    tree::for_each_leaf(Tree{}, [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                    tree::Leaf<T, Index, access, is_tracked, has_value>) {
        if constexpr (is_tracked && tree::passes_gradient<Tree, Index>) {
            if (wanted != 1 || targets.leaf[Index].way != Way::column) return;
            column_sums(upstream, run.iteration.rows, run.iteration.length,
                        ColumnSums<GradientOf<T, Cuda>, 1>{{tenon::contribute<T, Cuda>(*run.slots[Index])}});
            is_done = true;
        }
    });
    return is_done;
}

/// Computes and scatters the gradients of all leaves where they go in whole packets; else it returns false.
template <class Tree, int W, class G, class C, int L, int K>
bool packet_gradients(const program::Run<C, L, K, 0>& run, const IndexSpace<L>& rows, unsigned packed,
                      Scatter<Tree, C, L, K, 0>& scatter, const G* upstream) {
    const program::Iteration& iteration = run.iteration;
    if (sum_upstream<Tree>(run, scatter.targets, upstream)) return true;
    if (iteration.length % W != 0 || !packs_all<Tree>(packed) || !scatter.writes_packets()) return false;
    const std::int64_t packets = iteration.length / W;
    const auto run_kernel = [&](auto* kernel, const Grid& grid) {
        launch(kernel, grid, run, rows, scatter.targets, Divisor(packets), upstream);
    };
    if (scatter.targets.columns == 0) {
        scatter.take_memory(1, 1);
        run_kernel(packet_gradient_kernel<Tree, false, W, G, C, L, K>,
                   {.blocks = blocks_for(iteration.rows * packets, map_threads), .threads = map_threads});
    } else if constexpr (L > 1) {  // one has other rows
        // As many chunks of rows as keep a card busy: few, since each leaves partial sums.
        const std::int64_t across = (packets + map_threads - 1) / map_threads,
                           width = (packets + across - 1) / across, height = map_threads / width,
                           chunks = std::clamp<std::int64_t>(528 / across, 1,
                                                             (iteration.rows + height - 1) / height);
        scatter.take_memory(chunks * height, 1);
        run_kernel(packet_gradient_kernel<Tree, true, W, G, C, L, K>,
                   {.blocks = dim3(static_cast<unsigned>(across), static_cast<unsigned>(chunks)),
                    .threads = dim3(static_cast<unsigned>(width), static_cast<unsigned>(height))});
    }
    scatter.finish();
    return true;
}

}  // namespace tenon::cuda::fused
