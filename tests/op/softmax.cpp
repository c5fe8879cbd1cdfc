#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/softmax/softmax.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;

TEST_CASE("softmax agrees with the definition") {
    for (const int length : {1, 3, 8, 9, 1000, 9001}) {
        INFO("length ", length);
        const auto x = numbers<double, Shape<dyn, dyn>>(1, 4, length);
        const auto y = on_host(softmax(x * 5)), u = on_host(x);
        for (int i = 0; i < 4; ++i) {
            double total = 0, worst = 0;
            for (int j = 0; j < length; ++j) total += std::exp(5 * u(i, j));
            for (int j = 0; j < length; ++j)
                worst = std::max(worst, std::abs(y(i, j) - std::exp(5 * u(i, j)) / total));
            CHECK(worst < 1e-15);
        }
    }
}

TEST_CASE("great and equal arguments are no danger, and a view is as good as a tensor") {
    const auto x = Tensor<double, Shape<2, 3>, Device>::of({1e4, 1e4, -1e4, -1e300, -1e300, -1e300});
    const auto y = softmax(x);
    CHECK(at(y, 0, 0) == 0.5);
    CHECK(at(y, 0, 2) == 0);
    CHECK(at(y, 1, 2) == doctest::Approx(1. / 3));
    CHECK(softmax(transpose(transpose(x))) == y);
    CHECK(softmax(Tensor<double, Shape<dyn, 3>, Device>::zeros(0)).size() == 0);
}

TEST_CASE("the gradient, and narrower types") {
    for (const int length : {1, 7, 9, 30}) {
        auto x = support::parameter<Shape<dyn, dyn>>(1, 3, length);
        const double error = gradient_error([](auto a) { return softmax(a); }, x);
        if (length > 1) CHECK(error < 1e-6);  // of one element it is constant, and its quotient noise
    }
    auto x = support::parameter<Shape<5, 4>>(1);
    CHECK(gradient_error([](auto a) { return softmax(transpose(a)); }, x) < 1e-6);
    const auto values = numbers<double, Shape<4, 33>>(1);
    CHECK(relative_error(softmax(cast<float>(values)), softmax(values)) < 1e-6);
    CHECK(relative_error(softmax(cast<f16>(values)), softmax(values)) < 1e-3);
    CHECK(relative_error(softmax(cast<bf16>(values)), softmax(values)) < 0.01);
}

TEST_CASE("the gradient of softmax adds to what is there, and goes through views and other axes") {
    auto x = support::parameter<Shape<5, 4, 11>>(1);
    CHECK(gradient_error([](auto a) { return evaluate(softmax(a) * a + softmax(3 * a)); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return contiguous(softmax<axis<0>>(a)); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return contiguous(softmax<axis<1>>(transpose(a))); }, x) < 1e-6);
    Parameter<bf16, Shape<4, 33>, Device> half(cast<bf16>(numbers<double, Shape<4, 33>>(1)));
    Parameter<double, Shape<4, 33>, Device> whole(cast<double>(half.value()));
    const auto seed = numbers<double, Shape<4, 33>>(2);
    backward(softmax(half), support::seed_of(half.value(), support::values(seed)));
    backward(softmax(whole), seed.span());
    CHECK(relative_error(half.accumulated_gradient(), whole.accumulated_gradient()) < 0.01);
}

TEST_CASE("softmax over any axis is that over the last of the transpose") {
    const auto x = numbers<double, Shape<3, 5, 7>>(1);
    CHECK(support::values(softmax<axis<-1>>(x)) == support::values(softmax(x)));
    CHECK(support::values(softmax<axis<2>>(x * 2)) == support::values(softmax(x * 2)));
    const auto middle = on_host(softmax<axis<1>>(x));
    const auto u = on_host(x);
    double worst = 0;
    for (int i = 0; i < 3; ++i)
        for (int k = 0; k < 7; ++k) {
            double total = 0;
            for (int j = 0; j < 5; ++j) total += std::exp(u(i, j, k));
            for (int j = 0; j < 5; ++j)
                worst = std::max(worst, std::abs(middle(i, j, k) - std::exp(u(i, j, k)) / total));
        }
    CHECK(worst < 1e-15);
    // More rows side by side than are gathered at once, and a rest.
    for (const int rows : {1, 15, 16, 17, 100}) {
        const auto wide = numbers<double, Shape<dyn, dyn>>(1, 9, rows);
        CHECK(support::values(softmax<axis<0>>(wide)) ==
              support::values(transpose(softmax(contiguous(transpose(wide))))));
    }
}

TEST_CASE("softmax gives the same bits for any number of threads, and NaN spoils its row alone") {
    CHECK(support::same_for_any_thread_count([] {
        auto x = support::parameter<Shape<257, 130>>(1);
        const auto y = softmax(x);
        backward(y, support::values(x.value()));
        std::vector<double> result = support::values(y);
        support::append(result, x.accumulated_gradient());
        return result;
    }));
    auto x = numbers<double, Shape<2, 9>>(1);
    support::set(x, std::numeric_limits<double>::quiet_NaN(), 0, 8);
    const auto y = on_host(softmax(x));
    for (int j = 0; j < 9; ++j) {
        CHECK(std::isnan(y(0, j)));
        CHECK(std::isfinite(y(1, j)));
    }
}
