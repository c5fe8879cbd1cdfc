#pragma once

#include <cstdint>

#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>

namespace tenon::cuda {

/// A block sums 32 columns of a matrix, each of its warps some of the rows.
template <class G, class C>
__global__ void __launch_bounds__(1024)
    column_sums_kernel(const C* matrix, std::int64_t rows, std::int64_t columns, std::int64_t stride,
                       const Contribution<G> to) {
    __shared__ C parts[warp_size][warp_size + 1];
    const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
    const std::int64_t column = std::int64_t(blockIdx.x) * warp_size + lane;
    C total(0);
    if (column < columns) {
#pragma unroll 4
        for (std::int64_t row = warp; row < rows; row += warp_size) total += matrix[row * stride + column];
    }
    parts[warp][lane] = total;
    __syncthreads();
    // Warp w has column w now, and its lanes the parts.
    const C sum = reduce_warp(parts[lane][warp], Sum{});
    const std::int64_t own = std::int64_t(blockIdx.x) * warp_size + warp;
    if (lane == 0 && own < columns) contribute(to, own, sum);
}

/// Contributes the sums of the columns of a matrix [rows, columns], whose rows lie `stride` apart, in a fixed
/// order.
template <class G, class C>
void column_sums(const C* matrix, std::int64_t rows, std::int64_t columns, std::int64_t stride,
                 const Contribution<G>& to) {
    launch(column_sums_kernel<G, C>,
           {.blocks = blocks_for(columns, warp_size), .threads = dim3(warp_size, warp_size)}, matrix, rows,
           columns, stride, to);
}

}  // namespace tenon::cuda
