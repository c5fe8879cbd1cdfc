#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <tenon/core/element.hpp>
#include <tenon/core/storage.hpp>
#include <tenon/cuda/cublaslt.hpp>
#include <tenon/cuda/launch.cuh>

namespace tenon::cuda {

/// c = alpha a b + beta addend, an element a thread: for what cuBLASLt does not take.
template <class X>
__global__ void plain_product(MatmulExtents extents, MatrixOperand a, MatrixOperand b, X* c, const X* addend,
                              double alpha, double beta) {
    using C = ComputeOf<X>;
    const std::int64_t all = extents.batch * extents.rows * extents.columns;
    for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < all;
         at += std::int64_t{gridDim.x} * blockDim.x) {
        const std::int64_t j = at % extents.columns, i = at / extents.columns % extents.rows,
                           batch = at / extents.columns / extents.rows;
        const X* const left = static_cast<const X*>(a.data) + batch * a.batch_stride + i * a.row_stride;
        const X* const right = static_cast<const X*>(b.data) + batch * b.batch_stride + j * b.column_stride;
        C sum = 0;
        for (std::int64_t k = 0; k < extents.depth; ++k)
            sum += convert<C>(left[k * a.column_stride]) * convert<C>(right[k * b.row_stride]);
        C result = static_cast<C>(alpha) * sum;
        if (addend) result += static_cast<C>(beta) * convert<C>(addend[at]);
        c[at] = convert<X>(result);
    }
}

/// c = alpha a b + beta addend, in a batch; c and the addend are packed, and apart.
template <class X>
void packed_product(const MatmulExtents& extents, const MatrixOperand& a, const MatrixOperand& b, X* c,
                    double alpha, const X* addend = nullptr, double beta = 0) {
    const std::int64_t count = extents.rows * extents.columns;
    MatmulProblem problem;
    problem.extents = extents;
    if constexpr (std::same_as<X, double>) problem.compute = CUBLAS_COMPUTE_64F;
    if (std::same_as<X, float> && matmul_settings().float32 == Float32Products::tf32)
        problem.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    MatmulArguments arguments;
    arguments.a = a.data;
    arguments.b = b.data;
    arguments.c = c;
    arguments.addend = addend;
    arguments.alpha = alpha;
    arguments.beta = beta;
    const MatrixOperand result{c, data_type_of<X>, extents.columns, 1, count};
    if (describe(a, extents.rows, extents.depth, problem.a) &&
        describe(b, extents.depth, extents.columns, problem.b) &&
        describe(result, extents.rows, extents.columns, problem.c) && multiply(problem, arguments))
        return;
    launch(plain_product<X>, {blocks_for(extents.batch * count, 256, 1 << 16), 256}, extents, a, b, c, addend,
           alpha, beta);
}

/// `iterations` times x = (a + b X Xᵀ + c (X Xᵀ)²) X for each of `count` wide matrices X, one after the
/// other, or tall ones' transposes. The result lies in x or in `other`, which is as large, and is returned.
template <class X>
X* newton_schulz(std::int64_t count, std::int64_t rows, std::int64_t columns, int iterations, X* x,
                 X* other) {
    constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
    const bool wide = rows <= columns;
    const std::int64_t size = std::min(rows, columns), depth = std::max(rows, columns);
    const auto bytes = static_cast<std::size_t>(count * size * size) * sizeof(X);
    const Storage squares(Memory<Cuda>::allocate(bytes)), polynomials(Memory<Cuda>::allocate(bytes));
    X* const square = static_cast<X*>(squares.data());
    X* const polynomial = static_cast<X*>(polynomials.data());
    const auto operand = [](X* data, std::int64_t rows, std::int64_t columns) {
        return MatrixOperand{data, data_type_of<X>, columns, 1, rows * columns};
    };
    for (int iteration = 0; iteration < iterations; ++iteration) {
        const MatrixOperand all = operand(x, rows, columns), left = wide ? all : all.transposed();
        packed_product({count, size, size, depth}, left, left.transposed(), square, 1.0);
        const MatrixOperand gram = operand(square, size, size), factor = operand(polynomial, size, size);
        packed_product({count, size, size, size}, gram, gram, polynomial, c, square, b);
        packed_product({count, rows, columns, size}, wide ? factor : all, wide ? all : factor, other, 1.0, x,
                       a);
        std::swap(x, other);
    }
    return x;
}

}  // namespace tenon::cuda
