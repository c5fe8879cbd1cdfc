#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/matmul/product.hpp>

namespace tenon {

struct GeluFeedForward;

/// 16-bit operands are converted to float first, or as they are read where the left one is of float, and a
/// 16-bit result is rounded once; gradients are of ComputeOf<T>.
template <>
struct Kernel<Matmul, Cpu> {
    /// c is packed and overwritten.
    template <class T, class B>
    static void forward(const detail::Product& p, const T* a, const B* b, T* c,
                        const detail::ProductAddends<T>& addends = {}) {
        using C = ComputeOf<T>;
        const bool accumulate = addends.bias || addends.addend;
        Workspace workspace;
        const Factor<C> left = factor_a(workspace, p, a);
        const auto right = [&] {
            if constexpr (std::same_as<T, B>)
                return factor_b(workspace, p, b);
            else
                return Factor<B>{{b, p.b_row, p.b_column}, p.b_batch};
        }();
        const std::int64_t count = p.batch * p.rows * p.columns;
        C* result;
        if constexpr (is_half<T>)
            result = workspace.take<C>(static_cast<std::size_t>(count));
        else
            result = c;
        if (accumulate)
            parallel_for(count, 16384, [&](std::int64_t first, std::int64_t last) {
                for (std::int64_t i = first; i < last; ++i)
                    result[i] = (addends.bias ? static_cast<C>(addends.bias[i % p.columns]) : C(0)) +
                                (addends.addend ? static_cast<C>(addends.addend[i]) : C(0));
            });
        kernel::batched_matrix_product<C>(p.batch, p.rows, p.columns, p.depth, left.matrix, left.step,
                                          right.matrix, right.step, {result, p.columns, 1},
                                          p.rows * p.columns, accumulate);
        if constexpr (is_half<T>)
            parallel_for(count, 16384, [&](std::int64_t first, std::int64_t last) {
                for (std::int64_t i = first; i < last; ++i) c[i] = T(result[i]);
            });
    }

    template <class T>
    static void forward(const detail::Product& p, const T* a, StoredElements b, T* c,
                        const detail::ProductAddends<T>& addends = {}) {
        b.visit([&](const auto* elements) { forward(p, a, elements, c, addends); });
    }

    /// The gradient of a is upstream times b transposed; `p` has the strides of that gradient for those of a.
    template <class T, class C>
    static void gradient_a(const detail::Product& p, const C* upstream, const T* b,
                           Contribution<C> gradient) {
        Workspace workspace;
        const kernel::MatrixView<const C> u{upstream, p.columns, 1};
        const Factor<C> factor = factor_b(workspace, p, b);
        const kernel::MatrixView<const C> b_transposed = factor.matrix.transposed();
        if (p.a_column == 1) {
            kernel::batched_matrix_product<C>(p.batch, p.rows, p.depth, p.columns, u, p.rows * p.columns,
                                              b_transposed, factor.step, {gradient.data, p.a_row, 1},
                                              p.a_batch, gradient.accumulate);
        } else {  // a was taken transposed, and so is its gradient
            kernel::batched_matrix_product<C>(p.batch, p.depth, p.rows, p.columns, b_transposed.transposed(),
                                              factor.step, u.transposed(), p.rows * p.columns,
                                              {gradient.data, p.a_column, 1}, p.a_batch, gradient.accumulate);
        }
    }

