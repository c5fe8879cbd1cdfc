#include <cmath>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/cpu.hpp>
#include <tenon/op/softmax/softmax.hpp>
#include <tenon/op/view/cpu.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::numbers;

TEST_CASE("softmax agrees with the definition") {
    for (const int length : {1, 3, 8, 9, 1000}) {
        INFO("length ", length);
        const auto x = numbers<double, Shape<dyn, dyn>>(1, 4, length);
        const auto y = softmax(x * 5);
        for (int i = 0; i < 4; ++i) {
            double total = 0, worst = 0;
            for (int j = 0; j < length; ++j) total += std::exp(5 * x(i, j));
            for (int j = 0; j < length; ++j)
                worst = std::max(worst, std::abs(y(i, j) - std::exp(5 * x(i, j)) / total));
            CHECK(worst < 1e-15);
        }
    }
}

TEST_CASE("great and equal arguments are no danger, and a view is as good as a tensor") {
    const auto x = Tensor<double, Shape<2, 3>>::of({1e4, 1e4, -1e4, -1e300, -1e300, -1e300});
    const auto y = softmax(x);
    CHECK(y(0, 0) == 0.5);
    CHECK(y(0, 2) == 0);
    CHECK(y(1, 2) == doctest::Approx(1. / 3));
    CHECK(softmax(transpose(transpose(x))) == y);
    CHECK(softmax(Tensor<double, Shape<dyn, 3>>::zeros(0)).size() == 0);
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
    CHECK(relative_error(softmax(cast<bf16>(values)), softmax(values)) < 0.01);
}
