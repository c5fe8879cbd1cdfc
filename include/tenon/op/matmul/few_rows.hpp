#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/matmul/matrix_view.hpp>
#include <tenon/op/matmul/packed.hpp>

namespace tenon::detail {

// Products with few rows, as in generation token by token: the time goes into reading the right factor once,
// so it is read where it lies. Elements of 16 bits become floats in registers.

inline constexpr std::int64_t few_rows = 12;

/// `rows` x 4 dot products of rows of a and columns of b. Columns from `columns` on are computed but not
/// written. What lies `ahead` of the columns is asked for: they are short, and the processor begins anew to
/// see what is next at each.
template <int rows, class T, class B>
void dot_tile(std::int64_t depth, const T* const (&a)[rows], const B* const (&b)[4], std::int64_t ahead,
              kernel::MatrixView<T> c, std::int64_t valid_rows, std::int64_t columns, Update<T> update) {
    using P = Packet<T>;
    constexpr std::int64_t line = 64 / sizeof(B);
    P sums[rows][4];
    for (auto& row : sums) {
        for (P& sum : row) sum = P(T(0));
    }
    const auto step = [&](std::int64_t k, int count) {
        P right[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) right[j] = P::load_partial(b[j] + k, count);
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) {
            const P left = P::load_partial(a[i] + k, count);
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) sums[i][j] = fma(left, right[j], sums[i][j]);
        }
    };
    std::int64_t k = 0;
    for (; k + P::size <= depth; k += P::size) {
        if (k % line == 0)
            for (int j = 0; j < 4; ++j) __builtin_prefetch(b[j] + ahead + k);
        step(k, P::size);
    }
    if (k < depth) step(k, static_cast<int>(depth - k));
    for (int i = 0; i < rows && i < valid_rows; ++i) {
        for (int j = 0; j < 4 && j < columns; ++j) {
            const T value = update.scale * sums[i][j].sum();
            c(i, j) = update.accumulate ? c(i, j) + value : value;
        }
    }
}

/// The product where columns of b are contiguous, and rows of a too.
template <class T, class B = T>
void few_rows_dot_range(std::int64_t rows, std::int64_t columns, std::int64_t depth,
                        kernel::MatrixView<const T> a, kernel::MatrixView<const B> b, kernel::MatrixView<T> c,
                        Update<T> update) {
    const std::int64_t ahead = 4 * b.column_stride;
    for (std::int64_t j = 0; j < columns; j += 4) {
        // Past the end the last column stands in.
        const B* right[4];
        for (int l = 0; l < 4; ++l) right[l] = &b(0, std::min(j + l, columns - 1));
        for (std::int64_t i = 0; i < rows; i += 4) {
            if (i + 1 == rows) {
                dot_tile<1, T, B>(depth, {&a(i, 0)}, right, ahead, c.from(i, j), 1, columns - j, update);
            } else {
                const T* left[4];
                for (int l = 0; l < 4; ++l) left[l] = &a(std::min(i + l, rows - 1), 0);
                dot_tile<4, T, B>(depth, left, right, ahead, c.from(i, j), rows - i, columns - j, update);
            }
        }
    }
}

/// The same for rows of a that lie anyhow, on several threads.
template <class T, class A, class B>
void few_rows_dot(int threads, std::int64_t rows, std::int64_t columns, std::int64_t depth,
                  kernel::MatrixView<const A> a, kernel::MatrixView<const B> b, kernel::MatrixView<T> c,
                  Update<T> update) {
    Workspace scratch;
    const auto left = [&]() -> kernel::MatrixView<const T> {
        if constexpr (std::same_as<A, T>)
            if (a.column_stride == 1) return a;
        T* copy = scratch.take<T>(rows * depth);
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t k = 0; k < depth; ++k) copy[i * depth + k] = static_cast<T>(a(i, k));
        }
        return {copy, depth, 1};
    }();
    if (threads == 1) return few_rows_dot_range(rows, columns, depth, left, b, c, update);
    const std::int64_t grain = std::max<std::int64_t>(4, round_up(columns / (8 * threads), 4));
    parallel_for(columns, grain, [&](std::int64_t begin, std::int64_t end) {
        few_rows_dot_range(rows, end - begin, depth, left, b.from(0, begin), c.from(0, begin), update);
    });
}

