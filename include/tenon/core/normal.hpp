#pragma once

#include <type_traits>
#include <utility>

#include <tenon/core/host_device.hpp>
#include <tenon/core/math.hpp>

namespace tenon {
namespace detail {

/// The type of one number of V: V itself, or that of a packet's lanes.
template <class V>
struct ScalarOf {
    using type = V;
};
template <class V>
    requires requires { typename V::Scalar; }
struct ScalarOf<V> {
    using type = typename V::Scalar;
};

/// The polynomial with these coefficients, from that of the power 0 on. Unrolled, so that they are constants
/// of the code.
template <class V, int count, int... power>
TENON_HOST_DEVICE V polynomial(const double (&coefficient)[count], V x,
                               std::integer_sequence<int, power...>) {
    V value(static_cast<typename ScalarOf<V>::type>(coefficient[count - 1]));
    ((value = fma(value, x, V(static_cast<typename ScalarOf<V>::type>(coefficient[count - 2 - power])))),
     ...);
    return value;
}
template <class V, int count>
TENON_HOST_DEVICE V polynomial(const double (&coefficient)[count], V x) {
    return polynomial(coefficient, x, std::make_integer_sequence<int, count - 1>());
}

}  // namespace detail

/// The standard normal distribution at z >= 0.
template <class V>
struct NormalTail {
    V density;      ///< exp(-z² / 2) / sqrt(2 π)
    V probability;  ///< of more than z: 1 - Φ(z), to a few units in the last place however small
};

/// For 0 <= z <= 40. Where the density is below the least normal number, both are 0.
template <class V>
TENON_HOST_DEVICE NormalTail<V> normal_tail(V z) {
    using T = typename detail::ScalarOf<V>::type;
    // What z * z was rounded by counts, where the exponential is small.
    const V square = z * z, rest = fma(z, z, -square);
    const V power = exp(V(T(-0.5)) * square);
    const V density = V(T(0.39894228040143267794)) * fma(power * V(T(-0.5)), rest, power);
    // Mills' ratio (1 - Φ(z)) / density(z), times z + 4, is smooth in t = (z - 4) / (z + 4) up to infinity
    // (after Shepherd, Laframboise 1981): its Chebyshev interpolation over z <= 14 for f32, 39 for f64.
    const V inverse = reciprocal(z + V(T(4))), t = (z - V(T(4))) * inverse;
    if constexpr (sizeof(T) == 4) {
        constexpr double coefficient[] = {1.893219083,    -1.523770851,  0.9704077585,    -0.4675430359,
                                          0.1514171139,   -0.0188730327, -0.008838831765, 0.003941216453,
                                          5.044883437e-4, -3.01257618e-4};
        return {density, density * (detail::polynomial(coefficient, t) * inverse)};
    } else {
        constexpr double coefficient[] = {
            1.89321906330848546,    -1.52377091081998017,    0.970409554867562244,    -0.467540962998675832,
            0.151391762313590131,   -0.0189004508509817794,  -0.0087222952927146272,  0.00408785552624536065,
            3.342447517546984e-4,   -5.79268066709938329e-4, -4.78369357991272123e-6, 8.8089757513225672e-5,
            1.7962886290058947e-6,  -1.48251523380361322e-5, -1.57351643334996836e-6, 2.53398973202397648e-6,
            6.65349168630370798e-7, -3.59703014012920685e-7, -1.8921054912843962e-7,  1.82377745431199856e-8,
            2.95243025376554019e-8, 5.50864924716927673e-9};
        return {density, density * (detail::polynomial(coefficient, t) * inverse)};
    }
}

}  // namespace tenon
