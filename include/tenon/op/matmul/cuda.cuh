#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include <tenon/autograd/cuda.cuh>
#include <tenon/cuda/column_sums.cuh>
#include <tenon/cuda/cublaslt.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/op/matmul/matmul.hpp>

namespace tenon {
namespace cuda {

/// The factors of a strided product, the place of its result, and what is added to it: for each column, and
/// for each element, laid out like c.
template <class T>
struct StridedProduct {
    tenon::detail::Product product;
    const T *a, *b;
    Contribution<T> c;
    std::int64_t c_row, c_column, c_batch;
    ComputeOf<T> scale = 1;
    const T* bias = nullptr;
    const T* addend = nullptr;
};

/// c = scale a b, or added to c, for matrices of any strides: for what cuBLASLt cannot take, and to compare
/// with. A block computes tiles of 64 x 64, each thread 4 x 4 of them, all sums in the order of the depth.
template <class T>
__global__ void __launch_bounds__(256) multiply_strided(StridedProduct<T> given) {
    using C = ComputeOf<T>;
    constexpr int tile = 64, slice = 16, own = 4, across = tile / own;
    __shared__ C a_tile[slice][tile + 1], b_tile[slice][tile + 1];
    const tenon::detail::Product& p = given.product;
    const int row = static_cast<int>(threadIdx.x) / across, column = static_cast<int>(threadIdx.x) % across;
    const std::int64_t tiles_across = (p.columns + tile - 1) / tile, tiles_down = (p.rows + tile - 1) / tile;
    for (std::int64_t number = blockIdx.x; number < p.batch * tiles_down * tiles_across;
         number += gridDim.x) {
        const std::int64_t matrix = number / (tiles_down * tiles_across);
        const std::int64_t first_row = number / tiles_across % tiles_down * tile;
        const std::int64_t first_column = number % tiles_across * tile;
        const T *a = given.a + matrix * p.a_batch, *b = given.b + matrix * p.b_batch;
        C sums[own][own] = {};
        for (std::int64_t first = 0; first < p.depth; first += slice) {
            for (int at = static_cast<int>(threadIdx.x); at < tile * slice; at += 256) {
                const std::int64_t i = first_row + at / slice, k = first + at % slice;
                a_tile[at % slice][at / slice] =
                    i < p.rows && k < p.depth ? convert<C>(a[i * p.a_row + k * p.a_column]) : C(0);
                const std::int64_t j = first_column + at % tile, l = first + at / tile;
                b_tile[at / tile][at % tile] =
                    j < p.columns && l < p.depth ? convert<C>(b[l * p.b_row + j * p.b_column]) : C(0);
            }
            __syncthreads();
#pragma unroll
            for (int k = 0; k < slice; ++k)
#pragma unroll
                for (int i = 0; i < own; ++i)
#pragma unroll
                    for (int j = 0; j < own; ++j)
                        sums[i][j] += a_tile[k][row + i * across] * b_tile[k][column + j * across];
            __syncthreads();
        }
#pragma unroll
        for (int i = 0; i < own; ++i)
#pragma unroll
            for (int j = 0; j < own; ++j) {
                const std::int64_t at_row = first_row + row + i * across,
                                   at_column = first_column + column + j * across;
                if (at_row >= p.rows || at_column >= p.columns) continue;
                const std::int64_t at =
                    matrix * given.c_batch + at_row * given.c_row + at_column * given.c_column;
                C sum = given.scale * sums[i][j];
                if (given.bias) sum += convert<C>(given.bias[at_column]);
                if (given.addend) sum += convert<C>(given.addend[at]);
                contribute(given.c, at, sum);
            }
    }
}

/// c = scale a b, or added to c: by cuBLASLt, or by our own kernel where that cannot.
template <class T>
void multiply(const StridedProduct<T>& given) {
    const tenon::detail::Product& p = given.product;
    if (p.batch == 0 || p.rows == 0 || p.columns == 0) return;
    const bool is_wide = given.c.wide != nullptr;
    const MatrixOperand a{given.a, data_type_of<T>, p.a_row, p.a_column, p.a_batch};
    const MatrixOperand b{given.b, data_type_of<T>, p.b_row, p.b_column, p.b_batch};
    const MatrixOperand c{is_wide ? static_cast<const void*>(given.c.wide) : given.c.data,
                          is_wide ? data_type_of<ComputeOf<T>> : data_type_of<T>, given.c_row, given.c_column,
                          given.c_batch};
    if (multiply({p.batch, p.rows, p.columns, p.depth}, a, b, c,
                 {given.c.accumulate, static_cast<double>(given.scale), given.addend, given.bias}))
        return;
    const std::int64_t tiles = p.batch * ((p.rows + 63) / 64) * ((p.columns + 63) / 64);
    launch(multiply_strided<T>, {blocks_for(tiles, 1), 256}, given);
}

}  // namespace cuda

/// Sums are of ComputeOf<T>. Every sum has a fixed order, so that equal problems give equal bits.
template <>
struct Kernel<Matmul, Cuda> {
    /// c is packed and overwritten.
    template <class T>
    static void forward(const detail::Product& p, const T* a, const T* b, T* c,
                        const detail::ProductAddends<T>& addends = {}) {
        cuda::multiply<T>(
            {p, a, b, {c, false}, p.columns, 1, p.rows * p.columns, 1, addends.bias, addends.addend});
    }

