#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/matmul/linear_float8.hpp>
#include <tenon/op/matmul/product.hpp>

namespace tenon {

/// What a GPU does, for comparison: factors are rounded to 8 bits as there, and multiplied in f32.
template <>
struct Kernel<LinearFloat8, Cpu> {
    template <class T>
    static detail::Float8Pair round(const T* x, std::int64_t rows, std::int64_t columns, Float8 format,
                                    bool transposes) {
        float most = 0;
        for (std::int64_t i = 0; i < rows * columns; ++i)
            most = std::max(most, std::fabs(static_cast<float>(x[i])));
        const float factor = most > 0 ? maximum_of(format) / most : 1.0f;
        detail::Float8Pair pair{detail::Float8Matrix::create<Cpu>(format, rows, columns), {}};
        *pair.matrix.scale() = 1 / factor;
        if (transposes) {
            pair.transposed = detail::Float8Matrix::create<Cpu>(format, columns, rows);
            *pair.transposed.scale() = 1 / factor;
        }
        parallel_for(rows, 1 + 16384 / (columns + 1), [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t i = first; i < last; ++i)
                for (std::int64_t j = 0; j < columns; ++j) {
                    const std::uint8_t code =
                        to_float8(static_cast<float>(x[i * columns + j]) * factor, format);
                    pair.matrix.data()[i * columns + j] = code;
                    if (transposes) pair.transposed.data()[j * rows + i] = code;
                }
        });
        return pair;
    }

    /// c [rows, columns] of a [rows, depth] and b transposed, [columns, depth].
    template <class T>
    static void forward(const detail::Float8Matrix& a, const detail::Float8Matrix& b_transposed, T* c,
                        const detail::ProductAddends<T>& addends) {
        Workspace workspace;
        const std::int64_t columns = b_transposed.rows, count = a.rows * columns;
        float* const result = workspace.take<float>(static_cast<std::size_t>(count));
        multiply(a, b_transposed, Contribution<float>{result, false});
        parallel_for(count, 16384, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t i = first; i < last; ++i)
                c[i] = T(result[i] + (addends.bias ? static_cast<float>(addends.bias[i % columns]) : 0.0f) +
                         (addends.addend ? static_cast<float>(addends.addend[i]) : 0.0f));
        });
    }

    static void multiply(const detail::Float8Matrix& a, const detail::Float8Matrix& b_transposed,
                         const Contribution<float>& c) {
        Workspace workspace;
        const float *const left = decoded(workspace, a), *const right = decoded(workspace, b_transposed);
        const std::int64_t columns = b_transposed.rows, depth = a.columns;
        kernel::batched_matrix_product<float>(1, a.rows, columns, depth, {left, depth, 1}, 0,
                                              {right, 1, depth}, 0, {c.data, columns, 1}, 0, c.accumulate);
    }

private:
    static const float* decoded(Workspace& workspace, const detail::Float8Matrix& matrix) {
        const std::int64_t count = matrix.rows * matrix.columns;
        float* const to = workspace.take<float>(static_cast<std::size_t>(count));
        parallel_for(count, 16384, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t i = first; i < last; ++i)
                to[i] = from_float8(matrix.data()[i], matrix.format) * *matrix.scale();
        });
        return to;
    }
};

}  // namespace tenon
