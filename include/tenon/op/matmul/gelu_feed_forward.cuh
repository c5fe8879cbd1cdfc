#pragma once

#include <cstdint>

#include <tenon/cuda/cublaslt.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/expression/functor.hpp>
#include <tenon/op/matmul/cuda.cuh>
#include <tenon/op/matmul/gelu_feed_forward.hpp>

namespace tenon {
namespace cuda {

template <class T>
__global__ void __launch_bounds__(256) apply_gelu(const T* x, std::int64_t count, T* to) {
    const std::int64_t at = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
    if (at < count) to[at] = convert<T>(functor::GeluTanh::value(convert<ComputeOf<T>>(x[at])));
}

/// Multiplies a gradient by GELU's derivative at x.
template <class T>
__global__ void __launch_bounds__(256) multiply_by_gelu_slope(const T* x, std::int64_t count, T* gradient) {
    using C = ComputeOf<T>;
    const std::int64_t at = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
    if (at >= count) return;
    const C number = convert<C>(x[at]);
    gradient[at] = convert<T>(convert<C>(gradient[at]) * functor::GeluTanh::derivative(number, C(0)));
}

}  // namespace cuda

template <>
struct Kernel<GeluFeedForward, Cuda> {
    static constexpr bool is_fused = true;

    // cuBLASLt's GELU errs by 4e-6, which only 16-bit numbers hide.

    /// inner = x upᵀ + bias (null: none), and activated = GELU of it; both packed, and overwritten.
    template <class T>
    static void forward(const detail::Product& p, const T* x, const T* up, const T* bias, T* inner,
                        T* activated) {
        if (p.rows == 0 || p.columns == 0) return;
        cuda::MultiplyOptions options;
        options.bias = bias;
        options.gelu_of = inner;
        if (is_half<T> &&
            cuda::multiply({1, p.rows, p.columns, p.depth}, operand(x, p.a_row, p.a_column),
                           operand(up, p.b_row, p.b_column), operand(activated, p.columns, 1), options))
            return;
        Kernel<Matmul, Cuda>::forward(p, x, up, inner, {bias, nullptr});
        const std::int64_t count = p.rows * p.columns;
        cuda::launch(cuda::apply_gelu<T>, {cuda::blocks_for(count, 256, 0x7fffffff), 256}, inner, count,
                     activated);
    }

    /// The gradient of `inner` [rows, depth], overwritten: upstream [rows, columns] times down, times GELU's
    /// derivative; p is the product of what is activated with downᵀ.
    template <class T>
    static void gradient_inner(const detail::Product& p, const T* upstream, const T* down, const T* inner,
                               T* gradient) {
        if (p.rows == 0 || p.depth == 0) return;
        cuda::MultiplyOptions options;
        options.gelu_slope_of = inner;
        if (is_half<T> &&
            cuda::multiply({1, p.rows, p.depth, p.columns}, operand(upstream, p.columns, 1),
                           operand(down, p.b_column, p.b_row), operand(gradient, p.depth, 1), options))
            return;
        Kernel<Matmul, Cuda>::gradient_a(p, upstream, down, Contribution<T>{gradient, false});
        const std::int64_t count = p.rows * p.depth;
        cuda::launch(cuda::multiply_by_gelu_slope<T>, {cuda::blocks_for(count, 256, 0x7fffffff), 256}, inner,
                     count, gradient);
    }

private:
    template <class T>
    static cuda::MatrixOperand operand(const T* data, std::int64_t row, std::int64_t column) {
        return {data, cuda::data_type_of<T>, row, column};
    }
};

}  // namespace tenon
