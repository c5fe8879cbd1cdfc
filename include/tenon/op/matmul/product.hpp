#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/matmul/few_rows.hpp>
#include <tenon/op/matmul/matrix_view.hpp>
#include <tenon/op/matmul/packed.hpp>

namespace tenon::detail {

/// The product by way of packed blocks, on one thread. How the depth is cut depends on the depth alone, so an
/// element of the result is the same however rows and columns are shared out.
template <class T, class B>
void blocked_product(std::int64_t rows, std::int64_t columns, std::int64_t depth,
                     kernel::MatrixView<const T> a, kernel::MatrixView<const B> b, kernel::MatrixView<T> c,
                     Update<T> update) {
    // A block of b stays in the second-level cache, one of a in the third.
    constexpr std::int64_t most_depth = 1024 / sizeof(T);
    constexpr std::int64_t column_block = 10 * tile_columns<T>;
    constexpr std::int64_t row_block = 512;
    const std::int64_t cuts = (depth + most_depth - 1) / most_depth;
    const std::int64_t depth_block = round_up((depth + cuts - 1) / cuts, Packet<T>::size);
    const std::int64_t slab = std::min(depth, 8 * most_depth / depth_block * depth_block);

    Workspace scratch;
    T* packed_a = scratch.take<T>(packed_rows_size<T>(std::min(rows, row_block), slab));
    T* packed_b = scratch.take<T>(packed_columns_size<T>(std::min(columns, column_block), depth_block));
    for (std::int64_t slab_begin = 0; slab_begin < depth; slab_begin += slab) {
        const std::int64_t slab_end = std::min(depth, slab_begin + slab);
        for (std::int64_t i = 0; i < rows; i += row_block) {
            const std::int64_t height = std::min(row_block, rows - i);
            const std::int64_t padded = round_up(height, tile_rows<T>);
            for (std::int64_t k = slab_begin; k < slab_end; k += depth_block) {
                pack_rows(height, std::min(depth_block, slab_end - k), a.from(i, k),
                          packed_a + padded * (k - slab_begin));
            }
            for (std::int64_t j = 0; j < columns; j += column_block) {
                const std::int64_t width = std::min(column_block, columns - j);
                for (std::int64_t k = slab_begin; k < slab_end; k += depth_block) {
                    const std::int64_t length = std::min(depth_block, slab_end - k);
                    pack_columns(width, length, b.from(k, j), packed_b);
                    multiply_packed(height, 0, width, length,
                                    LeftPanels<T>::packed(packed_a + padded * (k - slab_begin), length),
                                    RightPanels<T>{packed_b, width, length}, &c(i, j), c.row_stride,
                                    Update<T>{update.scale, update.accumulate || k > 0});
                }
            }
        }
    }
}

/// How to cut a result into a grid of about `tasks` tiles such that the factors are packed as few times as
/// possible.
struct Grid {
    std::int64_t rows, columns;
};

inline Grid grid_of(std::int64_t tasks, std::int64_t row_tiles, std::int64_t column_tiles, std::int64_t rows,
                    std::int64_t columns) {
    Grid best{1, 1};
    std::int64_t best_tasks = 1, best_cost = rows + columns;
    for (std::int64_t i = 1; i <= std::min(tasks, row_tiles); ++i) {
        const std::int64_t j = std::min(tasks / i, column_tiles);
        const std::int64_t cost = i * columns + j * rows;
        if (i * j > best_tasks || (i * j == best_tasks && cost < best_cost)) {
            best = {i, j};
            best_tasks = i * j;
            best_cost = cost;
        }
    }
    return best;
}

template <class T, class B>
void matrix_product(int threads, std::int64_t rows, std::int64_t columns, std::int64_t depth,
                    kernel::MatrixView<const T> a, kernel::MatrixView<const B> b, kernel::MatrixView<T> c,
                    Update<T> update) {
    if (rows <= 0 || columns <= 0) return;
    if (depth <= 0) {
        if (update.accumulate) return;
        for (std::int64_t i = 0; i < rows; ++i) std::fill_n(&c(i, 0), columns, T(0));
        return;
    }
    // Below some ten microseconds of work a thread's help costs more than it brings.
    const double work = static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(depth);
    const int helpful = static_cast<int>(std::min<double>(threads, 1 + work / 500000));
    if (rows <= few_rows && b.row_stride == 1) {
        few_rows_dot(helpful, rows, columns, depth, a, b, c, update);
    } else if (rows <= few_rows && b.column_stride == 1) {
        few_rows_sum(helpful, rows, columns, depth, a, b, c, update);
    } else if (columns <= few_rows && a.column_stride == 1) {
        few_rows_dot(helpful, columns, rows, depth, b.transposed(), a.transposed(), c.transposed(), update);
    } else if (helpful == 1) {
        blocked_product(rows, columns, depth, a, b, c, update);
    } else {
        const std::int64_t row_tiles = (rows + tile_rows<T> - 1) / tile_rows<T>;
        const std::int64_t column_tiles = (columns + tile_columns<T> - 1) / tile_columns<T>;
        const Grid grid = grid_of(helpful, row_tiles, column_tiles, rows, columns);
        parallel_for_each(grid.rows * grid.columns, [&](std::int64_t task) {
            const std::int64_t p = task / grid.columns, q = task % grid.columns;
            const std::int64_t i = row_tiles * p / grid.rows * tile_rows<T>;
            const std::int64_t j = column_tiles * q / grid.columns * tile_columns<T>;
            const std::int64_t row_end = std::min(rows, row_tiles * (p + 1) / grid.rows * tile_rows<T>);
            const std::int64_t column_end =
                std::min(columns, column_tiles * (q + 1) / grid.columns * tile_columns<T>);
            blocked_product(row_end - i, column_end - j, depth, a.from(i, 0), b.from(0, j), c.from(i, j),
                            update);
        });
    }
}

}  // namespace tenon::detail

