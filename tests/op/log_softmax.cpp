#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/log_softmax/log_softmax.hpp>
#include <tenon/op/softmax/softmax.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::numbers;
using support::parameter;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("log_softmax agrees with the definition") {
    for (const int length : {1, 3, 8, 9, 1000, 9001}) {
        INFO("length ", length);
        const auto x = numbers<double, Shape<dyn, dyn>>(1, 4, length);
        const auto y = on_host(log_softmax(x * 5)), u = on_host(x);
        double worst = 0;
        for (int i = 0; i < 4; ++i) {
            double total = 0;
            for (int j = 0; j < length; ++j) total += std::exp(5 * u(i, j));
            for (int j = 0; j < length; ++j)
                worst = std::max(worst, std::abs(y(i, j) - (5 * u(i, j) - std::log(total))));
        }
        CHECK(worst < 3e-14);
    }
}

TEST_CASE("log_softmax is finite where softmax is zero") {
    const auto x = Tensor<double, Shape<2, 3>, Device>::of({1e4, 1e4, -1e4, -1e300, -1e300, -1e300});
    const auto y = on_host(log_softmax(x));
    CHECK(y(0, 0) == doctest::Approx(-std::log(2)));
    CHECK(y(0, 2) == doctest::Approx(-2e4 - std::log(2)));
    CHECK(y(1, 1) == doctest::Approx(-std::log(3)));
    const auto masked = on_host(log_softmax(Tensor<double, Shape<2>, Device>::of({0, -infinity})));
    CHECK(masked(0) == 0);
    CHECK(masked(1) == -infinity);
    CHECK(log_softmax(Tensor<double, Shape<dyn, 3>, Device>::zeros(0)).size() == 0);
}

TEST_CASE("log_softmax over any axis is that over the last of the transpose") {
    const auto x = numbers<double, Shape<3, 5, 7>>(1);
    CHECK(support::values(log_softmax<axis<2>>(x)) == support::values(log_softmax(x)));
    CHECK(support::values(log_softmax<axis<0>>(x)) ==
          support::values(transpose<0, 2>(log_softmax(contiguous(transpose<0, 2>(x))))));
    CHECK(relative_error(contiguous(log_softmax<axis<-2>>(x)),
                         evaluate(log(contiguous(softmax<axis<1>>(x))))) < 1e-14);
}

TEST_CASE("log_softmax: the gradient, and narrower types") {
    for (const int length : {2, 7, 9, 30}) {
        auto x = parameter<Shape<dyn, dyn>>(1, 3, length);
        CHECK(gradient_error([](auto a) { return log_softmax(a); }, x) < 1e-6);
    }
    auto x = parameter<Shape<5, 11>>(1);
    CHECK(gradient_error([](auto a) { return log_softmax(transpose(a)); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return contiguous(log_softmax<axis<0>>(a)); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return evaluate(log_softmax(a) * a + log_softmax(3 * a)); }, x) < 1e-6);
    const auto values = numbers<double, Shape<4, 33>>(1);
    CHECK(relative_error(log_softmax(cast<float>(values)), log_softmax(values)) < 1e-6);
    CHECK(relative_error(log_softmax(cast<f16>(values)), log_softmax(values)) < 1e-3);
    CHECK(relative_error(log_softmax(cast<bf16>(values)), log_softmax(values)) < 0.01);
}

TEST_CASE("log_sum_exp over the last axis, another, and several") {
    const auto x = numbers<double, Shape<3, 5, 7>>(1);
    const Tensor powers = exp(x);
    CHECK(relative_error(log_sum_exp<axis<-1>>(x), evaluate(log(sum<axis<-1>>(powers)))) < 1e-14);
    CHECK(relative_error(log_sum_exp<axis<1>>(x), evaluate(log(sum<axis<1>>(powers)))) < 1e-14);
    CHECK(relative_error(log_sum_exp<keep_axis<0>>(x), evaluate(log(sum<keep_axis<0>>(powers)))) < 1e-14);
    CHECK(relative_error(log_sum_exp<axis<1, 2>>(x), evaluate(log(sum<axis<1, 2>>(powers)))) < 1e-14);
    CHECK(relative_error(log_sum_exp<axis<-1>>(x * 2), evaluate(log(sum<axis<-1>>(powers * powers)))) <
          1e-14);
    CHECK(relative_error(log_sum_exp<axis<-1>>(cast<float>(x)), log_sum_exp<axis<-1>>(x)) < 1e-6);
}

TEST_CASE("log_sum_exp of great numbers, and of infinities") {
    const auto x = Tensor<double, Shape<4, 2>, Device>::of(
        {1e4, 1e4, -1e300, -1e300, -infinity, -infinity, infinity, 0});
    const auto y = on_host(log_sum_exp<axis<-1>>(x));
    CHECK(y(0) == doctest::Approx(1e4 + std::log(2)).epsilon(1e-15));
    CHECK(y(1) == -1e300);
    CHECK(y(2) == -infinity);
    CHECK(y(3) == infinity);
}

TEST_CASE("log_sum_exp: its gradient is softmax") {
    auto x = parameter<Shape<3, 5, 7>>(1);
    CHECK(gradient_error([](auto a) { return log_sum_exp<axis<-1>>(a); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return log_sum_exp<axis<0>>(a); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return log_sum_exp<keep_axis<1, 2>>(a * a); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return log_sum_exp<axis<-1>>(transpose(a)); }, x) < 1e-6);
}
