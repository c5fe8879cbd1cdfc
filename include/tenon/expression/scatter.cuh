#pragma once

#include <cstdint>

#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/expression/lanes.cuh>

/// Where the gradients of an expression's leaves go.
namespace tenon::cuda::fused {

/// How a leaf's gradient gets there.
enum class Way : int {
    none,    ///< it is not wanted
    merged,  ///< along with that of an earlier leaf, which is the same tensor read the same way
    direct,  ///< written where it belongs: each element once
    column,  ///< all rows share it: summed by chunks of rows, then over the chunks
    row,     ///< a row's elements share one: summed by row, then over what rows share
    apart,   ///< any other broadcast: written element by element, then summed
};

/// A leaf's gradient as kernels see it. Types are the leaf's; C is that of the computation.
struct Target {
    Way way = Way::none;
    int merged = 0;           // the earlier leaf
    int column = 0;           // its number among those of Way::column
    std::int64_t length = 0;  // of the rows in which the leaf is read
    void* data = nullptr;     // a Contribution
    void* wide = nullptr;
    bool accumulate = false, is_aligned = false;
    void* apart = nullptr;  // of C: partial sums

    template <class G, int W, class C>
    __device__ __forceinline__ void write(std::int64_t offset, std::int64_t step, int count,
                                          const C (&values)[W]) const {
        const Contribution<G> to{static_cast<G*>(data), accumulate, static_cast<ComputeOf<G>*>(wide)};
        if (count == W && is_aligned) return cuda::contribute(to, offset, values);
#pragma unroll
        for (int lane = 0; lane < W; ++lane)
            if (lane < count) cuda::contribute(to, offset + lane * step, values[lane]);
    }
};

template <class C, int L>
struct Targets {
    Target leaf[L];
    int columns = 0;
    std::int64_t longest = 1;

    template <int W>
    __device__ __forceinline__ void merge(C (&gradient)[L][W]) const {
#pragma unroll
        for (int i = 1; i < L; ++i)
#pragma unroll
            for (int j = 0; j < i; ++j)
                if (leaf[i].way == Way::merged && leaf[i].merged == j) {
#pragma unroll
                    for (int lane = 0; lane < W; ++lane) gradient[j][lane] += gradient[i][lane];
                }
    }
};

/// Sums of an array over some of its axes: element e of the result adds up what lies on the summed axes.
struct SumAxes {
    struct Axis {
        std::int64_t size, from, to;  // strides
    };
    Axis kept[max_rank + 1], summed[max_rank + 1];
    int kept_count = 0, summed_count = 0;
    std::int64_t results = 1, addends = 1;

    void add(std::int64_t size, std::int64_t from, std::int64_t to) {
        if (size == 1) return;
        (to == 0 ? summed[summed_count++] : kept[kept_count++]) = {size, from, to};
        (to == 0 ? addends : results) *= size;
    }
};

/// A thread sums each result, or a block.
template <class G, class C>
__global__ void sum_axes_kernel(const __grid_constant__ SumAxes axes, const C* from, const Contribution<G> to,
                                bool by_block) {
    __shared__ C scratch[32];
    const std::int64_t first = by_block ? blockIdx.x : std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    const std::int64_t step = by_block ? gridDim.x : std::int64_t(gridDim.x) * blockDim.x;
    for (std::int64_t result = first; result < axes.results; result += step) {
        std::int64_t source = 0, target = 0, rest = result;
        for (int i = axes.kept_count - 1; i >= 0; --i) {
            const Split split(rest, axes.kept[i].size);
            source += split.remainder * axes.kept[i].from;
            target += split.remainder * axes.kept[i].to;
            rest = split.quotient;
        }
        C total(0);
        for (std::int64_t addend = by_block ? threadIdx.x : 0; addend < axes.addends;
             addend += by_block ? blockDim.x : 1) {
            std::int64_t at = source, left = addend;
            for (int i = axes.summed_count - 1; i >= 0; --i) {
                const Split split(left, axes.summed[i].size);
                at += split.remainder * axes.summed[i].from;
                left = split.quotient;
            }
            total += from[at];
        }
        if (by_block) total = reduce_block(total, Sum{}, scratch);
        if (!by_block || threadIdx.x == 0) cuda::contribute(to, target, total);
    }
}

/// Decides the ways of all leaves' gradients, and finishes what the pass over the large arrays leaves.
template <class Tree, class C, int L, int K, int N>
class Scatter {
    using Run = program::Run<C, L, K, N>;

public:
    Targets<C, L> targets;
    std::int64_t chunks = 1;  // of rows

    Scatter(const Run& run, std::int64_t longest, std::int64_t segment, std::int64_t segments)
        : run_(run), segments_(segments) {
        targets.longest = longest;
        const std::int64_t rows = run.iteration.rows;
        set_lengths(Tree{}, run.iteration.length);
        [&]<class... R, int... Index, class... A>(tree::ReductionList<tree::Reduce<R, Index, A>...>) {
            (set_lengths(A{}, run.lengths[Index]), ...);
        }(tree::ReductionsOf<Tree>{});
        tree::for_every_leaf(Tree{},
                             [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                 tree::Leaf<T, Index, access, is_tracked, has_value>) {
                                 if constexpr (is_tracked) {
                                     if (run.slots[Index]) choose(Index, segment);
                                 }
                             });
        // Few chunks leave few partial sums; without those, blocks may be many.
        const std::int64_t blocks = targets.columns > 0 ? 528 : 8192;
        chunks = std::max<std::int64_t>(1, std::min(rows, blocks / segments));
        chunks = std::min<std::int64_t>(chunks, 65535);
        tree::for_every_leaf(Tree{},
                             [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                 tree::Leaf<T, Index, access, is_tracked, has_value>) {
                                 if constexpr (is_tracked) take_memory<T>(targets.leaf[Index], Index);
                             });
    }