/// Adds `count` rows of b from row k on, weighted, to the rows of c. As many rows ahead are asked for: each
/// may be on another page, where the processor begins anew to see what is next.
template <int count, class T, class B>
void add_weighted_rows(std::int64_t k, std::int64_t rows, std::int64_t columns, kernel::MatrixView<const T> a,
                       kernel::MatrixView<const B> b, kernel::MatrixView<T> c, Update<T> update) {
    using P = Packet<T>;
    const bool overwrite = k == 0 && !update.accumulate;
    const std::int64_t ahead = count * b.row_stride;
    P weights[few_rows][count];
    for (std::int64_t i = 0; i < rows; ++i) {
        for (int l = 0; l < count; ++l) weights[i][l] = P(update.scale * a(i, k + l));
    }
    constexpr std::int64_t line = 64 / sizeof(B);
    const auto step = [&](std::int64_t j, int lanes) {
        if (j % line == 0)
            for (int l = 0; l < count; ++l) __builtin_prefetch(&b(k + l, j) + ahead);
        P terms[count];
        for (int l = 0; l < count; ++l) terms[l] = P::load_partial(&b(k + l, j), lanes);
        for (std::int64_t i = 0; i < rows; ++i) {
            P sum = overwrite ? P(T(0)) : P::load_partial(&c(i, j), lanes);
            for (int l = 0; l < count; ++l) sum = fma(weights[i][l], terms[l], sum);
            sum.store_partial(&c(i, j), lanes);
        }
    };
    std::int64_t j = 0;
    for (; j + P::size <= columns; j += P::size) step(j, P::size);
    if (j < columns) step(j, static_cast<int>(columns - j));
}

/// The product where rows of b are contiguous, and rows of c too.
template <class T, class B = T>
void few_rows_sum_range(std::int64_t rows, std::int64_t columns, std::int64_t depth,
                        kernel::MatrixView<const T> a, kernel::MatrixView<const B> b, kernel::MatrixView<T> c,
                        Update<T> update) {
    std::int64_t k = 0;
    for (; k + 8 <= depth; k += 8) add_weighted_rows<8>(k, rows, columns, a, b, c, update);
    for (; k < depth; ++k) add_weighted_rows<1>(k, rows, columns, a, b, c, update);
}

/// Into how many parts the depth is cut, each of which is added up apart: by the depth alone, so that an
/// element of the result is the same however threads share out the work.
constexpr std::int64_t depth_parts(std::int64_t depth) { return depth < 512 ? 1 : 4; }

template <class T, class B>
void few_rows_sum(int threads, std::int64_t rows, std::int64_t columns, std::int64_t depth,
                  kernel::MatrixView<const T> a, kernel::MatrixView<const B> b, kernel::MatrixView<T> c,
                  Update<T> update) {
    // Threads take parts of the depth rather than of rows, which memory gives faster whole. The rows that a
    // range adds to stay in the first-level cache.
    const std::int64_t parts = depth_parts(depth), each = round_up((depth + parts - 1) / parts, 8);
    const std::int64_t most = round_up(16384 / static_cast<std::int64_t>(sizeof(T)), Packet<T>::size);
    const std::int64_t wanted = threads == 1 ? 1 : (2 * threads + parts - 1) / parts;
    const std::int64_t grain =
        std::clamp(round_up((columns + wanted - 1) / wanted, 16), std::int64_t{64}, most);
    const std::int64_t ranges = (columns + grain - 1) / grain;
    Workspace scratch;
    T* const sums = parts == 1 ? nullptr : scratch.take<T>(static_cast<std::size_t>(parts * rows * columns));
    const auto run = [&](std::int64_t task) {
        const std::int64_t part = task / ranges, k = part * each, j = task % ranges * grain;
        const kernel::MatrixView<T> to =
            sums ? kernel::MatrixView<T>{sums + part * rows * columns, columns, 1} : c;
        few_rows_sum_range(rows, std::min(grain, columns - j), std::min(each, depth - k), a.from(0, k),
                           b.from(k, j), to.from(0, j), Update<T>{update.scale, !sums && update.accumulate});
    };
    if (threads == 1)
        for (std::int64_t task = 0; task < parts * ranges; ++task) run(task);
    else
        parallel_for_each(parts * ranges, run);
    if (!sums) return;
    for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j) {
            T sum = update.accumulate ? c(i, j) : T(0);
            for (std::int64_t part = 0; part < parts; ++part) sum += sums[(part * rows + i) * columns + j];
            c(i, j) = sum;
        }
}

}  // namespace tenon::detail
