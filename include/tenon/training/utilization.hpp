#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/tensor.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/training/progress.hpp>

namespace tenon {

/// Floating-point operations a second that matrix products of T reach on a device, with the threads that are
/// set: the best of a few of 1024³. Takes about a second on a CPU. For `model_flops_utilization`.
template <class T, class Device = Cpu>
double measured_peak_flops() {
    constexpr int size = 1024;
    using Matrix = Tensor<T, Shape<size, size>, Device>;
    const auto a = Matrix::filled(T(1)), b = Matrix::filled(T(2));
    double best = 0;
    for (int run = 0; run < 8; ++run) {
        const double begin = monotonic_seconds();
        const auto product = matmul(a, b);
        const double seconds = monotonic_seconds() - begin;
        best = std::max(best, 2.0 * size * size * size / std::max(seconds, 1e-9));
    }
    return best;
}

}  // namespace tenon
