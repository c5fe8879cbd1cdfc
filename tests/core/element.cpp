#include <cmath>
#include <cstdint>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;

namespace {

template <class H>
H from_bits(std::uint32_t bits) {
    H half;
    half.bits = static_cast<std::uint16_t>(bits);
    return half;
}

template <class H>
bool is_nan(H half) {
    return std::isnan(static_cast<float>(half));
}

/// The value of a half by its definition, for one with `fraction` bits after the point and this bias.
double defined_value(std::uint32_t bits, int fraction, int bias) {
    const int exponent = static_cast<int>(bits >> fraction & ((1u << (15 - fraction)) - 1));
    const double significand = bits & ((1u << fraction) - 1), one = 1u << fraction;
    const double sign = bits >> 15 ? -1 : 1;
    if (exponent == 0) return sign * std::ldexp(significand / one, 1 - bias);
    return sign * std::ldexp(1 + significand / one, exponent - bias);
}

template <class H>
void check_every_half(int fraction, int bias, std::uint32_t infinity) {
    int wrong = 0;
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const H half = from_bits<H>(bits);
        const std::uint32_t magnitude = bits & 0x7fff;
        if (magnitude > infinity) {
            wrong += !is_nan(half) || !is_nan(H(static_cast<float>(half)));
            continue;
        }
        wrong += H(static_cast<float>(half)).bits != bits;
        if (magnitude == infinity) {
            wrong += !std::isinf(static_cast<float>(half));
            continue;
        }
        wrong += static_cast<double>(static_cast<float>(half)) != defined_value(bits, fraction, bias);
        if (magnitude + 1 >= infinity) continue;
        // Between two neighbours: the middle goes to the even one, all else to the nearer.
        const double low = defined_value(bits, fraction, bias),
                     high = defined_value(bits + 1, fraction, bias);
        const double middle = (low + high) / 2, away = (high - low) * 1e-12;
        const std::uint32_t even = bits % 2 == 0 ? bits : bits + 1;
        wrong += H(static_cast<float>(middle)).bits != even;
        wrong += H(std::nextafter(static_cast<float>(middle), static_cast<float>(high))).bits != bits + 1;
        wrong += H(std::nextafter(static_cast<float>(middle), static_cast<float>(low))).bits != bits;
        // A double so near to the middle that it would round to it as a float is rounded once all the same.
        wrong += convert<H>(middle).bits != even;
        wrong += convert<H>(middle + away).bits != bits + 1;
        wrong += convert<H>(middle - away).bits != bits;
    }
    CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("every bf16 and every number between two of them") { check_every_half<bf16>(7, 127, 0x7f80); }

TEST_CASE("every f16 and every number between two of them") { check_every_half<f16>(10, 15, 0x7c00); }

TEST_CASE("the ends of the range") {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    CHECK(f16(65504.f).bits == 0x7bff);
    CHECK(f16(65519.f).bits == 0x7bff);
    CHECK(f16(65520.f).bits == 0x7c00);
    CHECK(f16(-1e30f).bits == 0xfc00);
    CHECK(f16(0x1p-24f).bits == 1);
    CHECK(f16(0x1p-25f).bits == 0);
    CHECK(f16(std::nextafter(0x1p-25f, 1.f)).bits == 1);
    CHECK(f16(-0.f).bits == 0x8000);
    CHECK(bf16(std::numeric_limits<float>::max()).bits == 0x7f80);
    CHECK(bf16(-infinity).bits == 0xff80);
    CHECK(convert<bf16>(1e300).bits == 0x7f80);
    CHECK(convert<f16>(-1e-300).bits == 0x8000);
    CHECK(is_nan(convert<f16>(std::nan(""))));
    CHECK(is_nan(convert<bf16>(std::nan(""))));
    CHECK(bf16(1.f) == bf16(1.f));
    CHECK_FALSE(f16(1.f) == f16(2.f));
    CHECK(f16(0.f) == f16(-0.f));
    static_assert(float(bf16(1.5f)) == 1.5f && float(f16(0.099975586f)) == 0.099975586f);
}

TEST_CASE("cast converts between all element types, packed or strided, and packs") {
    const auto x = Tensor<double, Shape<2, dyn>>::of({1.25, -2.75, 3.5, 100.0, 1e-3, 7}, 3);
    CHECK(cast<float>(x) == (Tensor<float, Shape<2, 3>>::of({1.25f, -2.75f, 3.5f, 100.f, 1e-3f, 7.f})));
    CHECK(cast<int>(x) == (Tensor<int, Shape<2, 3>>::of({1, -2, 3, 100, 0, 7})));
    CHECK(cast<double>(cast<int>(x))(1, 0) == 100);
    CHECK(cast<bf16>(cast<int>(x))(0, 1) == bf16(-2.f));
    CHECK(cast<int>(cast<f16>(x))(0, 2) == 3);
    CHECK(cast<f16>(cast<bf16>(x))(0, 1) == f16(-2.75f));
    CHECK(all_close(cast<f16>(x), x, {.relative = 0x1p-11}));
    CHECK(all_close(cast<bf16>(x), x, {.relative = 0x1p-8}));
    CHECK_FALSE(all_close(cast<bf16>(x), x, {.relative = 1e-6, .absolute = 0}));
    const auto turned = cast<float>(transpose(x));
    static_assert(std::same_as<decltype(turned), const Tensor<float, Shape<dyn, 2>>>);
    CHECK(turned.extents() == Extents(3, 2));
    CHECK(turned(2, 0) == 3.5f);
    CHECK(cast<float>(Tensor<double, Shape<dyn>>::zeros(0)).size() == 0);
}
