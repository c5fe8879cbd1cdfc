#include <cmath>
#include <concepts>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/layer_norm/layer_norm.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::numbers;
using support::parameter;
using support::worst_error;

namespace {

/// The formula in f64; `bias` may be empty.
std::vector<double> reference(const std::vector<double>& x, const std::vector<double>& gain,
                              const std::vector<double>& bias, double epsilon) {
    const std::size_t width = gain.size();
    std::vector<double> result;
    for (std::size_t row = 0; row < x.size() / width; ++row) {
        const double* from = x.data() + row * width;
        double mean = 0, variance = 0;
        for (std::size_t i = 0; i < width; ++i) mean += from[i] / static_cast<double>(width);
        for (std::size_t i = 0; i < width; ++i)
            variance += (from[i] - mean) * (from[i] - mean) / static_cast<double>(width);
        for (std::size_t i = 0; i < width; ++i)
            result.push_back((from[i] - mean) / std::sqrt(variance + epsilon) * gain[i] +
                             (bias.empty() ? 0 : bias[i]));
    }
    return result;
}

}  // namespace

TEST_CASE("rows lose their mean and are divided by their standard deviation") {
    for (const int width : {1, 3, 8, 9, 100}) {
        INFO("width ", width);
        const auto x = numbers<double, Shape<dyn, dyn, dyn>>(1, 2, 5, width);
        const auto gain = numbers<double, Shape<dyn>>(2, width), bias = numbers<double, Shape<dyn>>(3, width);
        const auto u = support::values(x), g = support::values(gain), b = support::values(bias);
        CHECK(worst_error(layer_norm(x, gain, bias, 1e-3), reference(u, g, b, 1e-3)) < 1e-14);
        CHECK(worst_error(layer_norm(x, gain, 1e-3), reference(u, g, {}, 1e-3)) < 1e-14);
        CHECK(worst_error(layer_norm(x * 2, gain * 3, bias + 1),
                          reference(support::values(Tensor(x * 2)), support::values(Tensor(gain * 3)),
                                    support::values(Tensor(bias + 1)), 1e-5)) < 1e-13);
    }
    const auto x = numbers<double, Shape<6, 9>>(1);
    const auto gain = numbers<double, Shape<6>>(2), bias = numbers<double, Shape<6>>(3);
    CHECK(worst_error(layer_norm(transpose(x), gain, bias),
                      reference(support::values(transpose(x)), support::values(gain), support::values(bias),
                                1e-5)) < 1e-14);
}

TEST_CASE("f32, bf16 and f16 are close to f64, also where the mean is far greater than the deviation") {
    const Tensor x = numbers<double, Shape<4, 33>>(1) + 100;
    const auto gain = numbers<double, Shape<33>>(2), bias = numbers<double, Shape<33>>(3);
    const auto error = [&]<class T>(T, const auto& rows) {
        return relative_error(layer_norm(cast<T>(rows), cast<T>(gain), cast<T>(bias)),
                              layer_norm(rows, gain, bias));
    };
    CHECK(error(float{}, x) < 1e-5);
    const Tensor centered = x - 100;
    CHECK(error(float{}, centered) < 1e-6);
    CHECK(error(bf16{}, centered) < 0.01);
    CHECK(error(f16{}, centered) < 1e-3);
}

TEST_CASE("layer_norm: weights of 32 bits beside rows of 16 are not rounded, and their gradients neither") {
    for (const int width : {33, 40, 3000}) {  // one by one, and in packets: of one block a row, too
        INFO("width ", width);
        using Rows = Shape<4, dyn>;
        using Weights = Parameter<float, Shape<dyn>, support::Device>;
        using Wide = Parameter<double, Shape<dyn>, support::Device>;
        Parameter<bf16, Rows, support::Device> x(cast<bf16>(numbers<double, Rows>(1, width)));
        Weights gain(Tensor(1 + cast<float>(numbers<double, Shape<dyn>>(2, width)) / 300)),
            bias(cast<float>(numbers<double, Shape<dyn>>(3, width)));
        Parameter<double, Rows, support::Device> wide_x(cast<double>(x.value()));
        Wide wide_gain(cast<double>(gain.value())), wide_bias(cast<double>(bias.value()));
        const auto upstream = support::values(cast<bf16>(numbers<double, Rows>(4, width)));
        const auto y = layer_norm(x, gain, bias);
        static_assert(std::same_as<typename decltype(y)::value_type, bf16>);
        backward(y, support::seed_of(y, upstream));
        const auto wide = layer_norm(wide_x, wide_gain, wide_bias);
        backward(wide, upstream);
        CHECK(worst_error(y, support::values(wide)) < 0x1p-8);
        CHECK(relative_error(x.accumulated_gradient(), wide_x.accumulated_gradient()) < 0x1p-8);
        CHECK(relative_error(gain.accumulated_gradient(), wide_gain.accumulated_gradient()) < 1e-6);
        CHECK(relative_error(bias.accumulated_gradient(), wide_bias.accumulated_gradient()) < 1e-6);
    }
    const auto x = cast<bf16>(numbers<double, Shape<4, 33>>(1));
    const Tensor gain = 1 + cast<float>(numbers<double, Shape<33>>(2)) / 300;
    CHECK(support::same_bits(layer_norm(x, gain), cast<bf16>(layer_norm(cast<float>(x), gain))));
    CHECK(!support::same_bits(layer_norm(x, gain), layer_norm(x, cast<bf16>(gain))));
}

