#pragma once

#include <tenon/op/matmul/cpu.hpp>
#include <tenon/op/matmul/matmul.hpp>

namespace tenon {

template <>
struct Kernel<Matmul, Cpu> {
    /// c is packed and overwritten.
    template <class T>
    static void forward(const detail::Product& p, const T* a, const T* b, T* c) {
        kernel::batched_matrix_product<T>(p.batch, p.rows, p.columns, p.depth, {a, p.a_row, p.a_column},
                                          p.a_batch, {b, p.b_row, p.b_column}, p.b_batch, {c, p.columns, 1},
                                          p.rows * p.columns, false);
    }

    /// The gradient of a is upstream times b transposed; `p` has the strides of that gradient for those of a.
    template <class T>
    static void gradient_a(const detail::Product& p, const T* upstream, const T* b,
                           Contribution<T> gradient) {
        const kernel::MatrixView<const T> u{upstream, p.columns, 1}, b_transposed{b, p.b_column, p.b_row};
        if (p.a_column == 1) {
            kernel::batched_matrix_product<T>(p.batch, p.rows, p.depth, p.columns, u, p.rows * p.columns,
                                              b_transposed, p.b_batch, {gradient.data, p.a_row, 1}, p.a_batch,
                                              gradient.accumulate);
        } else {  // a was taken transposed, and so is its gradient
            kernel::batched_matrix_product<T>(p.batch, p.depth, p.rows, p.columns, b_transposed.transposed(),
                                              p.b_batch, u.transposed(), p.rows * p.columns,
                                              {gradient.data, p.a_column, 1}, p.a_batch, gradient.accumulate);
        }
    }

    /// The gradient of b is a transposed times upstream, added up over a batch that shares b; `p` has the
    /// strides of that gradient for those of b, `original` those of a.
    template <class T>
    static void gradient_b(const detail::Product& p, const detail::Product& original, const T* upstream,
                           const T* a, Contribution<T> gradient) {
        const bool shares_b = p.b_batch == 0;
        const std::int64_t rounds = shares_b ? p.batch : 1, batch = shares_b ? 1 : p.batch;
        for (std::int64_t round = 0; round < rounds; ++round) {
            const kernel::MatrixView<const T> u{upstream + round * p.rows * p.columns, p.columns, 1};
            const kernel::MatrixView<const T> a_transposed{a + round * original.a_batch, original.a_column,
                                                           original.a_row};
            const bool accumulate = gradient.accumulate || round > 0;
            if (p.b_column == 1) {
                kernel::batched_matrix_product<T>(batch, p.depth, p.columns, p.rows, a_transposed,
                                                  original.a_batch, u, p.rows * p.columns,
                                                  {gradient.data, p.b_row, 1}, p.b_batch, accumulate);
            } else {
                kernel::batched_matrix_product<T>(batch, p.columns, p.depth, p.rows, u.transposed(),
                                                  p.rows * p.columns, a_transposed.transposed(),
                                                  original.a_batch, {gradient.data, p.b_column, 1}, p.b_batch,
                                                  accumulate);
            }
        }
    }
};

}  // namespace tenon
