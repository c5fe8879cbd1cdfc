#pragma once

#include <cstdint>

#include <tenon/cuda/approximate.cuh>
#include <tenon/cuda/index.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/expression/program.hpp>
#include <tenon/expression/tree.hpp>

/// How the threads of a GPU read rows: each takes packets of W neighbouring elements into registers.
namespace tenon::cuda::fused {

// `tree::for_each_leaf` and `tree::for_every_leaf`, for the threads of a kernel.
template <class Tree, class Visit>
__device__ __forceinline__ void visit_leaves(Visit&& visit) {
    [&]<class... A>(tree::LeafList<A...>) { (visit(A{}), ...); }(tree::LeavesOf<Tree>{});
}
template <class Tree, class Visit>
__device__ __forceinline__ void visit_all_leaves(Visit&& visit) {
    visit_leaves<Tree>(visit);
    [&]<class... R, int... Index, class... A>(tree::ReductionList<tree::Reduce<R, Index, A>...>) {
        (visit_leaves<A>(visit), ...);
    }(tree::ReductionsOf<Tree>{});
}

/// The size of the smallest element that a tree reads, at most `least`.
template <class Tree>
struct SmallestElement {
    static constexpr int within(int least) { return least; }
};
template <class T, int Index, tree::Access access, bool is_tracked, bool has_value>
struct SmallestElement<tree::Leaf<T, Index, access, is_tracked, has_value>> {
    static constexpr int within(int least) {
        return access == tree::Access::uniform || static_cast<int>(sizeof(T)) >= least
                   ? least
                   : static_cast<int>(sizeof(T));
    }
};
template <class R, int Index, class A>
struct SmallestElement<tree::Reduce<R, Index, A>> : SmallestElement<A> {};
template <class F, class... A>
struct SmallestElement<tree::Apply<F, A...>> {
    static constexpr int within(int least) { return within_all(least, SmallestElement<A>::within(least)...); }

private:
    template <class... N>
    static constexpr int within_all(int least, N... sizes) {
        ((least = sizes < least ? sizes : least), ...);
        return least;
    }
};

/// Elements of a packet: 16 bytes of the smallest type that is read or written.
template <class Tree, class T>
inline constexpr int packet_size = 16 / SmallestElement<Tree>::within(sizeof(T));

/// A packet of a row's elements, in registers: what `tree::evaluate` reads.
template <class C, int L, int K, int N, int W>
struct Lanes {
    C leaf[L][W];
    const C* constant;  // the launch's parameters
    const C* reduced;