namespace tenon::kernel {

/// c (+)= scale * a b with a: [rows, depth], b: [depth, columns], and c: [rows, columns], whose column_stride
/// is 1. Factors may have any strides: a transposed matrix is one with its strides exchanged. The result does
/// not depend on the number of threads, to the last bit. Of floats, b may be of 16 bits: the result is that
/// of its elements as floats, of which no copy is made.
template <class T, class B = T>
void matrix_product(std::int64_t rows, std::int64_t columns, std::int64_t depth, MatrixView<const T> a,
                    MatrixView<const B> b, MatrixView<T> c, bool accumulate, T scale = T(1)) {
    detail::matrix_product(thread_count(), rows, columns, depth, a, b, c,
                           detail::Update<T>{scale, accumulate});
}

/// The same on this thread alone, for use within a parallel loop.
template <class T>
void serial_matrix_product(std::int64_t rows, std::int64_t columns, std::int64_t depth, MatrixView<const T> a,
                           MatrixView<const T> b, MatrixView<T> c, bool accumulate, T scale = T(1)) {
    detail::matrix_product(1, rows, columns, depth, a, b, c, detail::Update<T>{scale, accumulate});
}

/// `batch` products; the matrices of a kind lie the given stride apart (0: one matrix for all).
template <class T, class B = T>
void batched_matrix_product(std::int64_t batch, std::int64_t rows, std::int64_t columns, std::int64_t depth,
                            MatrixView<const T> a, std::int64_t a_stride, MatrixView<const B> b,
                            std::int64_t b_stride, MatrixView<T> c, std::int64_t c_stride, bool accumulate,
                            T scale = T(1)) {
    const auto product = [&](int threads, std::int64_t i) {
        detail::matrix_product(threads, rows, columns, depth,
                               MatrixView<const T>{a.data + i * a_stride, a.row_stride, a.column_stride},
                               MatrixView<const B>{b.data + i * b_stride, b.row_stride, b.column_stride},
                               MatrixView<T>{c.data + i * c_stride, c.row_stride, c.column_stride},
                               detail::Update<T>{scale, accumulate});
    };
    // Enough matrices share out whole; a few large ones are each cut up.
    const int threads = thread_count();
    const std::int64_t work = std::max<std::int64_t>(1, rows * columns * depth);
    if (batch >= 2 * threads || work < 1000000) {
        parallel_for(batch, std::max<std::int64_t>(1, 300000 / work),
                     [&](std::int64_t begin, std::int64_t end) {
                         for (std::int64_t i = begin; i < end; ++i) product(1, i);
                     });
    } else {
        for (std::int64_t i = 0; i < batch; ++i) product(threads, i);
    }
}

}  // namespace tenon::kernel
