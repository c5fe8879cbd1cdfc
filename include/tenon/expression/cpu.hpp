#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/expression/program.hpp>
#include <tenon/expression/tree.hpp>

namespace tenon::kernel {

/// The last elements of a row, fewer than a packet: copies of the leaves' ends, so that the code of the loop serves
/// them too. Lanes past the end repeat the last element.
template <class C, class Cursor, int Leaves>
struct RowEnd {
    static constexpr std::size_t packet_bytes = sizeof(Packet<C>);

    Cursor cursor;
    alignas(packet_bytes) std::byte leaf[Leaves][packet_bytes];

    template <class Tree>
    RowEnd(Tree tree, const Cursor& row, std::int64_t at, int count) : cursor(row) {
        tree::for_each_leaf(tree, [&]<class T, int Index, tree::Access access, bool is_tracked>(
                                      tree::Leaf<T, Index, access, is_tracked>) {
            if constexpr (access != tree::Access::uniform) {
                const std::int64_t step = access == tree::Access::contiguous ? 1 : row.step[Index];
                const T* from = static_cast<const T*>(row.leaf[Index]) + at * step;
                T* to = reinterpret_cast<T*>(leaf[Index]);
                for (int lane = 0; lane < Packet<C>::size; ++lane) to[lane] = from[(lane < count ? lane : count - 1) * step];
                cursor.leaf[Index] = to;
                cursor.step[Index] = 1;
            }
        });
    }
};

/// Reduces the values of a tree over a row. The order depends on the length alone.
template <class R, class Tree, class C, int L, int K, int N>
C reduce_row(const tree::Cursor<C, L, K, N>& cursor, std::int64_t length) {
    using V = Packet<C>;
    C total = R::template identity<C>();
    C lanes[V::size];
    std::int64_t at = 0;
    if (length >= V::size) {
        V partial(R::template identity<C>());
        for (; at + V::size <= length; at += V::size)
            partial = R::combine(partial, tree::evaluate<Tree, V>(cursor, at).value);
        partial.store(lanes);
        for (C lane : lanes) total = R::combine(total, lane);
    }
    if (const int rest = static_cast<int>(length - at); rest > 0) {
        RowEnd<C, tree::Cursor<C, L, K, N>, L> end(Tree{}, cursor, at, rest);
        tree::evaluate<Tree, V>(end.cursor, 0).value.store(lanes);
        for (int lane = 0; lane < rest; ++lane) total = R::combine(total, lanes[lane]);
    }
    return R::finish(total, C(length));
}

template <class C, int L, int K, int N, class... R, int... Index, class... A>
void reduce_all(tree::Cursor<C, L, K, N>& cursor, tree::ReductionList<tree::Reduce<R, Index, A>...>) {
    ((cursor.reduced[Index] = reduce_row<R, A>(cursor, cursor.length[Index])), ...);
}

/// Gradients on their way into memory: of one row's leaves, and of its reductions.
template <class C, int Leaves, int Reductions>
struct GradientSink {
    using V = Packet<C>;

    C* gradient[Leaves];
    std::int64_t step[Leaves];
    bool accumulate[Leaves];
    V packet_sum[Leaves];
    C sum[Leaves];
    V adjoint_packet[Reductions > 0 ? Reductions : 1];
    C adjoint[Reductions > 0 ? Reductions : 1];

