#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <tenon/core/packet.hpp>
#include <tenon/expression/program.hpp>
#include <tenon/expression/tree.hpp>

namespace tenon::kernel {

/// Rows are reduced, and cut for threads, in blocks of so many elements. Within a block sums are of the type
/// of computation, from block to block of f64, so that long rows of f32 do not stop growing.
inline constexpr std::int64_t row_block = 4096;

inline std::int64_t row_blocks(std::int64_t length) { return (length + row_block - 1) / row_block; }

/// Points a cursor at a row; leaves advance by the size of their own elements.
template <class Tree, class C, int L, int K, int N>
void set_row(tree::Cursor<C, L, K, N>& cursor, const program::Run<C, L, K, N>& run, std::int64_t row) {
    for (int i = 0; i < K; ++i) cursor.constant[i] = run.constants[i];
    for (int i = 0; i < N; ++i) cursor.length[i] = run.lengths[i];
    tree::for_every_leaf(
        Tree{}, [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                    tree::Leaf<T, Index, access, is_tracked, has_value>) {
            if constexpr (has_value)
                cursor.leaf[Index] =
                    static_cast<const T*>(run.data[Index]) + run.paths[Index].row_offset(run.iteration, row);
            cursor.step[Index] = run.paths[Index].step;
        });
}

/// The last elements of a row, fewer than a packet: copies of the leaves' ends, so that the code of the loop
/// serves them too. Lanes past the end repeat the last element.
template <class C, class Cursor, int Leaves>
struct RowEnd {
    static constexpr std::size_t packet_bytes = sizeof(Packet<C>);

    Cursor cursor;
    alignas(packet_bytes) std::byte leaf[Leaves][packet_bytes];

    template <class Tree>
    RowEnd(Tree tree, const Cursor& row, std::int64_t at, int count) : cursor(row) {
        tree::for_each_leaf(
            tree, [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                      tree::Leaf<T, Index, access, is_tracked, has_value>) {
                if constexpr (has_value && access != tree::Access::uniform) {
                    const std::int64_t step = access == tree::Access::contiguous ? 1 : row.step[Index];
                    const T* from = static_cast<const T*>(row.leaf[Index]) + at * step;
                    T* to = reinterpret_cast<T*>(leaf[Index]);
                    for (int lane = 0; lane < Packet<C>::size; ++lane)
                        to[lane] = from[(lane < count ? lane : count - 1) * step];
                    cursor.leaf[Index] = to;
                    cursor.step[Index] = 1;
                }
            });
    }
};

/// Reduces the values of a tree over the elements [begin, end) of a row.
template <class R, class Tree, class C, int L, int K, int N>
C reduce_block(const tree::Cursor<C, L, K, N>& cursor, std::int64_t begin, std::int64_t end) {
    using V = Packet<C>;
    const C identity = R::template identity<C>();
    V total(identity);
    std::int64_t at = begin;
    for (; at + V::size <= end; at += V::size)
        total = R::combine(total, tree::evaluate<Tree, V>(cursor, at).value);
    if (const int rest = static_cast<int>(end - at); rest > 0) {
        RowEnd<C, tree::Cursor<C, L, K, N>, L> row_end(Tree{}, cursor, at, rest);
        C lanes[V::size];
        tree::evaluate<Tree, V>(row_end.cursor, 0).value.store(lanes);
        std::fill(lanes + rest, lanes + V::size, identity);
        total = R::combine(total, V::load(lanes));
    }
    return total.fold([](V a, V b) { return R::combine(a, b); });
}

/// Reduces the values of a tree over a row. The order depends on the length alone.
template <class R, class Tree, class C, int L, int K, int N>
C reduce_row(const tree::Cursor<C, L, K, N>& cursor, std::int64_t length) {
    double total = R::template identity<double>();
    for (std::int64_t begin = 0; begin < length; begin += row_block)
        total = R::combine(total,
                           double(reduce_block<R, Tree>(cursor, begin, std::min(begin + row_block, length))));
    return static_cast<C>(R::finish(total, static_cast<double>(length)));
}

template <class C, int L, int K, int N, class... R, int... Index, class... A>
void reduce_all(tree::Cursor<C, L, K, N>& cursor, tree::ReductionList<tree::Reduce<R, Index, A>...>) {
    ((cursor.reduced[Index] = reduce_row<R, A>(cursor, cursor.length[Index])), ...);
}

/// Gradients on their way into memory: of one row's leaves, and of its reductions.
template <class C, int Leaves, int Reductions>
struct GradientSink {
    using V = Packet<C>;

