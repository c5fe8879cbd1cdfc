#pragma once

#include <concepts>
#include <cstdint>

#include <tenon/core/host_device.hpp>

namespace tenon {

/// bfloat16: the upper half of a float; rounded to nearest, ties to even.
struct bf16 {
    std::uint16_t bits = 0;

    bf16() = default;
    TENON_HOST_DEVICE constexpr explicit bf16(float value)
        : bits(round(__builtin_bit_cast(std::uint32_t, value))) {}
    TENON_HOST_DEVICE constexpr explicit operator float() const {
        return __builtin_bit_cast(float, std::uint32_t{bits} << 16);
    }
    friend constexpr bool operator==(bf16 a, bf16 b) { return float(a) == float(b); }

private:
    TENON_HOST_DEVICE static constexpr std::uint16_t round(std::uint32_t x) {
        const bool is_nan = (x & 0x7fffffffu) > 0x7f800000u;
        if (is_nan)
            return static_cast<std::uint16_t>((x >> 16) | 0x40u);  // rounding must not carry into infinity
        return static_cast<std::uint16_t>((x + 0x7fffu + ((x >> 16) & 1u)) >> 16);
    }
};

/// IEEE 754 binary16; rounded to nearest, ties to even.
struct f16 {
    std::uint16_t bits = 0;

    f16() = default;
    TENON_HOST_DEVICE constexpr explicit f16(float value)
        : bits(round(__builtin_bit_cast(std::uint32_t, value))) {}
    TENON_HOST_DEVICE constexpr explicit operator float() const {
        const std::uint32_t sign = std::uint32_t(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
        if (magnitude >= 0x7c00u)  // infinity, NaN
            return __builtin_bit_cast(float, sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
        // Shifting places the exponent 112 too low; the product corrects it, subnormals included.
        const float scaled = __builtin_bit_cast(float, magnitude << 13) * 0x1p112f;
        return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, scaled));
    }
    friend constexpr bool operator==(f16 a, f16 b) { return float(a) == float(b); }

private:
    TENON_HOST_DEVICE static constexpr std::uint16_t round(std::uint32_t x) {
        const std::uint32_t sign = (x >> 16) & 0x8000u, magnitude = x & 0x7fffffffu;
        if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
        if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
        if (magnitude <
            0x38800000u) {  // subnormal: adding 0.5 leaves the rounded significand in the low bits
            const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
            return static_cast<std::uint16_t>(sign |
                                              (__builtin_bit_cast(std::uint32_t, shifted) - 0x3f000000u));
        }
        const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
        return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
    }
};

template <class T>
inline constexpr bool is_half = std::same_as<T, bf16> || std::same_as<T, f16>;

/// Elements that carry gradients and enter arithmetic.
template <class T>
concept Real = std::same_as<T, float> || std::same_as<T, double> || is_half<T>;

/// A real number of a type that is known at run time alone: f32, bf16 or f16, as a file has it. Tensors of
/// such are read where they lie, by what takes a matrix of weights on the CPU (products with floats, lookups
/// of rows), without a gradient.
struct StoredReal {};

/// Elements a tensor may hold: reals, and the integers that token ids and indices are.
template <class T>
concept Element = Real<T> || std::integral<T> || std::same_as<T, StoredReal>;

namespace detail {
template <class T>
struct Compute {
    using type = T;
};
template <class T>
    requires(is_half<T> || std::same_as<T, StoredReal>)
struct Compute<T> {
    using type = float;
};
}  // namespace detail

/// The type that arithmetic on T is done in, and that its gradients have: float for 16-bit and stored reals,
/// else T.
template <class T>
using ComputeOf = typename detail::Compute<T>::type;

namespace detail {

/// Rounds to odd: an inexact result has its last bit set, so that rounding it once more, to 16 bits, gives
/// what rounding `value` directly would.
TENON_HOST_DEVICE constexpr float round_to_odd(double value) {
    const float nearest = static_cast<float>(value);
    if (static_cast<double>(nearest) == value) return nearest;
    const double size = value < 0 ? -value : value, nearest_size = nearest < 0 ? -nearest : nearest;
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, nearest) - (nearest_size > size ? 1u : 0u);
    return __builtin_bit_cast(float, bits | 1u);
}

}  // namespace detail

/// A number in another element type: rounded once, to nearest, where it becomes real; truncated where it
/// becomes an integer, whose range it must lie in.
template <Element To, Element From>
TENON_HOST_DEVICE constexpr To convert(From value) {
    if constexpr (std::same_as<To, From>)
        return value;
    else if constexpr (is_half<From>)
        return convert<To>(static_cast<float>(value));
    else if constexpr (!is_half<To>)
        return static_cast<To>(value);
    else if constexpr (std::same_as<From, float>)
        return To(value);
    else
        return To(detail::round_to_odd(static_cast<double>(value)));
}

}  // namespace tenon