    template <int Index, tree::Access access>
    void leaf(std::int64_t at, V value) {
        if (access == tree::Access::uniform || (access == tree::Access::strided && step[Index] == 0)) {
            packet_sum[Index] += value;
        } else {
            C* to = gradient[Index] + at;
            (accumulate[Index] ? V::load(to) + value : value).store(to);
        }
    }
    template <int Index, tree::Access>
    void leaf(std::int64_t, C value) {
        sum[Index] += value;
    }
    template <int Index>
    void reduced(V value) {
        adjoint_packet[Index] += value;
    }
    template <int Index>
    void reduced(C value) {
        adjoint[Index] += value;
    }
};

/// Runs the derivative of a tree over a row; `upstream(at)` and `upstream_end(at, count)` give the gradient of its
/// values, the latter with zeros past the end.
template <class Tree, class C, int L, int K, int N, class Upstream>
void reverse_row(const tree::Cursor<C, L, K, N>& cursor, GradientSink<C, L, N>& sink, std::int64_t length,
                 const Upstream& upstream) {
    using V = Packet<C>;
    std::int64_t at = 0;
    for (; at + V::size <= length; at += V::size) {
        const auto values = tree::evaluate<Tree, V>(cursor, at);
        tree::Reverse<Tree>::run(values, upstream(at, V::size, values.value), sink, at);
    }
    const int rest = static_cast<int>(length - at);
    if (rest == 0) return;
    RowEnd<C, tree::Cursor<C, L, K, N>, L> end(Tree{}, cursor, at, rest);
    GradientSink<C, L, N> end_sink = sink;
    C buffer[L][V::size] = {};
    auto goes_through_buffer = [&](int index) { return end_sink.step[index] != 0; };
    for (int i = 0; i < L; ++i) {
        if (!goes_through_buffer(i) || !sink.gradient[i]) continue;
        if (sink.accumulate[i]) std::memcpy(buffer[i], sink.gradient[i] + at, rest * sizeof(C));
        end_sink.gradient[i] = buffer[i];
    }
    // A leaf that occurs twice must find in its buffer what its first occurrence put there.
    for (int i = 0; i < L; ++i)
        for (int j = 0; j < i; ++j)
            if (goes_through_buffer(i) && sink.gradient[i] && sink.gradient[i] == sink.gradient[j])
                end_sink.gradient[i] = end_sink.gradient[j];
    const auto values = tree::evaluate<Tree, V>(end.cursor, 0);
    tree::Reverse<Tree>::run(values, upstream(at, rest, values.value), end_sink, 0);
    for (int i = 0; i < L; ++i) {
        if (goes_through_buffer(i) && sink.gradient[i] && end_sink.gradient[i] == buffer[i])
            std::memcpy(sink.gradient[i] + at, buffer[i], rest * sizeof(C));
        sink.packet_sum[i] = end_sink.packet_sum[i];
    }
    for (int i = 0; i < N; ++i) sink.adjoint_packet[i] = end_sink.adjoint_packet[i];
}

/// The derivative of one reduction: the gradient of its result goes to each element of its argument.
template <class R, int Index, class A, class C, int L, int K, int N>
void reverse_reduction(const tree::Cursor<C, L, K, N>& cursor, GradientSink<C, L, N>& sink) {
    using V = Packet<C>;
    const std::int64_t length = cursor.length[Index];
    if constexpr (tree::needs_gradient<A>) {
        C share = (sink.adjoint[Index] + sink.adjoint_packet[Index].sum()) * R::share(C(length));
        const V reduced(cursor.reduced[Index]);
        if constexpr (R::selects) {
            struct Equal {
                static V value(V x, V y) { return select(x == y, V(1), V(0)); }
            };
            using Ties = tree::Apply<Equal, A, tree::Reduce<R, Index, A>>;
            share /= reduce_row<reduction::Sum, Ties>(cursor, length);
        }
        reverse_row<A>(cursor, sink, length, [&](std::int64_t, int count, V value) {
            C lanes[V::size] = {};
            for (int lane = 0; lane < count; ++lane) lanes[lane] = share;
            const V gradient = count == V::size ? V(share) : V::load(lanes);
            return R::selects ? select(value == reduced, gradient, V(0)) : gradient;
        });
    }
}

template <class C, int L, int K, int N>
void reverse_all(const tree::Cursor<C, L, K, N>&, GradientSink<C, L, N>&, tree::ReductionList<>) {}
template <class C, int L, int K, int N, class R, int Index, class A, class... Rest>
void reverse_all(const tree::Cursor<C, L, K, N>& cursor, GradientSink<C, L, N>& sink,
                 tree::ReductionList<tree::Reduce<R, Index, A>, Rest...>) {
    reverse_all(cursor, sink, tree::ReductionList<Rest...>{});
    reverse_reduction<R, Index, A>(cursor, sink);
}

}  // namespace tenon::kernel

namespace tenon {

/// Fused evaluation on the host: rows are shared out over threads, and long rows without reductions in segments.
/// `per_row`: the result has one element a row, made from reductions.
template <>
struct Kernel<Elementwise, Cpu> {
    static constexpr std::int64_t segment_length = 4096;

