#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/expression/forward.cuh>
#include <tenon/expression/packet_gradient.cuh>
#include <tenon/expression/scatter.cuh>

namespace tenon::cuda::fused {

/// The gradients of a row's reductions alone.
template <class C, int N>
struct AdjointSink {
    C adjoint[N > 0 ? N : 1] = {};

    template <int Index, tree::Access, class V>
    __device__ __forceinline__ void leaf(std::int64_t, V) {}
    template <int Index, class V>
    __device__ __forceinline__ void reduced(V value) {
        adjoint[Index] += static_cast<C>(value);
    }
};

/// Counts the elements that equal their reduction, which share its gradient.
template <class R, int Index, class A>
struct Ties {
    struct Equal {
        template <class V>
        __device__ static V value(V x, V y) {
            return x == y ? V(1) : V(0);
        }
    };
    using type = tree::Apply<Equal, A, tree::Reduce<R, Index, A>>;
};

/// What a row's reductions pass on to each element of their arguments.
template <class C, int N>
struct Shares {
    C reduced[N > 0 ? N : 1];
    C share[N > 0 ? N : 1];
};

template <bool per_row, class Team, class G, class Tree>
struct RowReverse;

/// The derivative of a tree along one row. `upstream`: the gradient of the row's results.
template <bool per_row, class C, int L, int K, int N, int W, class V, class G, class Tree>
struct RowReverse<per_row, RowTeam<C, L, K, N, W, V>, G, Tree> {
    const RowTeam<C, L, K, N, W, V>& team;
    const G* upstream;
    bool packs_upstream;

    __device__ __forceinline__ void read_upstream(std::int64_t at, int count, C (&values)[W]) const {
        if (count == W && packs_upstream) {
            load(upstream + at, values);
        } else {
#pragma unroll
            for (int lane = 0; lane < W; ++lane)
                values[lane] = lane < count ? convert<C>(upstream[at + lane]) : C(0);
        }
    }

    /// Calls Reverse for a packet of results.
    template <class LanesOfRow, class Sink>
    __device__ __forceinline__ void reverse_results(const LanesOfRow& lanes, int count, std::int64_t at,
                                                    Sink& sink) const {
        C gradient[W];
        read_upstream(at, count, gradient);
#pragma unroll
        for (int lane = 0; lane < W; ++lane)
            if (lane < count)
                tree::Reverse<Tree>::run(tree::evaluate<Tree, V>(lanes, lane), V(gradient[lane]), sink, lane);
    }

    /// The same for a packet of a reduction's argument.
    template <class R, int Index, class A, class LanesOfRow, class Sink>
    __device__ __forceinline__ void reverse_argument(const LanesOfRow& lanes, int count,
                                                     const Shares<C, N>& shares, Sink& sink) const {
        if constexpr (tree::needs_gradient<A>) {
#pragma unroll
            for (int lane = 0; lane < W; ++lane)
                if (lane < count) {
                    const auto values = tree::evaluate<A, V>(lanes, lane);
                    const C gradient = !R::selects || static_cast<C>(values.value) == shares.reduced[Index]
                                           ? shares.share[Index]
                                           : C(0);
                    tree::Reverse<A>::run(values, V(gradient), sink, lane);
                }
        }
    }

    /// The shares of all reductions, the last first: those within others get their gradient from these.
    __device__ __forceinline__ void find_shares(Shares<C, N>& shares) const {
        AdjointSink<C, N> sink;
        if constexpr (per_row) {
            if (threadIdx.x == 0) {
                Lanes<C, L, K, N, W> lanes;
                lanes.constant = team.run.constants;
                lanes.reduced = shares.reduced;
                load_leaves<Tree>(team.run, team.rows, 0, 0, 1, lanes.leaf);
                tree::Reverse<Tree>::run(tree::evaluate<Tree, V>(lanes, 0), V(convert<C>(*upstream)), sink,
                                         0);
            }
        } else {
            team.template for_each_packet<Tree>(team.run.iteration.length, shares.reduced,
                                                [&](const auto& lanes, int count, std::int64_t at) {
                                                    reverse_results(lanes, count, at, sink);
                                                });
        }
        find_shares_of(tree::ReductionsOf<Tree>{}, sink, shares);
    }

