#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>

namespace tenon::cuda {

/// Sums over some rows of a matrix [rows, columns]: those of `part_rows` rows at a time, in `sums` [parts,
/// columns]. A thread adds up N neighbouring columns of every eighth row.
template <int N, class T, class C>
__global__ void __launch_bounds__(256)
    partial_column_sums(const T* matrix, std::int64_t rows, std::int64_t columns, std::int64_t part_rows,
                        C* sums) {
    constexpr int lanes = 8;
    __shared__ C scratch[lanes][warp_size * N];
    const int lane = static_cast<int>(threadIdx.x) / warp_size,
              pack = static_cast<int>(threadIdx.x) % warp_size;
    const std::int64_t column = (std::int64_t{blockIdx.x} * warp_size + pack) * N;
    const std::int64_t begin = blockIdx.y * part_rows,
                       end = begin + part_rows < rows ? begin + part_rows : rows;
    C own[N] = {};
    if (column < columns) {
#pragma unroll 8
        for (std::int64_t row = begin + lane; row < end; row += lanes) {
            C values[N];
            load(matrix + row * columns + column, values);
#pragma unroll
            for (int i = 0; i < N; ++i) own[i] += values[i];
        }
    }
#pragma unroll
    for (int i = 0; i < N; ++i) scratch[lane][pack * N + i] = own[i];
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < warp_size * N; i += 256) {
        const std::int64_t at = std::int64_t{blockIdx.x} * warp_size * N + i;
        if (at >= columns) break;
        C total = 0;
#pragma unroll
        for (int j = 0; j < lanes; ++j) total += scratch[j][i];
        sums[blockIdx.y * columns + at] = total;
    }
}

/// Places of the sums of several matrices that lie side by side.
template <class G, int matrices>
struct ColumnSums {
    Contribution<G> of[matrices];
};

/// A block sums 32 columns of matrix blockIdx.y, each of its warps some of the rows.
template <class G, int matrices, class C>
__global__ void __launch_bounds__(1024)
    column_sums_kernel(const C* first, std::int64_t rows, std::int64_t columns,
                       const __grid_constant__ ColumnSums<G, matrices> to) {
    __shared__ C parts[warp_size][warp_size + 1];
    const Contribution<G> own = to.of[blockIdx.y];
    if (!own.data && !own.wide) return;
    const C* const matrix = first + blockIdx.y * columns;
    const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
    const std::int64_t column = std::int64_t{blockIdx.x} * warp_size + lane;
    C total(0);
    if (column < columns) {
#pragma unroll 8
        for (std::int64_t row = warp; row < rows; row += warp_size)
            total += matrix[row * matrices * columns + column];
    }
    parts[warp][lane] = total;
    __syncthreads();
    // Warp w has column w now, and its lanes the parts.
    const C sum = reduce_warp(parts[lane][warp], Sum{});
    const std::int64_t at = std::int64_t{blockIdx.x} * warp_size + warp;
    if (lane == 0 && at < columns) contribute(own, at, sum);
}

/// Contributes the sums of the columns of matrices [rows, columns] that lie side by side, in an order that
/// the extents alone decide. Places may be null.
template <class T, class G, int matrices>
void column_sums(const T* first, std::int64_t rows, std::int64_t columns, const ColumnSums<G, matrices>& to) {
    using C = ComputeOf<T>;
    constexpr std::int64_t few_rows = 1024;
    constexpr int N = 16 / sizeof(T);
    if (columns == 0) return;
    const auto add_up = [&](const C* sums, std::int64_t parts) {
        launch(column_sums_kernel<G, matrices, C>,
               {.blocks = dim3(blocks_for(columns, warp_size, INT32_MAX), matrices),
                .threads = dim3(warp_size, warp_size)},
               sums, parts, columns, to);
    };
    if constexpr (std::same_as<T, C>)
        if (rows <= few_rows) return add_up(first, rows);
    const std::int64_t part_rows = std::max<std::int64_t>(256, (rows + few_rows - 1) / few_rows),
                       parts = (rows + part_rows - 1) / part_rows, across = matrices * columns;
    const Storage storage(Memory<Cuda>::allocate(static_cast<std::size_t>(parts * across) * sizeof(C)));
    C* const sums = static_cast<C*>(storage.data());
    const bool in_packs = across % N == 0 && is_aligned<N>(first);
    launch(in_packs ? partial_column_sums<N, T, C> : partial_column_sums<1, T, C>,
           {.blocks = dim3(blocks_for(across, warp_size * (in_packs ? N : 1), INT32_MAX),
                           static_cast<unsigned>(parts)),
            .threads = 256},
           first, rows, across, part_rows, sums);
    add_up(sums, parts);
}

}  // namespace tenon::cuda
