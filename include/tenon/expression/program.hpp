#pragma once

#include <cstdint>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/layout.hpp>

namespace tenon {

/// Names the fused evaluation of an expression where kernels are declared: `Kernel<Elementwise, Cpu>`.
struct Elementwise {};

namespace program {

/// A leaf of an expression with its shape erased to values. Its element type stands in the tree.
struct Operand {
    Storage storage;
    void* data = nullptr;
    Extents extents;
    Strides strides;
    SlotReference slot;
    bool is_per_row = false;  // lies outside of reductions that drop their axis: one element a row
    int joined = 1;           // so many of its last axes are iterated as one
};

/// What is iterated: `rows` rows of `length` elements along the innermost axis.
struct Iteration {
    struct {
        int rank = 0;
        std::int64_t size[max_rank] = {};  // joined axes may be longer than an extent can say

        TENON_HOST_DEVICE std::int64_t operator[](int axis) const { return size[axis]; }
    } outer;
    std::int64_t rows = 1;
    std::int64_t length = 1;
};

/// Steps through one array while the iteration goes its way.
struct Path {
    Strides outer;
    std::int64_t step = 0;

    TENON_HOST_DEVICE std::int64_t row_offset(const Iteration& iteration, std::int64_t row) const {
        std::int64_t offset = 0;
        for (int axis = iteration.outer.rank - 1; axis >= 0; --axis) {
            const std::int64_t length = iteration.outer[axis];
            offset += row % length * outer[axis];
            row /= length;
        }
        return offset;
    }
};

/// The path of an array of these extents and strides under an iteration over `whole`: broadcast axes get step
/// 0.
inline Path align(const Extents& whole, int inner, const Extents& extents, const Strides& strides) {
    Path path;
    for (int axis = 0; axis <= inner; ++axis) {
        const int own = axis - (whole.rank - extents.rank);
        const std::int64_t step = own < 0 || extents[own] == 1 ? 0 : strides[own];
        (axis == inner ? path.step : path.outer[axis]) = step;
    }
    return path;
}

/// Makes one axis of the last ones, which lie in one piece or are all of length 1. Returns its length.
inline std::int64_t join_last_axes(Extents& extents, Strides& strides, Strides& packed, int axes) {
    if (extents.rank < axes) {
        extents.rank = 0;
        return 1;
    }
    const int axis = extents.rank - axes, last = extents.rank - 1;
    const std::int64_t length = extents.count(axis);
    extents.rank = axis + 1;
    extents[axis] = length == 1 ? 1 : 2;  // from here on it only matters whether it is broadcast
    strides[axis] = strides[last];
    packed[axis] = packed[last];
    return length;
}

/// Joins neighbouring axes along which all paths run on evenly, so that rows are few and long. The innermost
/// axis takes part unless it is one of a reduction.
inline Iteration collapse(const Extents& whole, int inner, bool keeps_rows, Path* paths, int path_count) {
    Iteration iteration;
    int last = -1;  // the axis kept last; paths are compacted in place
    for (int axis = 0; axis < inner; ++axis) {
        if (whole[axis] == 1) continue;
        bool joins = last >= 0;
        for (int i = 0; i < path_count && joins; ++i)
            joins = paths[i].outer[last] == paths[i].outer[axis] * whole[axis];
        if (!joins) iteration.outer.size[++last] = 1;
        iteration.outer.size[last] *= whole[axis];
        for (int i = 0; i < path_count; ++i) paths[i].outer[last] = paths[i].outer[axis];
    }
    iteration.length = inner >= 0 ? whole[inner] : 1;
    if (!keeps_rows && last >= 0) {
        bool joins = true;
        for (int i = 0; i < path_count && joins; ++i)
            joins = paths[i].outer[last] == paths[i].step * iteration.length;
        if (joins) iteration.length *= iteration.outer[last--];
    }
    iteration.outer.rank = last + 1;
    for (int axis = 0; axis <= last; ++axis) iteration.rows *= iteration.outer[axis];
    return iteration;
}

/// The operands of a fused evaluation, shapes erased: C the type of computation, L leaves, K constants, N
/// reductions.
template <class C, int L, int K, int N>
struct Inputs {
    Operand operands[L];
    C constants[K > 0 ? K : 1] = {};
    std::int64_t lengths[N > 0 ? N : 1] = {};  // of the rows that each reduction reduces
    Extents whole;                             // what is iterated, the innermost axis included
    int inner = 0;                             // the innermost axis: the last whose type does not say 1
};

/// The same, ready for a kernel.
template <class C, int L, int K, int N>
struct Run {
    Iteration iteration;
    const void* data[L];
    Path paths[L];
    Path gradient_paths[L];
    GradientSlot* slots[L];
    std::int64_t row_lengths[L];  // of the leaves' own rows
    C constants[K > 0 ? K : 1];
    std::int64_t lengths[N > 0 ? N : 1];
};

template <class C, int L, int K, int N>
[[gnu::noinline]] Run<C, L, K, N> prepare(const Inputs<C, L, K, N>& inputs) {
    Run<C, L, K, N> run;
    Path paths[2 * L];
    for (int i = 0; i < L; ++i) {
        const Operand& operand = inputs.operands[i];
        Extents extents = operand.extents;
        Strides strides = operand.strides;
        if (operand.is_per_row) extents.append(1);
        // A gradient is packed, whatever the layout of the value.
        Strides packed = row_major_strides(extents);
        run.row_lengths[i] = extents.rank > 0 ? extents[extents.rank - 1] : 1;
        if (operand.joined > 1) run.row_lengths[i] = join_last_axes(extents, strides, packed, operand.joined);
        paths[i] = align(inputs.whole, inputs.inner, extents, strides);
        paths[L + i] = align(inputs.whole, inputs.inner, extents, packed);
        run.data[i] = operand.data;
        run.slots[i] = operand.slot.get();
    }
    run.iteration = collapse(inputs.whole, inputs.inner, N > 0, paths, 2 * L);
    for (int i = 0; i < L; ++i) {
        run.paths[i] = paths[i];
        run.gradient_paths[i] = paths[L + i];
    }
    for (int i = 0; i < K; ++i) run.constants[i] = inputs.constants[i];
    for (int i = 0; i < N; ++i) run.lengths[i] = inputs.lengths[i];
    return run;
}

}  // namespace program
}  // namespace tenon