    /// Gradients of the packet at `at`, from the results and from all reductions.
    __device__ __forceinline__ void gradients(std::int64_t at, const Shares<C, N>& shares,
                                              LaneSink<C, L, N, W>& sink) const {
        Lanes<C, L, K, N, W> lanes;
        lanes.constant = team.run.constants;
        lanes.reduced = shares.reduced;
        const std::int64_t length = team.run.iteration.length;
        if (at < length) {
            const int count = lanes_before<W>(length, at);
            load_leaves<Tree>(team.run, team.rows, team.packed, at, count, lanes.leaf);
            reverse_results(lanes, count, at, sink);
        }
        if constexpr (N > 0) gradients_of(tree::ReductionsOf<Tree>{}, at, lanes, shares, sink);
    }

private:
    __device__ __forceinline__ void find_shares_of(tree::ReductionList<>, AdjointSink<C, N>&,
                                                   Shares<C, N>&) const {}
    template <class R, int Index, class A, class... Rest>
    __device__ __forceinline__ void find_shares_of(tree::ReductionList<tree::Reduce<R, Index, A>, Rest...>,
                                                   AdjointSink<C, N>& sink, Shares<C, N>& shares) const {
        find_shares_of(tree::ReductionList<Rest...>{}, sink, shares);
        if constexpr (tree::needs_gradient<A>) {
            const std::int64_t length = team.run.lengths[Index];
            C share =
                reduce_block(sink.adjoint[Index], Sum{}, team.scratch) * R::share(static_cast<C>(length));
            if constexpr (R::selects)
                share /= team.template reduce<reduction::Sum, typename Ties<R, Index, A>::type>(
                    length, shares.reduced);
            shares.share[Index] = share;
            if constexpr (tree::ReductionsOf<A>::size > 0)
                team.template for_each_packet<A>(
                    length, shares.reduced, [&](const auto& lanes, int count, std::int64_t) {
                        reverse_argument<R, Index, A>(lanes, count, shares, sink);
                    });
        }
    }

    template <class... R, int... Index, class... A>
    __device__ __forceinline__ void gradients_of(tree::ReductionList<tree::Reduce<R, Index, A>...>,
                                                 std::int64_t at, Lanes<C, L, K, N, W>& lanes,
                                                 const Shares<C, N>& shares,
                                                 LaneSink<C, L, N, W>& sink) const {
        (gradients_of_one<R, Index, A>(at, lanes, shares, sink), ...);
    }
    template <class R, int Index, class A>
    __device__ __forceinline__ void gradients_of_one(std::int64_t at, Lanes<C, L, K, N, W>& lanes,
                                                     const Shares<C, N>& shares,
                                                     LaneSink<C, L, N, W>& sink) const {
        const std::int64_t length = team.run.lengths[Index];
        if (!tree::needs_gradient<A> || at >= length) return;
        const int count = lanes_before<W>(length, at);
        load_leaves<A>(team.run, team.rows, team.packed, at, count, lanes.leaf);
        reverse_argument<R, Index, A>(lanes, count, shares, sink);
    }
};

/// The shares of all reductions for each row, one block a row: where rows are too few to be computed whole.
template <class Tree, bool per_row, int W, class G, class C, int L, int K, int N>
__global__ void share_kernel(const __grid_constant__ program::Run<C, L, K, N> run,
                             const __grid_constant__ IndexSpace<L> rows, unsigned packed, bool packs_upstream,
                             const G* upstream, Shares<C, N>* all) {
    __shared__ C scratch[32];
    const std::int64_t row = blockIdx.x;
    using V = Number<Tree, G, C>;
    const RowTeam<C, L, K, N, W, V> team{run, rows.offsets(row), packed, 0, INT64_MAX, scratch};
    const RowReverse<per_row, RowTeam<C, L, K, N, W, V>, G, Tree> reverse{
        team, upstream + row * run.iteration.length, packs_upstream};
    Shares<C, N> shares = all[row];
    reverse.find_shares(shares);
    __syncthreads();
    if (threadIdx.x == 0) all[row] = shares;
}

/// The gradients of all leaves: block (x, y) has segment x of the rows of chunk y. Shared memory holds the
/// sums of the leaves that all rows share, a column a lane, so that no two threads meet in one.
template <class Tree, bool per_row, int W, class G, class C, int L, int K, int N>
__global__ void gradient_kernel(const __grid_constant__ program::Run<C, L, K, N> run,
                                const __grid_constant__ IndexSpace<L> leaf_rows,
                                const __grid_constant__ IndexSpace<L> gradient_rows,
                                const __grid_constant__ Targets<C, L> targets, unsigned packed,
                                bool packs_upstream, std::int64_t segment, const G* upstream,
                                const Shares<C, N>* all) {
    __shared__ C scratch[32];
    extern __shared__ __align__(16) unsigned char dynamic[];
    C* const columns = reinterpret_cast<C*>(dynamic);
    const std::int64_t rows = run.iteration.rows;
    const std::int64_t first = rows * blockIdx.y / gridDim.y, last = rows * (blockIdx.y + 1) / gridDim.y;
    const std::int64_t begin = blockIdx.x * segment;
    const int turns = static_cast<int>((segment + blockDim.x * W - 1) / (blockDim.x * W));
    const auto column = [&](int leaf, int turn, int lane) -> C& {
        return columns[((targets.leaf[leaf].column * turns + turn) * W + lane) *
                           static_cast<int>(blockDim.x) +
                       static_cast<int>(threadIdx.x)];
    };
    for (int i = 0; i < targets.columns * turns * W; ++i)
        columns[i * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)] = C(0);

