#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/expression/program.hpp>
#include <tenon/expression/row_cpu.hpp>
#include <tenon/expression/tree.hpp>

namespace tenon::kernel {

/// How rows become work for threads. It follows from the lengths alone, since the order of sums follows from
/// it.
struct RowPlan {
    bool is_cut;                        // rows are shared out in segments
    std::int64_t segment, segments;     // of the result's rows
    std::int64_t rows, elements, work;  // elements that a row, and that all rows visit

    template <class C, int L, int K, int N>
    RowPlan(const program::Run<C, L, K, N>& run, bool per_row) : rows(run.iteration.rows) {
        const std::int64_t length = run.iteration.length;
        std::int64_t longest = length;
        elements = length;
        for (int i = 0; i < N; ++i) {
            longest = std::max(longest, run.lengths[i]);
            elements += run.lengths[i];
        }
        work = rows * elements;
        // A row with reductions is best computed in one go while it is in cache; cutting it reads it again.
        is_cut = N == 0 || (longest >= 2 * row_block && (rows < 32 || longest >= 256 * row_block));
        segment = is_cut ? row_block : std::max<std::int64_t>(length, 1);
        segments = per_row ? 1 : (length + segment - 1) / segment;
    }

    /// How many segments of the result are worth a thread.
    std::int64_t grain() const {
        return 1 + 16384 / (std::max<std::int64_t>(elements, 1) / std::max<std::int64_t>(segments, 1) + 1);
    }
};

/// Reduces the values of a tree over all rows in blocks that threads share: out[row * stride].
template <class Whole, class R, class Tree, class C, int L, int K, int N>
void reduce_rows_in_blocks(const program::Run<C, L, K, N>& run, std::int64_t length, const C* reduced, C* out,
                           std::int64_t stride) {
    const std::int64_t rows = run.iteration.rows, blocks = row_blocks(length);
    Workspace workspace;
    C* parts = workspace.take<C>(static_cast<std::size_t>(rows * blocks));
    parallel_for(rows * blocks, 4, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t index = first; index < last; ++index) {
            const std::int64_t row = index / blocks, begin = index % blocks * row_block;
            tree::Cursor<C, L, K, N> cursor;
            set_row<Whole>(cursor, run, row);
            std::copy_n(reduced + row * N, N, cursor.reduced);
            parts[index] = reduce_block<R, Tree>(cursor, begin, std::min(begin + row_block, length));
        }
    });
    for (std::int64_t row = 0; row < rows; ++row) {
        double total = R::template identity<double>();
        for (std::int64_t block = 0; block < blocks; ++block)
            total = R::combine(total, static_cast<double>(parts[row * blocks + block]));
        out[row * stride] = static_cast<C>(R::finish(total, static_cast<double>(length)));
    }
}

/// All reductions of a tree for all rows, [rows, N], the same to the last bit as `reduce_all` computes row by
/// row.
template <class Tree, class C, int L, int K, int N>
C* reduce_in_blocks(const program::Run<C, L, K, N>& run, Workspace& workspace) {
    const std::int64_t count = run.iteration.rows * N;
    C* reduced = workspace.take<C>(static_cast<std::size_t>(count));
    std::fill_n(reduced, count, C(0));
    [&]<class... R, int... Index, class... A>(tree::ReductionList<tree::Reduce<R, Index, A>...>) {
        (reduce_rows_in_blocks<Tree, R, A>(run, run.lengths[Index], reduced, reduced + Index, N), ...);
    }(tree::ReductionsOf<Tree>{});
    return reduced;
}

/// A backward pass through a fused evaluation. Gradients of broadcast leaves gather in partial sums, one for
/// each block of the work; `finish` adds them up in order.
template <class Tree, bool per_row, class C, int L, int K, int N>
class RowGradients {
public:
    const RowPlan plan;