    /// The gradient of a is upstream times b transposed; `p` has the strides of that gradient for those of a.
    template <class T>
    static void gradient_a(const detail::Product& p, const T* upstream, const T* b,
                           Contribution<T> gradient) {
        const detail::Product product{
            p.batch,    p.rows,  p.depth,  p.columns, p.columns, 1, p.rows * p.columns,
            p.b_column, p.b_row, p.b_batch};
        cuda::multiply<T>({product, upstream, b, gradient, p.a_row, p.a_column, p.a_batch, 1});
    }

    /// The gradient of b is a transposed times upstream, added up over a batch that shares b; `p` has the
    /// strides of that gradient for those of b, `original` those of a.
    template <class T>
    static void gradient_b(const detail::Product& p, const detail::Product& original, const T* upstream,
                           const T* a, Contribution<T> gradient) {
        const bool shares_b = p.b_batch == 0 && p.batch != 1;
        const detail::Product product{
            shares_b ? 1 : p.batch,    p.depth,        p.columns,
            p.batch == 0 ? 0 : p.rows,  // the sum over no matrix is zero
            original.a_column,         original.a_row, original.a_batch, p.columns, 1, p.rows * p.columns};
        if (!shares_b)
            return cuda::multiply<T>({product, a, upstream, gradient, p.b_row, p.b_column, p.b_batch, 1});
        // The sum over the batch is rounded once, at its end.
        using C = ComputeOf<T>;
        const std::int64_t count = p.depth * p.columns;
        Contribution<T> sum = gradient;
        Storage scratch;
        if constexpr (!std::same_as<T, C>) {
            if (!gradient.wide) {
                scratch = Storage(Memory<Cuda>::allocate(static_cast<std::size_t>(count) * sizeof(C)));
                sum = {nullptr, false, static_cast<C*>(scratch.data())};
            }
        }
        for (std::int64_t matrix = 0; matrix == 0 || matrix < p.batch; ++matrix) {
            cuda::multiply<T>({product, a + matrix * original.a_batch, upstream + matrix * p.rows * p.columns,
                               sum, p.b_row, p.b_column, 0, 1});
            sum.accumulate = true;
        }
        if (scratch)
            Kernel<Accumulate, Cuda>::run(static_cast<const C*>(scratch.data()), count, gradient.data,
                                          gradient.accumulate);
    }

    /// The gradient of the bias is upstream [rows, columns], summed over the rows.
    template <class G>
    static void gradient_bias(std::int64_t rows, std::int64_t columns, const G* upstream,
                              const Contribution<G>& gradient) {
        cuda::column_sums(upstream, rows, columns, cuda::ColumnSums<G, 1>{{gradient}});
    }
};

}  // namespace tenon