    /// Adds up partial sums, in a fixed order.
    void finish() {
        tree::for_every_leaf(Tree{},
                             [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                 tree::Leaf<T, Index, access, is_tracked, has_value>) {
                                 if constexpr (is_tracked) finish<T>(targets.leaf[Index], Index);
                             });
    }

private:
    template <class Part>
    void set_lengths(Part part, std::int64_t length) {
        tree::for_each_leaf(part,
                            [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                tree::Leaf<T, Index, access, is_tracked, has_value>) {
                                targets.leaf[Index].length = length;
                            });
    }

    bool same_path(int a, int b) const {
        const program::Path &p = run_.gradient_paths[a], &q = run_.gradient_paths[b];
        bool same = p.step == q.step;
        for (int axis = 0; axis < run_.iteration.outer.rank; ++axis)
            same = same && p.outer[axis] == q.outer[axis];
        return same && targets.leaf[a].length == targets.leaf[b].length;
    }

    void choose(int index, std::int64_t segment) {
        Target& target = targets.leaf[index];
        const program::Path& path = run_.gradient_paths[index];
        const auto& outer = run_.iteration.outer;
        bool shares_all_rows = true, shares_some_rows = false;
        for (int axis = 0; axis < outer.rank; ++axis) {
            shares_all_rows = shares_all_rows && path.outer[axis] == 0;
            shares_some_rows = shares_some_rows || path.outer[axis] == 0;
        }
        shares_all_rows = shares_all_rows && run_.iteration.rows > 1;
        bool meets_another = false;  // the same slot, read another way: the two must not write at once
        for (int j = 0; j < index; ++j) {
            if (run_.slots[j] != run_.slots[index]) continue;
            if (targets.leaf[j].way != Way::merged && same_path(index, j)) {
                target.way = Way::merged;
                target.merged = j;
                return;
            }
            meets_another = true;
        }
        if (path.step == 0)
            target.way = Way::row;
        else if (!shares_some_rows && !meets_another)
            target.way = Way::direct;
        else if (shares_all_rows && path.step == 1 &&
                 (static_cast<std::int64_t>(targets.columns) + 1) * segment *
                         static_cast<std::int64_t>(sizeof(C)) <=
                     (std::int64_t{96} << 10)) {
            target.way = Way::column;
            target.column = targets.columns++;
        } else {
            target.way = Way::apart;
        }
    }

    std::int64_t partial_rows(const Target& target) const {
        return target.way == Way::column ? chunks : run_.iteration.rows;
    }
    std::int64_t partial_length(const Target& target) const {
        return target.way == Way::row ? segments_ : target.length;
    }

    template <class T>
    void take_memory(Target& target, int index) {
        if (target.way == Way::direct) {
            const auto to = tenon::contribute<T, Cuda>(*run_.slots[index]);
            target.data = to.data;
            target.wide = to.wide;
            target.accumulate = to.accumulate;
            constexpr int W =
                16 / sizeof(GradientOf<T, Cuda>);  // any packet is a multiple of this, or the reverse
            target.is_aligned = run_.gradient_paths[index].step == 1;
            for (int axis = 0; axis < run_.iteration.outer.rank; ++axis)
                target.is_aligned =
                    target.is_aligned && run_.gradient_paths[index].outer[axis] % (W < 8 ? 8 : W) == 0;
        } else if (target.way != Way::none && target.way != Way::merged) {
            storage_[index] = Storage(Memory<Cuda>::allocate(
                static_cast<std::size_t>(partial_rows(target) * partial_length(target)) * sizeof(C)));
            target.apart = storage_[index].data();
        }
    }

    template <class T>
    void finish(const Target& target, int index) {
        if (target.way != Way::column && target.way != Way::row && target.way != Way::apart) return;
        const program::Path& path = run_.gradient_paths[index];
        const std::int64_t length = partial_length(target);
        SumAxes axes;
        if (target.way == Way::column) {
            axes.add(chunks, length, 0);
        } else {
            std::int64_t stride = partial_rows(target) * length;
            for (int axis = 0; axis < run_.iteration.outer.rank; ++axis) {
                stride /= run_.iteration.outer[axis];
                axes.add(run_.iteration.outer[axis], stride, path.outer[axis]);
            }
        }
        axes.add(length, 1, target.way == Way::row ? 0 : path.step);
        const auto to = tenon::contribute<T, Cuda>(*run_.slots[index]);
        const bool by_block = axes.addends >= 256 && axes.results < 16384;
        launch(sum_axes_kernel<GradientOf<T, Cuda>, C>,
               {.blocks = by_block ? blocks_for(axes.results, 1) : blocks_for(axes.results, 128),
                .threads = by_block ? 256u : 128u},
               axes, static_cast<const C*>(target.apart), to, by_block);
    }

    const Run& run_;
    std::int64_t segments_;
    Storage storage_[L];
};

}  // namespace tenon::cuda::fused