    template <class V, class T, int Index, tree::Access access>
    __device__ __forceinline__ V leaf_value(std::int64_t lane) const {
        return V(leaf[Index][lane]);
    }
};

/// Whether every number that a tree reads has 16 bits.
template <class Tree>
inline constexpr bool reads_halves = true;
template <class T, int Index, tree::Access access, bool is_tracked, bool has_value>
inline constexpr bool reads_halves<tree::Leaf<T, Index, access, is_tracked, has_value>> = is_half<T>;
template <class R, int Index, class A>
inline constexpr bool reads_halves<tree::Reduce<R, Index, A>> = reads_halves<A>;
template <class F, class... A>
inline constexpr bool reads_halves<tree::Apply<F, A...>> = (reads_halves<A> && ...);

/// What a tree is evaluated in, whose results are of type T: its type of computation C, exact or fast.
template <class Tree, class T, class C>
using Number = std::conditional_t<reads_halves<Tree> && is_half<T>, Approximate, C>;

/// Which leaves may be read in packets, a bit each: their elements lie side by side, every row aligned.
template <class Tree, int W, class C, int L, int K, int N>
unsigned packed_leaves(const program::Run<C, L, K, N>& run) {
    unsigned packed = 0;
    tree::for_every_leaf(
        Tree{}, [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                    tree::Leaf<T, Index, access, is_tracked, has_value>) {
            bool fits = run.paths[Index].step == 1 && is_aligned<W>(static_cast<const T*>(run.data[Index]));
            for (int axis = 0; axis < run.iteration.outer.rank; ++axis)
                fits = fits && run.paths[Index].outer[axis] % W == 0;
            if (fits) packed |= 1u << Index;
        });
    return packed;
}

/// Whether these are all leaves that have a packet at each place, those of reductions excluded.
template <class Tree>
bool packs_all(unsigned packed) {
    bool all = true;
    tree::for_each_leaf(Tree{}, [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                    tree::Leaf<T, Index, access, is_tracked, has_value>) {
        if (has_value && access != tree::Access::uniform) all = all && (packed >> Index & 1) != 0;
    });
    return all;
}
/// Where rows begin in each array.
template <int L>
IndexSpace<L> space_of_rows(const program::Iteration& iteration, const program::Path (&paths)[L]) {
    IndexSpace<L> space;
    for (int axis = 0; axis < iteration.outer.rank; ++axis) {
        std::int64_t steps[L];
        for (int i = 0; i < L; ++i) steps[i] = paths[i].outer[axis];
        space.append(iteration.outer[axis], steps);
    }
    return space;
}
template <int L>
using RowOffsets = typename IndexSpace<L>::Offsets;

/// Reads the leaves of a tree, those of its reductions excluded: `count` elements of a row from `at` on.
/// Lanes past the end repeat the last.
template <class Tree, class C, int L, int K, int N, int W>
__device__ __forceinline__ void load_leaves(const program::Run<C, L, K, N>& run, const RowOffsets<L>& rows,
                                            unsigned packed, std::int64_t at, int count, C (&leaf)[L][W]) {
    visit_leaves<Tree>([&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                           tree::Leaf<T, Index, access, is_tracked, has_value>) {
        if constexpr (has_value) {
            const T* row = static_cast<const T*>(run.data[Index]) + rows.in[Index];
            if constexpr (access == tree::Access::uniform) {
                const C value = convert<C>(*row);
#pragma unroll
                for (int lane = 0; lane < W; ++lane) leaf[Index][lane] = value;
            } else {
                const std::int64_t step = access == tree::Access::contiguous ? 1 : run.paths[Index].step;
                Pack<T, W> pack;
                if (count == W && (packed >> Index & 1))
                    pack = *reinterpret_cast<const Pack<T, W>*>(row + at);
                else
#pragma unroll
                    for (int lane = 0; lane < W; ++lane)
                        pack.element[lane] = row[(at + (lane < count ? lane : count - 1)) * step];
                unpack(pack, leaf[Index]);  // outside of the branches, which would wait for their elements
            }
        }
    });
}

/// How many of a packet's elements lie before the end.
template <int W>
__device__ __forceinline__ int lanes_before(std::int64_t end, std::int64_t at) {
    return end - at < W ? static_cast<int>(end - at) : W;
}

/// What the threads of a block do with a row: thread i takes packets i, i + threads, … of it.
template <class C, int L, int K, int N, int W, class V>
struct RowTeam {
    const program::Run<C, L, K, N>& run;
    RowOffsets<L> rows;
    unsigned packed;
    std::int64_t begin, end;  // the part of the row that this block has
    C* scratch;               // shared memory, one C a warp

    /// Calls visit(lanes, count, at) for each packet of this thread of the first `length` elements.
    template <class Tree, class Visit>
    __device__ __forceinline__ void for_each_packet(std::int64_t length, const C* reduced,
                                                    Visit&& visit) const {
        const std::int64_t last = end < length ? end : length;
        Lanes<C, L, K, N, W> lanes;
        lanes.constant = run.constants;
        lanes.reduced = reduced;
        for (std::int64_t at = begin + std::int64_t(threadIdx.x) * W; at < last;
             at += std::int64_t(blockDim.x) * W) {
            const int count = lanes_before<W>(last, at);
            load_leaves<Tree>(run, rows, packed, at, count, lanes.leaf);
            visit(lanes, count, at);
        }
    }

    /// Combines the values of a tree over this block's part of a row; all threads get the result.
    template <class R, class Tree>
    __device__ __forceinline__ C reduce(std::int64_t length, const C* reduced) const {
        C total = R::template identity<C>();
        for_each_packet<Tree>(length, reduced, [&](const auto& lanes, int count, std::int64_t) {
#pragma unroll
            for (int lane = 0; lane < W; ++lane)
                if (lane < count)
                    total = R::combine(total, static_cast<C>(tree::evaluate<Tree, V>(lanes, lane).value));
        });
        return reduce_block(
            total, [](C a, C b) { return R::combine(a, b); }, scratch);
    }

    /// All reductions of a tree over a whole row.
    template <class... R, int... Index, class... A>
    __device__ __forceinline__ void reduce_all(C* reduced,
                                               tree::ReductionList<tree::Reduce<R, Index, A>...>) const {
        ((reduced[Index] =
              R::finish(reduce<R, A>(run.lengths[Index], reduced), static_cast<C>(run.lengths[Index]))),
         ...);
    }
};

}  // namespace tenon::cuda::fused