    /// The gradient of b is a transposed times upstream, added up over a batch that shares b; `p` has the
    /// strides of that gradient for those of b, `original` those of a.
    template <class T, class C>
    static void gradient_b(const detail::Product& p, const detail::Product& original, const C* upstream,
                           const T* a, Contribution<C> gradient) {
        Workspace workspace;
        const Factor<C> factor = factor_a(workspace, original, a);
        const bool shares_b = p.b_batch == 0;
        const std::int64_t rounds = shares_b ? p.batch : 1, batch = shares_b ? 1 : p.batch;
        for (std::int64_t round = 0; round < rounds; ++round) {
            const kernel::MatrixView<const C> u{upstream + round * p.rows * p.columns, p.columns, 1};
            const kernel::MatrixView<const C> a_transposed{factor.matrix.data + round * factor.step,
                                                           factor.matrix.column_stride,
                                                           factor.matrix.row_stride};
            const bool accumulate = gradient.accumulate || round > 0;
            if (p.b_column == 1) {
                kernel::batched_matrix_product<C>(batch, p.depth, p.columns, p.rows, a_transposed,
                                                  factor.step, u, p.rows * p.columns,
                                                  {gradient.data, p.b_row, 1}, p.b_batch, accumulate);
            } else {
                kernel::batched_matrix_product<C>(batch, p.columns, p.depth, p.rows, u.transposed(),
                                                  p.rows * p.columns, a_transposed.transposed(), factor.step,
                                                  {gradient.data, p.b_column, 1}, p.b_batch, accumulate);
            }
        }
    }

    /// The gradient of the bias is upstream [rows, columns], summed over the rows.
    template <class C>
    static void gradient_bias(std::int64_t rows, std::int64_t columns, const C* upstream,
                              const Contribution<C>& gradient) {
        parallel_for(columns, 64, [&](std::int64_t first, std::int64_t last) {
            Workspace workspace;
            const std::int64_t count = last - first;
            auto* sums = workspace.take<double>(static_cast<std::size_t>(count));
            std::fill_n(sums, count, 0.0);
            for (std::int64_t row = 0; row < rows; ++row)
                for (std::int64_t j = 0; j < count; ++j)
                    sums[j] += static_cast<double>(upstream[row * columns + first + j]);
            for (std::int64_t j = 0; j < count; ++j) {
                C& to = gradient.data[first + j];
                to = static_cast<C>(sums[j]) + (gradient.accumulate ? to : C(0));
            }
        });
    }

private:
    /// The left or right factors of a batch, `step` elements apart.
    template <class C>
    struct Factor {
        kernel::MatrixView<const C> matrix;
        std::int64_t step;
    };

    template <class T>
    static Factor<ComputeOf<T>> factor_a(Workspace& workspace, const detail::Product& p, const T* a) {
        return factor<T>(workspace, {a, p.a_row, p.a_column}, p.a_batch, p.batch, p.rows, p.depth);
    }
    template <class T>
    static Factor<ComputeOf<T>> factor_b(Workspace& workspace, const detail::Product& p, const T* b) {
        return factor<T>(workspace, {b, p.b_row, p.b_column}, p.b_batch, p.batch, p.depth, p.columns);
    }

    /// Factors as they lie; 16-bit ones as a packed copy in float.
    template <class T>
    static Factor<ComputeOf<T>> factor(Workspace& workspace, kernel::MatrixView<const T> from,
                                       std::int64_t step, std::int64_t batch, std::int64_t rows,
                                       std::int64_t columns) {
        if constexpr (!is_half<T>) {
            return {from, step};
        } else {
            if (step == 0) batch = 1;
            float* to = workspace.take<float>(static_cast<std::size_t>(batch * rows * columns));
            parallel_for(batch * rows, 1 + 16384 / (columns + 1), [&](std::int64_t first, std::int64_t last) {
                for (std::int64_t row = first; row < last; ++row) {
                    const T* source = from.data + row / rows * step + row % rows * from.row_stride;
                    for (std::int64_t j = 0; j < columns; ++j)
                        to[row * columns + j] = static_cast<float>(source[j * from.column_stride]);
                }
            });
            return {{to, columns, 1}, step == 0 ? 0 : rows * columns};
        }
    }
};

/// Of an expression and two products.
template <>
struct Kernel<GeluFeedForward, Cpu> {
    static constexpr bool is_fused = false;
};

}  // namespace tenon