    for (std::int64_t row = first; row < last; ++row) {
        using V = Number<Tree, G, C>;
        const RowTeam<C, L, K, N, W, V> team{run,   leaf_rows.offsets(row), packed,
                                             begin, begin + segment,        scratch};
        const RowReverse<per_row, RowTeam<C, L, K, N, W, V>, G, Tree> reverse{
            team, upstream + row * run.iteration.length, packs_upstream};
        Shares<C, N> shares;
        if constexpr (N > 0) {
            if (all) {
                shares = all[row];
            } else {
                team.reduce_all(shares.reduced, tree::ReductionsOf<Tree>{});
                reverse.find_shares(shares);
            }
        }
        const RowOffsets<L> to = gradient_rows.offsets(row);
        C row_sum[L] = {};
        for (int turn = 0; turn < turns; ++turn) {
            const std::int64_t at = begin + (std::int64_t(turn) * blockDim.x + threadIdx.x) * W;
            if (at >= targets.longest) break;
            LaneSink<C, L, N, W> sink = {};
            reverse.gradients(at, shares, sink);
            targets.merge(sink.gradient);
            visit_all_leaves<Tree>(
                [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                    tree::Leaf<T, Index, access, is_tracked, has_value>) {
                    if constexpr (is_tracked) {
                        const Target& target = targets.leaf[Index];
                        const std::int64_t end = target.length;
                        if (at >= end) return;
                        const int count = lanes_before<W>(end, at);
                        if (target.way == Way::column) {
#pragma unroll
                            for (int lane = 0; lane < W; ++lane)
                                column(Index, turn, lane) += sink.gradient[Index][lane];
                        } else if (target.way == Way::row) {
#pragma unroll
                            for (int lane = 0; lane < W; ++lane) row_sum[Index] += sink.gradient[Index][lane];
                        } else if (target.way == Way::direct) {
                            target.template write<GradientOf<T, Cuda>>(
                                to.in[Index] + at * run.gradient_paths[Index].step,
                                run.gradient_paths[Index].step, count, sink.gradient[Index]);
                        } else if (target.way == Way::apart) {
#pragma unroll
                            for (int lane = 0; lane < W; ++lane)
                                if (lane < count)
                                    static_cast<C*>(target.apart)[row * end + at + lane] =
                                        sink.gradient[Index][lane];
                        }
                    }
                });
        }
#pragma unroll
        for (int i = 0; i < L; ++i)
            if (targets.leaf[i].way == Way::row) {
                const C total = reduce_block(row_sum[i], Sum{}, scratch);
                if (threadIdx.x == 0)
                    static_cast<C*>(targets.leaf[i].apart)[row * gridDim.x + blockIdx.x] = total;
            }
    }
    for (int i = 0; i < L; ++i)
        if (targets.leaf[i].way == Way::column)
            for (int turn = 0; turn < turns; ++turn)
#pragma unroll
                for (int lane = 0; lane < W; ++lane) {
                    const std::int64_t at =
                        begin + (std::int64_t(turn) * blockDim.x + threadIdx.x) * W + lane;
                    if (at < targets.leaf[i].length)
                        static_cast<C*>(targets.leaf[i].apart)[blockIdx.y * targets.leaf[i].length + at] =
                            column(i, turn, lane);
                }
}

