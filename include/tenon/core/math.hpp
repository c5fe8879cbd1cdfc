#pragma once

#include <cmath>
#include <concepts>

#include <tenon/core/host_device.hpp>

namespace tenon {

// The functions that kernels are written with, for one number. `core/packet.hpp` has the same set for a
// packet of numbers, so that a template such as `x / (V(1) + exp(-x))` serves both, and the GPU too.

template <std::floating_point T>
TENON_HOST_DEVICE constexpr T exp(T x) {
    return std::exp(x);
}
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T log(T x) {
    return std::log(x);
}
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T sqrt(T x) {
    return std::sqrt(x);
}
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T tanh(T x) {
    return std::tanh(x);
}
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T sin(T x) {
    return std::sin(x);
}
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T cos(T x) {
    return std::cos(x);
}
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T abs(T x) {
    return x < T(0) ? -x : x;
}

/// 1 / x.
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T reciprocal(T x) {
    return T(1) / x;
}

/// 1 / sqrt(x).
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T rsqrt(T x) {
    return T(1) / std::sqrt(x);
}

/// The lesser; NaN where either is. Of equal ones the first, as that of zeros.
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T min(T a, T b) {
    return b < a || b != b ? b : a;
}
/// The greater; NaN where either is. Of equal ones the first, as that of zeros.
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T max(T a, T b) {
    return a < b || b != b ? b : a;
}

/// a * b + c, rounded once where the hardware does so at no cost.
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T fma(T a, T b, T c) {
    return a * b + c;
}

/// `yes` where the condition holds, else `no`.
template <std::floating_point T>
TENON_HOST_DEVICE constexpr T select(bool condition, T yes, T no) {
    return condition ? yes : no;
}

}  // namespace tenon
