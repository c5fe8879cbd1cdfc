#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/expression/gradient_cpu.hpp>
#include <tenon/expression/program.hpp>
#include <tenon/expression/row_cpu.hpp>
#include <tenon/expression/tree.hpp>

namespace tenon {

/// Fused evaluation on the host: rows are shared out over threads; long rows in segments, where they have
/// reductions only if rows are few. `per_row`: the result has one element a row, made from reductions.
template <>
struct Kernel<Elementwise, Cpu> {
    /// out is overwritten.
    template <class Tree, bool per_row, class T, class C, int L, int K, int N>
    static void forward(const program::Run<C, L, K, N>& run, T* out) {
        using V = Packet<C>;
        const program::Iteration& iteration = run.iteration;
        const kernel::RowPlan plan(run, per_row);
        Workspace workspace;
        const C* reduced = plan.is_cut && N > 0 ? kernel::reduce_in_blocks<Tree>(run, workspace) : nullptr;
        parallel_for(iteration.rows * plan.segments, plan.grain(),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t index = first; index < last; ++index) {
                             const std::int64_t row = index / plan.segments,
                                                begin = index % plan.segments * plan.segment;
                             tree::Cursor<C, L, K, N> cursor;
                             kernel::set_row<Tree>(cursor, run, row);
                             if (reduced)
                                 std::copy_n(reduced + row * N, N, cursor.reduced);
                             else
                                 kernel::reduce_all(cursor, tree::ReductionsOf<Tree>{});
                             if constexpr (per_row) {
                                 store_as(tree::evaluate<Tree, C>(cursor, 0).value, out + row);
                             } else {
                                 const std::int64_t end = std::min(begin + plan.segment, iteration.length);
                                 T* to = out + row * iteration.length;
                                 std::int64_t at = begin;
                                 for (; at + V::size <= end; at += V::size)
                                     store_as(tree::evaluate<Tree, V>(cursor, at).value, to + at);
                                 if (const int rest = static_cast<int>(end - at); rest > 0) {
                                     kernel::RowEnd<C, decltype(cursor), L> row_end(Tree{}, cursor, at, rest);
                                     T lanes[V::size];
                                     store_as(tree::evaluate<Tree, V>(row_end.cursor, 0).value, lanes);
                                     std::copy_n(lanes, rest, to + at);
                                 }
                             }
                         }
                     });
    }

    /// One pass over the large arrays for the gradients of all leaves, or where rows are cut one for the
    /// result and one for each reduction. `upstream` is packed.
    template <class Tree, bool per_row, class C, int L, int K, int N>
    static void backward(const program::Run<C, L, K, N>& run, const C* upstream) {
        if (run.iteration.rows * run.iteration.length == 0) return;
        kernel::RowGradients<Tree, per_row, C, L, K, N> gradients(run, upstream);
        if constexpr (N > 0) {
            if (gradients.plan.is_cut)
                gradients.compute_in_segments();
            else
                gradients.compute_by_rows();
        } else {
            gradients.compute_by_rows();
        }
        gradients.finish();
    }
};

}  // namespace tenon