    /// out is overwritten.
    template <class Tree, bool per_row, class T, class C, int L, int K, int N>
    static void forward(const program::Run<C, L, K, N>& run, T* out) {
        using Reductions = tree::ReductionsOf<Tree>;
        using V = Packet<C>;
        const program::Iteration& iteration = run.iteration;
        const std::int64_t segment = N > 0 ? iteration.length : segment_length;
        const std::int64_t segments = per_row ? 1 : (iteration.length + segment - 1) / (segment > 0 ? segment : 1);
        const std::int64_t unit = segment < iteration.length ? segment : iteration.length;
        const std::int64_t grain = 1 + 16384 / (unit > 0 ? unit : 1);
        parallel_for(iteration.rows * segments, grain, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t index = first; index < last; ++index) {
                const std::int64_t row = index / segments, begin = index % segments * segment;
                tree::Cursor<C, L, K, N> cursor;
                set_row<Tree>(cursor, run, row);
                kernel::reduce_all(cursor, Reductions{});
                if constexpr (per_row) {
                    store_as(tree::evaluate<Tree, C>(cursor, 0).value, out + row);
                } else {
                    const std::int64_t end = begin + segment < iteration.length ? begin + segment : iteration.length;
                    T* to = out + row * iteration.length;
                    std::int64_t at = begin;
                    for (; at + V::size <= end; at += V::size)
                        store_as(tree::evaluate<Tree, V>(cursor, at).value, to + at);
                    if (const int rest = static_cast<int>(end - at); rest > 0) {
                        kernel::RowEnd<C, decltype(cursor), L> row_end(Tree{}, cursor, at, rest);
                        T lanes[V::size];
                        store_as(tree::evaluate<Tree, V>(row_end.cursor, 0).value, lanes);
                        std::memcpy(to + at, lanes, rest * sizeof(T));
                    }
                }
            }
        });
    }

    /// One pass over the large arrays for the gradients of all leaves. Those of broadcast leaves gather in partial
    /// sums, one for each block of the work; a finishing pass adds them up in order. `upstream` is packed.
    template <class Tree, bool per_row, class C, int L, int K, int N>
    static void backward(const program::Run<C, L, K, N>& run, const C* upstream) {
        using Reductions = tree::ReductionsOf<Tree>;
        using V = Packet<C>;
        const program::Iteration& iteration = run.iteration;
        const auto& slots = run.slots;
        const auto& gradient_paths = run.gradient_paths;
        const std::int64_t length = iteration.length;
        if (iteration.rows * length == 0) return;
        const std::int64_t segment = N > 0 ? length : segment_length;
        const std::int64_t segments = (length + segment - 1) / segment;
        const std::int64_t units = iteration.rows * segments;

        // A gradient is written directly where no two units share an element of it.
        bool is_partial[L] = {};
        std::int64_t partial_total = 0;
        for (int i = 0; i < L; ++i) {
            if (!slots[i]) continue;
            is_partial[i] = gradient_paths[i].step == 0 && segments > 1;
            for (int axis = 0; axis < iteration.outer.rank; ++axis)
                if (gradient_paths[i].outer[axis] == 0) is_partial[i] = true;
            if (is_partial[i]) partial_total += slots[i]->count;
        }
        std::int64_t blocks = std::min<std::int64_t>({units, 64, 1 + iteration.rows * length / 16384});
        if (partial_total > 0)
            blocks = std::max<std::int64_t>(1, std::min(blocks, iteration.rows * length / (4 * partial_total)));

        Workspace workspace;
        C* destination[L] = {};
        bool accumulate[L] = {};
        for (int i = 0; i < L; ++i) {
            if (!slots[i]) continue;
            if (is_partial[i]) {
                destination[i] = workspace.take<C>(static_cast<std::size_t>(blocks * slots[i]->count));
                accumulate[i] = true;
            } else {
                const Contribution<C> contribution = contribute<C, Cpu>(*slots[i]);
                destination[i] = contribution.data;
                accumulate[i] = contribution.accumulate;
            }
        }

        parallel_for_each(blocks, [&](std::int64_t block) {
            for (int i = 0; i < L; ++i)
                if (is_partial[i])
                    std::memset(destination[i] + block * slots[i]->count, 0, slots[i]->count * sizeof(C));
            for (std::int64_t index = units * block / blocks; index < units * (block + 1) / blocks; ++index) {
                const std::int64_t row = index / segments, begin = index % segments * segment;
                const std::int64_t end = begin + segment < length ? begin + segment : length;
                tree::Cursor<C, L, K, N> cursor;
                set_row<Tree>(cursor, run, row);
                kernel::reduce_all(cursor, Reductions{});

                kernel::GradientSink<C, L, N> sink;
                for (int i = 0; i < L; ++i) {
                    sink.gradient[i] = nullptr;
                    sink.packet_sum[i] = V(C(0));
                    sink.sum[i] = C(0);
                    sink.step[i] = gradient_paths[i].step;
                    sink.accumulate[i] = accumulate[i];
                    if (!slots[i]) continue;
                    sink.gradient[i] = destination[i] + gradient_paths[i].row_offset(iteration, row) +
                                       (is_partial[i] ? block * slots[i]->count : 0);
                    // Reductions visit a leaf several times: it starts from zero, and all visits add.
                    if (N > 0 && !accumulate[i]) {
                        std::memset(sink.gradient[i], 0, run.row_lengths[i] * sizeof(C));
                        sink.accumulate[i] = true;
                    }
                }
                for (int i = 0; i < N; ++i) {
                    sink.adjoint_packet[i] = V(C(0));
                    sink.adjoint[i] = C(0);
                }

                if constexpr (per_row) {
                    tree::Reverse<Tree>::run(tree::evaluate<Tree, C>(cursor, 0), upstream[row], sink, 0);
                } else {
                    advance<Tree>(cursor, sink, begin);
                    const C* from = upstream + row * length + begin;
                    kernel::reverse_row<Tree>(
                        cursor, sink, end - begin, [&](std::int64_t at, int count, V) {
                            if (count == V::size) return V::load(from + at);
                            C lanes[V::size] = {};
                            std::memcpy(lanes, from + at, count * sizeof(C));
                            return V::load(lanes);
                        });
                    advance<Tree>(cursor, sink, -begin);
                }
                kernel::reverse_all(cursor, sink, Reductions{});
                for (int i = 0; i < L; ++i)
                    if (sink.gradient[i] && sink.step[i] == 0) {
                        const C total = sink.packet_sum[i].sum() + sink.sum[i];
                        *sink.gradient[i] = (sink.accumulate[i] ? *sink.gradient[i] : C(0)) + total;
                    }
            }
        });

        for (int i = 0; i < L; ++i) {
            if (!is_partial[i]) continue;
            const Contribution<C> sum = contribute<C, Cpu>(*slots[i]);
            const std::int64_t count = slots[i]->count;
            const C* parts = destination[i];
            parallel_for(count, 4096, [&](std::int64_t first, std::int64_t last) {
                for (std::int64_t at = first; at < last; ++at) {
                    C total = sum.accumulate ? sum.data[at] : C(0);
                    for (std::int64_t block = 0; block < blocks; ++block) total += parts[block * count + at];
                    sum.data[at] = total;
                }
            });
        }
    }