TEST_CASE("layer_norm: expressions for gain and bias are not rounded by themselves") {
    const auto x = cast<bf16>(numbers<double, Shape<4, 33>>(1));
    const auto wide = cast<float>(x);
    const Tensor little = cast<bf16>(Tensor(numbers<double, Shape<33>>(2) / 300));  // 1 + it is 1 in bf16
    const auto g = cast<float>(little);
    const auto y = layer_norm(x, 1.0 + little, 1.0 + little);
    CHECK(support::same_bits(y, cast<bf16>(layer_norm(wide, 1.0 + g, 1.0 + g))));
    CHECK(!support::same_bits(y, layer_norm(x, Tensor(1.0 + little), 1.0 + little)));
    CHECK(!support::same_bits(y, layer_norm(x, 1.0 + little, Tensor(1.0 + little))));
    CHECK(support::same_bits(layer_norm(x, 1.0 + little), cast<bf16>(layer_norm(wide, 1.0 + g))));
    auto a = parameter<Shape<3, 9>>(1);
    auto gain = parameter<Shape<9>>(2), bias = parameter<Shape<9>>(3);
    CHECK(gradient_error([](auto v, auto k, auto b) { return layer_norm(v, 1.0 + k, b * k, 0.1); }, a, gain,
                         bias) < 1e-6);
    CHECK(gradient_error([](auto v, auto k) { return layer_norm(v, 1.0 + k, 0.1); }, a, gain) < 1e-6);
}

TEST_CASE("layer_norm: the gradients of rows, gain and bias") {
    for (const int width : {2, 3, 9, 40}) {
        INFO("width ", width);
        auto x = parameter<Shape<dyn, dyn, dyn>>(1, 2, 3, width);
        auto gain = parameter<Shape<dyn>>(2, width), bias = parameter<Shape<dyn>>(3, width);
        CHECK(gradient_error([](auto a, auto g, auto b) { return layer_norm(a, g, b, 0.1); }, x, gain, bias) <
              1e-6);
        CHECK(gradient_error([](auto a, auto g) { return layer_norm(a, g, 0.1); }, x, gain) < 1e-6);
    }
    auto x = parameter<Shape<6, 9>>(1);
    auto gain = parameter<Shape<6>>(2), bias = parameter<Shape<6>>(3);
    CHECK(gradient_error([](auto a, auto g, auto b) { return layer_norm(transpose(a), g, b); }, x, gain,
                         bias) < 1e-6);
    CHECK(gradient_error([](auto a, auto g) { return layer_norm(transpose(a), g, g); }, x, gain) < 1e-6);
}

TEST_CASE("layer_norm gives the same bits for any number of threads") {
    CHECK(support::same_for_any_thread_count([] {
        auto x = parameter<Shape<257, 65>>(1);
        auto gain = parameter<Shape<65>>(2), bias = parameter<Shape<65>>(3);
        const auto y = layer_norm(x, gain, bias);
        backward(y, std::vector<double>(257 * 65, 0.5));
        std::vector<double> result = support::values(y);
        support::append(result, x.accumulated_gradient());
        support::append(result, gain.accumulated_gradient());
        support::append(result, bias.accumulated_gradient());
        return result;
    }));
}

TEST_CASE("a gain or bias of another length is an error that names both shapes") {
    const auto x = numbers<double, Shape<2, dyn>>(1, 4);
    const auto four = numbers<double, Shape<dyn>>(2, 4), five = numbers<double, Shape<dyn>>(2, 5);
    CHECK_THROWS_WITH_AS(layer_norm(x, five), "layer_norm_gain_differs<Shape<2, 4>, Shape<5>>", ShapeError);
    CHECK_THROWS_WITH_AS(layer_norm(x, five, four), "layer_norm_gain_differs<Shape<2, 4>, Shape<5>>",
                         ShapeError);
    CHECK_THROWS_WITH_AS(layer_norm(x, four, five), "layer_norm_bias_differs<Shape<2, 4>, Shape<5>>",
                         ShapeError);
}
