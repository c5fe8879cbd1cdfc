#include <cmath>
#include <concepts>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/rms_norm/rms_norm.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::numbers;
using support::parameter;
using support::worst_error;

namespace {

template <class X, class G>
std::vector<double> reference(const X& x, const G& gain, double epsilon) {
    std::vector<double> result;
    const int width = gain.extents()[0];
    const auto v = support::values(x), g = support::values(gain);
    for (std::size_t row = 0; row < v.size() / static_cast<std::size_t>(width); ++row) {
        const double* from = v.data() + row * static_cast<std::size_t>(width);
        double squares = 0;
        for (int i = 0; i < width; ++i) squares += from[i] * from[i];
        for (int i = 0; i < width; ++i)
            result.push_back(from[i] / std::sqrt(squares / width + epsilon) * g[static_cast<std::size_t>(i)]);
    }
    return result;
}

}  // namespace

TEST_CASE("rows are divided by their root mean square") {
    for (const int width : {1, 3, 8, 9, 100}) {
        INFO("width ", width);
        const auto x = numbers<double, Shape<dyn, dyn, dyn>>(1, 2, 5, width);
        const auto gain = numbers<double, Shape<dyn>>(2, width);
        CHECK(worst_error(rms_norm(x, gain, 1e-3), reference(x, gain, 1e-3)) < 1e-14);
        CHECK(worst_error(rms_norm(x * 2, gain), reference(Tensor(x * 2), gain, 1e-5)) < 1e-14);
    }
    const auto x = numbers<double, Shape<6, 9>>(1);
    CHECK(worst_error(rms_norm(transpose(x), numbers<double, Shape<6>>(2)),
                      reference(transpose(x), numbers<double, Shape<6>>(2), 1e-5)) < 1e-14);
}

TEST_CASE("f32 and bf16 are close to f64") {
    const auto x = numbers<double, Shape<4, 33>>(1);
    const auto gain = numbers<double, Shape<33>>(2);
    CHECK(relative_error(rms_norm(cast<float>(x), cast<float>(gain)), rms_norm(x, gain)) < 1e-6);
    CHECK(relative_error(rms_norm(cast<bf16>(x), cast<bf16>(gain)), rms_norm(x, gain)) < 0.01);
}

TEST_CASE("a gain of 32 bits beside rows of 16 is not rounded, and its gradient neither") {
    using Rows = Shape<4, dyn>;
    const auto check = [](int width, auto norm) {
        INFO("width ", width);
        Parameter<bf16, Rows, support::Device> x(cast<bf16>(numbers<double, Rows>(1, width)));
        Parameter<float, Shape<dyn>, support::Device> gain(
            Tensor(1 + cast<float>(numbers<double, Shape<dyn>>(2, width)) / 300));
        Parameter<double, Rows, support::Device> wide_x(cast<double>(x.value()));
        Parameter<double, Shape<dyn>, support::Device> wide_gain(cast<double>(gain.value()));
        const auto upstream = support::values(cast<bf16>(numbers<double, Rows>(3, width)));
        const auto y = norm(x, gain);
        static_assert(std::same_as<typename decltype(y)::value_type, bf16>);
        backward(y, support::seed_of(y, upstream));
        const auto wide = norm(wide_x, wide_gain);
        backward(wide, upstream);
        CHECK(worst_error(y, support::values(wide)) < 0x1p-8);
        CHECK(relative_error(x.accumulated_gradient(), wide_x.accumulated_gradient()) < 0x1p-8);
        CHECK(relative_error(gain.accumulated_gradient(), wide_gain.accumulated_gradient()) < 1e-6);
    };
    for (const int width : {33, 40, 3000}) {  // one by one, and in packets: of one block a row, too
        check(width, [](const auto& x, const auto& gain) { return rms_norm(x, gain); });
        check(width, [](const auto& x, const auto& gain) { return rms_norm(x, 0.5 + gain); });
    }
    const auto x = cast<bf16>(numbers<double, Shape<4, 33>>(1));
    const Tensor gain = 1 + cast<float>(numbers<double, Shape<33>>(2)) / 300;
    CHECK(support::same_bits(rms_norm(x, gain), cast<bf16>(rms_norm(cast<float>(x), gain))));
    CHECK(!support::same_bits(rms_norm(x, gain), rms_norm(x, cast<bf16>(gain))));
}

TEST_CASE("a gain may be a view with gaps") {
    const auto x = numbers<double, Shape<3, 8>>(1);
    const auto table = numbers<double, Shape<8, 4>>(2);
    const auto column = select<1>(table, 2);
    CHECK(worst_error(rms_norm(x, column), reference(x, column, 1e-5)) < 1e-14);
}

TEST_CASE("an expression for the gain is not rounded by itself") {
    const auto x = cast<bf16>(numbers<double, Shape<4, 33>>(1));
    const Tensor little = cast<bf16>(Tensor(numbers<double, Shape<33>>(2) / 300));  // 1 + it is 1 in bf16
    const auto y = rms_norm(x, 1.0 + little);
    CHECK(support::same_bits(y, cast<bf16>(rms_norm(cast<float>(x), 1.0 + cast<float>(little)))));
    CHECK(!support::same_bits(y, rms_norm(x, Tensor(1.0 + little))));
}

TEST_CASE("the gradient of a gain within an expression, over its own axis too") {
    auto x = parameter<Shape<3, 9>>(1);
    auto gain = parameter<Shape<9>>(2);
    auto weights = parameter<Shape<9, 4>>(3);
    CHECK(gradient_error([](auto a, auto g) { return rms_norm(a, 1.0 + g, 0.1); }, x, gain) < 1e-6);
    CHECK(gradient_error([](auto a, auto g) { return rms_norm(a, g * sum<keep_axis<-1>>(square(g))); }, x,
                         gain) < 1e-6);
    CHECK(gradient_error([](auto a, auto w) { return rms_norm(a, sum<axis<-1>>(w)); }, x, weights) < 1e-6);
}

TEST_CASE("the gradients of rows and gain") {
    for (const int width : {1, 3, 9, 40}) {
        auto x = parameter<Shape<dyn, dyn, dyn>>(1, 2, 3, width);
        auto gain = parameter<Shape<dyn>>(2, width);
        CHECK(gradient_error([](auto a, auto g) { return rms_norm(a, g, 0.1); }, x, gain) < 1e-6);
    }
    auto x = parameter<Shape<6, 9>>(1);
    auto gain = parameter<Shape<6>>(2);
    CHECK(gradient_error([](auto a, auto g) { return rms_norm(transpose(a), g); }, x, gain) < 1e-6);
}

TEST_CASE("a gain of another length is an error that names both shapes") {
    CHECK_THROWS_WITH_AS(rms_norm(numbers<double, Shape<2, dyn>>(1, 4), numbers<double, Shape<5>>(2)),
                         "rms_norm_gain_differs<Shape<2, 4>, Shape<5>>", ShapeError);
}