private:
    /// Points a cursor at a row; leaves advance by the size of their own elements.
    template <class Tree, class C, int L, int K, int N>
    static void set_row(tree::Cursor<C, L, K, N>& cursor, const program::Run<C, L, K, N>& run, std::int64_t row) {
        for (int i = 0; i < K; ++i) cursor.constant[i] = run.constants[i];
        for (int i = 0; i < N; ++i) cursor.length[i] = run.lengths[i];
        for_every_leaf(Tree{}, [&]<class T, int Index, tree::Access access, bool is_tracked>(
                                   tree::Leaf<T, Index, access, is_tracked>) {
            cursor.leaf[Index] = static_cast<const T*>(run.data[Index]) + run.paths[Index].row_offset(run.iteration, row);
            cursor.step[Index] = run.paths[Index].step;
        });
    }

    /// Moves leaves and gradients along the row by `elements`.
    template <class Tree, class Cursor, class Sink>
    static void advance(Cursor& cursor, Sink& sink, std::int64_t elements) {
        if (elements == 0) return;
        for_every_leaf(Tree{}, [&]<class T, int Index, tree::Access access, bool is_tracked>(
                                   tree::Leaf<T, Index, access, is_tracked>) {
            cursor.leaf[Index] = static_cast<const T*>(cursor.leaf[Index]) + elements * cursor.step[Index];
            if (sink.gradient[Index]) sink.gradient[Index] += elements * sink.step[Index];
        });
    }

    /// Every leaf, those inside of reductions included.
    template <class Tree, class Visit>
    static void for_every_leaf(Tree tree, Visit&& visit) {
        tree::for_each_leaf(tree, visit);
        [&]<class... R, int... Index, class... A>(tree::ReductionList<tree::Reduce<R, Index, A>...>) {
            (tree::for_each_leaf(A{}, visit), ...);
        }(tree::ReductionsOf<Tree>{});
    }
};

}  // namespace tenon
