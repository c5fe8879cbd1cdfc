#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>

#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>
#include <tenon/op/matmul/linear_float8.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::numbers;

namespace {

constexpr MatmulOptions right{.transpose_right = true};

template <class S, class... Extents>
auto halves(std::uint32_t number, Extents... extents) {
    return numbers<bf16, S>(number, extents...);
}

/// How far x lies from y, relative to y, in root mean square.
template <class X, class Y>
double distance(const X& x, const Y& y) {
    const auto& a = on_host(x);
    const auto& b = on_host(y);
    double difference = 0, size = 0;
    for (std::int64_t i = 0; i < a.size(); ++i) {
        const auto one = convert<double>(a.data()[i]), other = convert<double>(b.data()[i]);
        difference += (one - other) * (one - other);
        size += other * other;
    }
    return std::sqrt(difference / size);
}

}  // namespace

TEST_CASE(
    "every number of 8 bits is its own rounding, and others go to the nearest, of two to the even one") {
    for (const Float8 format : {Float8::e4m3, Float8::e5m2}) {
        for (int code = 0; code < 256; ++code) {
            const float value = from_float8(static_cast<std::uint8_t>(code), format);
            if (std::isfinite(value) && std::fabs(value) <= maximum_of(format))
                CHECK(to_float8(value, format) == code);
        }
        CHECK(from_float8(to_float8(1e9f, format), format) == maximum_of(format));
        CHECK(from_float8(to_float8(-1e9f, format), format) == -maximum_of(format));
        CHECK(std::isnan(from_float8(to_float8(std::numeric_limits<float>::quiet_NaN(), format), format)));
    }
    const auto rounded = [](float value) {
        return from_float8(to_float8(value, Float8::e4m3), Float8::e4m3);
    };
    CHECK(rounded(1.0625f) == 1.0f);  // between 1 and 1.125
    CHECK(rounded(1.1875f) == 1.25f);
    CHECK(rounded(1.99f) == 2.0f);
    CHECK(rounded(0.0009f) == 0.0f);  // the least are multiples of 2^-9
    CHECK(rounded(0.0029f) == 0.001953125f);
}

TEST_CASE("a linear layer in 8 bits is near the one in 16, with its bias and its addend") {
    const auto x = halves<Shape<dyn, dyn, dyn>>(1, 2, 24, 64);
    const auto weight = halves<Shape<dyn, dyn>>(2, 80, 64);
    const auto bias = halves<Shape<dyn>>(3, 80);
    const auto addend = halves<Shape<dyn, dyn, dyn>>(4, 2, 24, 80);
    const auto exact = matmul_add<right>(x, weight, bias, addend);
    const auto y = linear_float8(x, weight, bias, addend);
    CHECK(y.extents() == exact.extents());
    CHECK(distance(y, exact) < 0.04);
    CHECK(distance(y, exact) > 0.001);
    CHECK(distance(linear_float8(x, weight), matmul<right>(x, weight)) < 0.05);
    CHECK(linear_float8(x, weight, bias, addend) == y);
}

TEST_CASE("factors whose elements have 8 bits are multiplied as they are") {
    // Small integers, the greatest a power of two times the format's: the scale is exact.
    Tensor<bf16, Shape<16, 32>> x = Tensor<bf16, Shape<16, 32>>::zeros();
    Tensor<bf16, Shape<48, 32>> weight = Tensor<bf16, Shape<48, 32>>::zeros();
    for (int i = 0; i < x.size(); ++i) x.data()[i] = bf16(static_cast<float>(i % 7 - 3));
    for (int i = 0; i < weight.size(); ++i) weight.data()[i] = bf16(static_cast<float>(i % 5 - 2));
    x.data()[5] = weight.data()[9] = bf16(7.0f);  // 448 / 64
    const auto left = to_device<Device>(x);
    const auto second = to_device<Device>(weight);
    CHECK(linear_float8(left, second) == matmul<right>(left, second));
}

TEST_CASE("gradients are near those in 16 bits; those of the bias and the addend are the same") {
    const auto gradients = [](auto&& layer) {
        Parameter<bf16, Shape<dyn, dyn>, Device> x(halves<Shape<dyn, dyn>>(1, 32, 64)),
            weight(halves<Shape<dyn, dyn>>(2, 48, 64)), addend(halves<Shape<dyn, dyn>>(4, 32, 48));
        Parameter<bf16, Shape<dyn>, Device> bias(halves<Shape<dyn>>(3, 48));
        const auto seed = halves<Shape<dyn, dyn>>(5, 32, 48);
        const Tensor y = layer(x, weight, bias, addend);
        backward(Tensor(sum(y * seed)));
        return std::tuple(x.accumulated_gradient(), weight.accumulated_gradient(),
                          bias.accumulated_gradient(), addend.accumulated_gradient());
    };
    const auto exact = gradients([](const auto&... all) { return matmul_add<right>(all...); });
    const auto rounded = gradients([](const auto&... all) { return linear_float8(all...); });
    CHECK(distance(std::get<0>(rounded), std::get<0>(exact)) < 0.09);
    CHECK(distance(std::get<1>(rounded), std::get<1>(exact)) < 0.09);
    CHECK(std::get<2>(rounded) == std::get<2>(exact));
    CHECK(std::get<3>(rounded) == std::get<3>(exact));
}

TEST_CASE("where extents are no multiples of 16, products are of 16 bits") {
    const auto x = halves<Shape<dyn, dyn>>(1, 3, 64);
    const auto weight = halves<Shape<dyn, dyn>>(2, 48, 64);
    CHECK(linear_float8(x, weight) == matmul<right>(x, weight));
}
