#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/cuda/column_sums.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/reduce_axes.cuh>
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

/// Decides the ways of all leaves' gradients, and finishes what the pass over the large arrays leaves.
template <class Tree, class C, int L, int K, int N>
class Scatter {
    using Run = program::Run<C, L, K, N>;

public:
    Targets<C, L> targets;

    /// `longest`: of the rows of the result and of reductions; `segment`: of a row, what a block has at once.
    Scatter(const Run& run, std::int64_t longest, std::int64_t segment) : run_(run) {
        targets.longest = longest;
        set_lengths(Tree{}, run.iteration.length);
        [&]<class... R, int... Index, class... A>(tree::ReductionList<tree::Reduce<R, Index, A>...>) {
            (set_lengths(A{}, run.lengths[Index]), ...);
        }(tree::ReductionsOf<Tree>{});
        for_every_target([&]<class T>(int index) {
            if (run_.slots[index]) choose<T>(index, segment);
        });
    }

    /// Whether each gradient is written where it belongs, side by side, or one summed over all rows; none is
    /// a parameter's of another type.
    bool writes_packets() const {
        bool fits = targets.columns <= (L > 1 ? 1 : 0);
        for_every_target([&]<class T>(int index) {
            const Target& target = targets.leaf[index];
            const bool is_wide = !std::same_as<GradientOf<T, Cuda>, ComputeOf<T>> && run_.slots[index] &&
                                 run_.slots[index]->is_wide;
            fits = fits && target.way != Way::row && target.way != Way::apart &&
                   (target.way != Way::direct || (target.is_aligned && !is_wide));
        });
        return fits;
    }

    /// Takes memory for gradients, and for partial sums: of so many chunks of rows, and segments of a row.
    void take_memory(std::int64_t chunks, std::int64_t segments) {
        chunks_ = chunks;
        segments_ = segments;
        for_every_target([&]<class T>(int index) { take_memory<T>(targets.leaf[index], index); });
    }

    /// Adds up partial sums, in a fixed order.
    void finish() {
        for_every_target([&]<class T>(int index) { finish<T>(targets.leaf[index], index); });
    }

private:
    /// Calls visit<T>(index) for every tracked leaf.
    template <class Visit>
    static void for_every_target(const Visit& visit) {
        tree::for_every_leaf(Tree{},
                             [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                 tree::Leaf<T, Index, access, is_tracked, has_value>) {
                                 if constexpr (is_tracked) visit.template operator()<T>(Index);
                             });
    }

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

    template <class T>
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
        else if (!shares_some_rows && !meets_another) {
            target.way = Way::direct;
            constexpr int W = 16 / sizeof(GradientOf<T, Cuda>);  // any packet is a multiple, or the reverse
            target.is_aligned = path.step == 1;
            for (int axis = 0; axis < outer.rank; ++axis)
                target.is_aligned = target.is_aligned && path.outer[axis] % (W < 8 ? 8 : W) == 0;
        } else if (shares_all_rows && path.step == 1 &&
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
        return target.way == Way::column ? chunks_ : run_.iteration.rows;
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
        } else if (target.way != Way::none && target.way != Way::merged) {
            storage_[index] = Storage(Memory<Cuda>::allocate(
                static_cast<std::size_t>(partial_rows(target) * partial_length(target)) * sizeof(C)));
            target.apart = storage_[index].data();
        }
    }

    template <class T>
    void finish(const Target& target, int index) {
        if (target.way != Way::column && target.way != Way::row && target.way != Way::apart) return;
        using G = GradientOf<T, Cuda>;
        const std::int64_t length = partial_length(target);
        const auto* const partial = static_cast<const C*>(target.apart);
        const auto to = tenon::contribute<T, Cuda>(*run_.slots[index]);
        if (target.way == Way::column) return column_sums(partial, chunks_, length, ColumnSums<G, 1>{{to}});
        AxesReduction<reduction::Sum, C, 1, ReadElements<C, C>, ContributeReduced<C, G>> sum{
            .results = 1, .length = 1, .read = {partial}, .finish = {.to = to}};
        const auto append = [&](std::int64_t size, std::int64_t from, std::int64_t place) {
            (place == 0 ? sum.reduced : sum.kept).append(size, from);
            (place == 0 ? sum.length : sum.results) *= size;
            if (place != 0) sum.finish.places.append(size, place);
        };
        const program::Path& path = run_.gradient_paths[index];
        std::int64_t stride = run_.iteration.rows * length;
        for (int axis = 0; axis < run_.iteration.outer.rank; ++axis) {
            stride /= run_.iteration.outer[axis];
            append(run_.iteration.outer[axis], stride, path.outer[axis]);
        }
        append(length, 1, target.way == Way::row ? 0 : path.step);
        reduce_axes(sum);
    }

    const Run& run_;
    std::int64_t chunks_ = 1, segments_ = 1;
    Storage storage_[L];
};

}  // namespace tenon::cuda::fused