/// One pass over the large arrays for the gradients of all leaves, and a small one for each that was
/// broadcast. `upstream` is packed.
template <class Tree, bool per_row, class G, class C, int L, int K, int N>
void backward(const program::Run<C, L, K, N>& run, const G* upstream) {
    constexpr int W = packet_size<Tree, G>;
    const program::Iteration& iteration = run.iteration;
    if (iteration.rows * iteration.length == 0) return;
    const unsigned packed = packed_leaves<Tree, W>(run);
    const bool packs_upstream = iteration.length % W == 0 || iteration.rows == 1;
    const IndexSpace<L> rows = space_of_rows(iteration, run.paths);
    const Plan plan(run, W);
    const bool is_whole = N > 0 && !plan.is_cut;  // rows
    const int threads = is_whole ? plan.threads : map_threads;

    Storage shares;
    if (N > 0 && plan.is_cut) {
        if constexpr (N > 0) {
            const Storage reduced = reduce_in_segments<Tree, W, Number<Tree, G, C>>(run, rows, packed);
            shares = Storage(
                Memory<Cuda>::allocate(static_cast<std::size_t>(iteration.rows) * sizeof(Shares<C, N>)));
            auto* const all = static_cast<Shares<C, N>*>(shares.data());
            cuda::check(cudaMemcpy2DAsync(all, sizeof(Shares<C, N>), reduced.data(), N * sizeof(C),
                                          N * sizeof(C), static_cast<std::size_t>(iteration.rows),
                                          cudaMemcpyDeviceToDevice, current_stream()),
                        "cudaMemcpy2DAsync");
            launch(share_kernel<Tree, per_row, W, G, C, L, K, N>,
                   {.blocks = static_cast<unsigned>(iteration.rows), .threads = 512}, run, rows, packed,
                   packs_upstream, upstream, all);
        }
    }
    // Of a row that is computed whole a block has all; else as much as its threads take in one turn, or in a
    // few where there is but one row.
    const std::int64_t turn = std::int64_t(threads) * W * (!is_whole && iteration.rows == 1 ? 4 : 1);
    const std::int64_t segment = is_whole ? (plan.longest + turn - 1) / turn * turn : turn;
    const std::int64_t segments = is_whole ? 1 : (plan.longest + segment - 1) / segment;
    Scatter<Tree, C, L, K, N> scatter(run, plan.longest, segment);
    if constexpr (N == 0)
        if (packet_gradients<Tree, W>(run, rows, packed, scatter, upstream)) return;
    // Few chunks of rows leave few partial sums; without those, blocks may be many.
    const std::int64_t blocks = scatter.targets.columns > 0 ? 528 : 8192;
    const std::int64_t chunks =
        std::clamp<std::int64_t>(blocks / segments, 1, std::min<std::int64_t>(iteration.rows, 65535));
    scatter.take_memory(chunks, segments);
    launch(gradient_kernel<Tree, per_row, W, G, C, L, K, N>,
           {.blocks = dim3(static_cast<unsigned>(segments), static_cast<unsigned>(chunks)),
            .threads = static_cast<unsigned>(threads),
            .shared_bytes = static_cast<std::size_t>(scatter.targets.columns) *
                            static_cast<std::size_t>(segment) * sizeof(C)},
           run, rows, space_of_rows(iteration, run.gradient_paths), scatter.targets, packed, packs_upstream,
           segment, upstream, static_cast<const Shares<C, N>*>(shares.data()));
    scatter.finish();
}

}  // namespace tenon::cuda::fused