    C* gradient[Leaves];  // null: not wanted
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
        } else if (gradient[Index]) {
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

/// The gradient of a row's values, read from memory.
template <class C>
struct RowUpstream {
    const C* row;

    Packet<C> operator()(std::int64_t at, int count, Packet<C>) const {
        return Packet<C>::load_partial(row + at, count);
    }
};

/// The gradient that a reduction passes to the values it was made from.
template <class R, class C>
struct ReductionUpstream {
    C share, reduced;

    Packet<C> operator()(std::int64_t, int count, Packet<C> value) const {
        using V = Packet<C>;
        V gradient(share);
        if (count < V::size) {
            C lanes[V::size] = {};
            std::fill_n(lanes, count, share);
            gradient = V::load(lanes);
        }
        return R::selects ? select(value == V(reduced), gradient, V(0)) : gradient;
    }
};

/// Runs the derivative of a tree over the elements [begin, end) of a row. `upstream(at, count, values)` gives
/// the gradient of the packet of values at `at`, with zeros after the first `count` lanes.
template <class Tree, class C, int L, int K, int N, class Upstream>
void reverse_row(const tree::Cursor<C, L, K, N>& cursor, GradientSink<C, L, N>& sink, std::int64_t begin,
                 std::int64_t end, const Upstream& upstream) {
    using V = Packet<C>;
    std::int64_t at = begin;
    for (; at + V::size <= end; at += V::size) {
        const auto values = tree::evaluate<Tree, V>(cursor, at);
        tree::Reverse<Tree>::run(values, upstream(at, V::size, values.value), sink, at);
    }
    const int rest = static_cast<int>(end - at);
    if (rest == 0) return;
    RowEnd<C, tree::Cursor<C, L, K, N>, L> row_end(Tree{}, cursor, at, rest);
    GradientSink<C, L, N> end_sink = sink;
    C buffer[L][V::size] = {};
    // Only leaves of this very tree: those of other reductions have rows of another length.
    bool is_buffered[L] = {};
    tree::for_each_leaf(Tree{}, [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                    tree::Leaf<T, Index, access, is_tracked, has_value>) {
        if constexpr (is_tracked && access != tree::Access::uniform) {
            if (!sink.gradient[Index] || sink.step[Index] == 0) return;
            is_buffered[Index] = true;
            if (sink.accumulate[Index])
                std::memcpy(buffer[Index], sink.gradient[Index] + at,
                            static_cast<std::size_t>(rest) * sizeof(C));
            end_sink.gradient[Index] = buffer[Index];
        }
    });
    // A leaf that occurs twice must find in its buffer what its first occurrence put there.
    for (int i = 0; i < L; ++i)
        for (int j = 0; j < i; ++j)
            if (is_buffered[i] && is_buffered[j] && sink.gradient[i] == sink.gradient[j])
                end_sink.gradient[i] = end_sink.gradient[j];
    const auto values = tree::evaluate<Tree, V>(row_end.cursor, 0);
    tree::Reverse<Tree>::run(values, upstream(at, rest, values.value), end_sink, 0);
    for (int i = 0; i < L; ++i) {
        if (is_buffered[i] && end_sink.gradient[i] == buffer[i])
            std::memcpy(sink.gradient[i] + at, buffer[i], static_cast<std::size_t>(rest) * sizeof(C));
        sink.packet_sum[i] = end_sink.packet_sum[i];
    }
    for (int i = 0; i < N; ++i) sink.adjoint_packet[i] = end_sink.adjoint_packet[i];
}

/// Counts the elements that equal their reduction, which share its gradient.
template <class R, int Index, class A>
struct TiesOf {
    struct Equal {
        template <class V>
        static V value(V x, V y) {
            return select(x == y, V(1), V(0));
        }
    };
    using type = tree::Apply<Equal, A, tree::Reduce<R, Index, A>>;
};

/// The derivative of one reduction: the gradient of its result goes to each element of its argument.
template <class R, int Index, class A, class C, int L, int K, int N>
void reverse_reduction(const tree::Cursor<C, L, K, N>& cursor, GradientSink<C, L, N>& sink) {
    if constexpr (tree::needs_gradient<A>) {
        const std::int64_t length = cursor.length[Index];
        C share = (sink.adjoint[Index] + sink.adjoint_packet[Index].sum()) * R::share(C(length));
        if constexpr (R::selects)
            share /= reduce_row<reduction::Sum, typename TiesOf<R, Index, A>::type>(cursor, length);
        reverse_row<A>(cursor, sink, 0, length, ReductionUpstream<R, C>{share, cursor.reduced[Index]});
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