    RowGradients(const program::Run<C, L, K, N>& run, const C* upstream)
        : plan(run, per_row), run_(run), upstream_(upstream), slots_(run.slots) {
        // A gradient is written directly where no two units of work share an element of it.
        const program::Iteration& iteration = run.iteration;
        const bool shares_rows = plan.is_cut && (N > 0 || plan.segments > 1);
        std::int64_t partial_total = 0;
        for (int i = 0; i < L; ++i) {
            if (!slots_[i]) continue;
            is_partial_[i] = run.gradient_paths[i].step == 0 && shares_rows;
            for (int axis = 0; axis < iteration.outer.rank; ++axis)
                if (run.gradient_paths[i].outer[axis] == 0) is_partial_[i] = true;
            if (is_partial_[i]) partial_total += slots_[i]->count;
        }
        blocks_ = std::min<std::int64_t>(64, 1 + plan.work / 16384);
        if (!plan.is_cut || N == 0) blocks_ = std::min(blocks_, plan.rows * plan.segments);
        if (partial_total > 0)
            blocks_ = std::max<std::int64_t>(1, std::min(blocks_, plan.work / (4 * partial_total)));
        for (int i = 0; i < L; ++i) {
            if (!slots_[i]) continue;
            if (is_partial_[i]) {
                destination_[i] = workspace_.take<C>(static_cast<std::size_t>(blocks_ * slots_[i]->count));
                accumulate_[i] = true;
            } else {
                const Contribution<C> contribution = contribute<C, Cpu>(*slots_[i]);
                destination_[i] = contribution.data;
                accumulate_[i] = contribution.accumulate;
            }
        }
    }

    /// Whole rows: the reductions, the result's gradient, then the reductions' gradients, while a row is in
    /// cache.
    void compute_by_rows() {
        const std::int64_t units = plan.rows * plan.segments, length = run_.iteration.length;
        parallel_for_each(blocks_, [&](std::int64_t block) {
            clear_partial_sums(block);
            for (std::int64_t index = units * block / blocks_; index < units * (block + 1) / blocks_;
                 ++index) {
                const std::int64_t row = index / plan.segments, begin = index % plan.segments * plan.segment;
                tree::Cursor<C, L, K, N> cursor;
                set_row<Tree>(cursor, run_, row);
                reduce_all(cursor, tree::ReductionsOf<Tree>{});
                GradientSink<C, L, N> sink;
                open(sink, row, block);
                // Reductions visit a leaf several times: it starts from zero, and all visits add.
                for (int i = 0; i < L; ++i)
                    if (N > 0 && sink.gradient[i] && !sink.accumulate[i]) {
                        std::fill_n(sink.gradient[i], run_.row_lengths[i], C(0));
                        sink.accumulate[i] = true;
                    }
                reverse_result(cursor, sink, row, begin, std::min(begin + plan.segment, length));
                reverse_all(cursor, sink, tree::ReductionsOf<Tree>{});
                close(sink);
            }
        });
    }

    /// Few long rows: step by step through the result and each reduction, each step in segments of all rows.
    void compute_in_segments() {
        for (int i = 0; i < L; ++i) {
            if (!slots_[i] || is_partial_[i]) continue;
            // Several steps visit a leaf: it starts from zero, and all steps add.
            if (!accumulate_[i])
                parallel_for(slots_[i]->count, 16384, [&](std::int64_t first, std::int64_t last) {
                    std::fill_n(destination_[i] + first, last - first, C(0));
                });
            accumulate_[i] = true;
        }
        parallel_for_each(blocks_, [&](std::int64_t block) { clear_partial_sums(block); });
        const std::int64_t count = plan.rows * N;
        reduced_ = reduce_in_blocks<Tree>(run_, workspace_);
        adjoint_ = workspace_.take<double>(static_cast<std::size_t>(count));
        share_ = workspace_.take<C>(static_cast<std::size_t>(plan.rows));
        std::fill_n(adjoint_, count, 0.);
        step(plan.segments, run_.iteration.length,
             [&](auto& cursor, auto& sink, std::int64_t row, std::int64_t begin, std::int64_t end) {
                 reverse_result(cursor, sink, row, begin, end);
             });
        reverse_steps(tree::ReductionsOf<Tree>{});
    }

    /// Adds up what is still in parts.
    void finish() {
        for (int i = 0; i < L; ++i) {
            if (!is_partial_[i]) continue;
            const Contribution<C> sum = contribute<C, Cpu>(*slots_[i]);
            const std::int64_t count = slots_[i]->count;
            const C* parts = destination_[i];
            parallel_for(count, 4096, [&](std::int64_t first, std::int64_t last) {
                for (std::int64_t at = first; at < last; ++at) {
                    C total = sum.accumulate ? sum.data[at] : C(0);
                    for (std::int64_t block = 0; block < blocks_; ++block) total += parts[block * count + at];
                    sum.data[at] = total;
                }
            });
        }
    }

private:
    using Cursor = tree::Cursor<C, L, K, N>;
    using Sink = GradientSink<C, L, N>;
    using V = Packet<C>;

    void clear_partial_sums(std::int64_t block) {
        for (int i = 0; i < L; ++i)
            if (is_partial_[i])
                std::fill_n(destination_[i] + block * slots_[i]->count, slots_[i]->count, C(0));
    }

