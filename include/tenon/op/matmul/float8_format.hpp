#pragma once

#include <cmath>
#include <cstdint>

#include <tenon/core/host_device.hpp>

namespace tenon {

/// 8-bit floats (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"): 3 bits of significand and values
/// up to 448, for weights and activations, or 2 bits and values up to 57,344, for gradients.
enum class Float8 : std::uint8_t { e4m3, e5m2 };

/// The greatest value of a format.
TENON_HOST_DEVICE constexpr float maximum_of(Float8 format) {
    return format == Float8::e4m3 ? 448.0f : 57344.0f;
}

namespace detail {

TENON_HOST_DEVICE constexpr int significand_bits(Float8 format) { return format == Float8::e4m3 ? 3 : 2; }
/// The least exponent of a number with all bits of significand.
TENON_HOST_DEVICE constexpr int least_exponent(Float8 format) { return format == Float8::e4m3 ? -6 : -14; }

}  // namespace detail

/// The nearest number of a format, the even one of two; its greatest for what lies beyond. NaN stays NaN.
TENON_HOST_DEVICE inline std::uint8_t to_float8(float value, Float8 format) {
    const int bits = detail::significand_bits(format), least = detail::least_exponent(format);
    const float most = maximum_of(format), size = std::fabs(value);
    const std::uint8_t sign = std::signbit(value) ? 0x80 : 0;
    if (size != size) return 0x7F;
    if (size >= most) return static_cast<std::uint8_t>(sign | (format == Float8::e4m3 ? 0x7E : 0x7B));
    int exponent = least;
    if (size > 0) {
        const int own = std::ilogb(size);
        if (own > least) exponent = own;
    }
    // Numbers of one exponent are evenly spaced; rounded up to the next exponent's first, the sum carries
    // over.
    const int steps = static_cast<int>(std::rint(std::scalbn(size, bits - exponent)));
    return static_cast<std::uint8_t>(sign | (((exponent - least) << bits) + steps));
}

/// The number that 8 bits stand for.
TENON_HOST_DEVICE inline float from_float8(std::uint8_t code, Float8 format) {
    const int bits = detail::significand_bits(format), least = detail::least_exponent(format);
    const int exponent = (code & 0x7F) >> bits, rest = code & ((1 << bits) - 1);
    const bool is_nan = format == Float8::e4m3 ? (code & 0x7F) == 0x7F : (code & 0x7F) > 0x7C;
    if (is_nan) return std::nanf("");
    const int significand = exponent > 0 ? (1 << bits) + rest : rest;
    const float size =
        std::scalbn(static_cast<float>(significand), (exponent > 0 ? exponent - 1 : 0) + least - bits);
    return code & 0x80 ? -size : size;
}

}  // namespace tenon