    void open(Sink& sink, std::int64_t row, std::int64_t block) const {
        for (int i = 0; i < L; ++i) {
            sink.gradient[i] = nullptr;
            sink.packet_sum[i] = V(C(0));
            sink.sum[i] = C(0);
            sink.step[i] = run_.gradient_paths[i].step;
            sink.accumulate[i] = accumulate_[i];
            if (slots_[i])
                sink.gradient[i] = destination_[i] + run_.gradient_paths[i].row_offset(run_.iteration, row) +
                                   (is_partial_[i] ? block * slots_[i]->count : 0);
        }
        for (int i = 0; i < N; ++i) {
            sink.adjoint_packet[i] = V(C(0));
            sink.adjoint[i] = C(0);
        }
    }

    static void close(Sink& sink) {
        for (int i = 0; i < L; ++i)
            if (sink.gradient[i] && sink.step[i] == 0) {
                const C total = sink.packet_sum[i].sum() + sink.sum[i];
                *sink.gradient[i] = (sink.accumulate[i] ? *sink.gradient[i] : C(0)) + total;
            }
    }

    void reverse_result(const Cursor& cursor, Sink& sink, std::int64_t row, std::int64_t begin,
                        std::int64_t end) const {
        if constexpr (per_row)
            tree::Reverse<Tree>::run(tree::evaluate<Tree, C>(cursor, 0), upstream_[row], sink, 0);
        else
            reverse_row<Tree>(cursor, sink, begin, end,
                              RowUpstream<C>{upstream_ + row * run_.iteration.length});
    }

    /// Runs part(cursor, sink, row, begin, end) for all segments, and adds to the reductions' gradients.
    template <class Part>
    void step(std::int64_t segments, std::int64_t length, const Part& part) {
        Workspace workspace;
        const std::int64_t units = plan.rows * segments;
        C* parts = workspace.take<C>(static_cast<std::size_t>(units * N));
        parallel_for_each(blocks_, [&](std::int64_t block) {
            for (std::int64_t index = units * block / blocks_; index < units * (block + 1) / blocks_;
                 ++index) {
                const std::int64_t row = index / segments, begin = index % segments * row_block;
                Cursor cursor;
                set_row<Tree>(cursor, run_, row);
                std::copy_n(reduced_ + row * N, N, cursor.reduced);
                Sink sink;
                open(sink, row, block);
                part(cursor, sink, row, begin, std::min(begin + row_block, length));
                close(sink);
                for (int i = 0; i < N; ++i)
                    parts[index * N + i] = sink.adjoint[i] + sink.adjoint_packet[i].sum();
            }
        });
        for (std::int64_t index = 0; index < units; ++index)
            for (int i = 0; i < N; ++i)
                adjoint_[index / segments * N + i] += static_cast<double>(parts[index * N + i]);
    }

    void reverse_steps(tree::ReductionList<>) {}
    template <class R, int Index, class A, class... Rest>
    void reverse_steps(tree::ReductionList<tree::Reduce<R, Index, A>, Rest...>) {
        reverse_steps(tree::ReductionList<Rest...>{});
        if constexpr (tree::needs_gradient<A>) {
            const std::int64_t length = run_.lengths[Index];
            if constexpr (R::selects)
                reduce_rows_in_blocks<Tree, reduction::Sum, typename TiesOf<R, Index, A>::type>(
                    run_, length, reduced_, share_, 1);
            else
                std::fill_n(share_, plan.rows, C(1));
            for (std::int64_t row = 0; row < plan.rows; ++row)
                share_[row] = static_cast<C>(adjoint_[row * N + Index] *
                                             R::share(static_cast<double>(length)) / double(share_[row]));
            step(row_blocks(length), length,
                 [&](auto& cursor, auto& sink, std::int64_t row, std::int64_t begin, std::int64_t end) {
                     reverse_row<A>(cursor, sink, begin, end,
                                    ReductionUpstream<R, C>{share_[row], cursor.reduced[Index]});
                 });
        }
    }

    const program::Run<C, L, K, N>& run_;
    const C* upstream_;
    GradientSlot* const* slots_;
    Workspace workspace_;
    C* destination_[L] = {};
    bool accumulate_[L] = {}, is_partial_[L] = {};
    std::int64_t blocks_;
    const C* reduced_ = nullptr;  // [rows, N]
    double* adjoint_ = nullptr;   // [rows, N], the reductions' gradients
    C* share_ = nullptr;          // [rows], of the reduction whose step it is
};

}  // namespace tenon::kernel
