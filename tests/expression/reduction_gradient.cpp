#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::parameter;

namespace {

using support::packet;
constexpr double bound = 1e-6;
using Matrix = Shape<dyn, dyn>;

}  // namespace

TEST_CASE("each reduction, over the last axis and over another") {
    for (const int length : {1, 3, packet - 1, packet + 1, 50}) {
        INFO("length ", length);
        auto x = parameter<Matrix>(1, 4, length);
        CHECK(gradient_error([](auto a) { return Tensor(sum<axis<1>>(a)); }, x) < bound);
        CHECK(gradient_error([](auto a) { return Tensor(mean<axis<1>>(a)); }, x) < bound);
        CHECK(gradient_error([](auto a) { return Tensor(max<axis<1>>(a)); }, x) < bound);
        CHECK(gradient_error([](auto a) { return Tensor(min<axis<1>>(a)); }, x) < bound);
        CHECK(gradient_error([](auto a) { return Tensor(sum<axis<0>>(a)); }, x) < bound);
        CHECK(gradient_error([](auto a) { return Tensor(mean<axis<0>>(a)); }, x) < bound);
        CHECK(gradient_error([](auto a) { return Tensor(max<axis<0>>(a)); }, x) < bound);
        CHECK(gradient_error([](auto a) { return Tensor(min<axis<0>>(a)); }, x) < bound);
        CHECK(gradient_error([](auto a) { return mean(square(a)); }, x) < bound);
    }
}

TEST_CASE("reductions over several last axes") {
    for (const int length : {1, packet + 1, 50, 3000}) {
        INFO("length ", length);
        auto x = parameter<Shape<3, dyn, 2>>(1, length);
        auto scale = parameter<Shape<3, 1, 1>>(2);
        auto one = parameter<Shape<1>>(3);
        auto mixed = [](auto a, auto b, auto c) {
            return Tensor(sum<axis<1, 2>>(square(a) * b + c) * mean<axis<1, 2>>(a));
        };
        if (length < 1000) {
            CHECK(gradient_error([](auto a) { return Tensor(max<axis<1, 2>>(a)); }, x) < bound);
            CHECK(gradient_error([](auto a) { return Tensor(a * sum<keep_axis<1, 2>>(a)); }, x) < bound);
            CHECK(gradient_error(mixed, x, scale, one) < bound);
        }
        CHECK(gradient_error([](auto a) { return sum(a * a); }, scale) < bound);
        // Rows of 6000 are cut for threads: d/da of sum(a²) is 2a, exactly.
        x.clear_gradient();
        backward(sum(square(x.tensor())));
        CHECK(x.accumulated_gradient() == Tensor(2 * x.value()));
    }
}

TEST_CASE("equal greatest elements share the gradient") {
    const Parameter<double, Shape<2, 3>, Device> x(
        Tensor<double, Shape<2, 3>, Device>::of({1, 5, 5, 2, 2, 2}));
    const double seed[] = {1, 2, 3};
    backward(Tensor(max<axis<1>>(x)), std::span(seed, 2));
    CHECK(all_close(x.accumulated_gradient(),
                    Tensor<double, Shape<2, 3>, Device>::of({0, 0.5, 0.5, 2. / 3, 2. / 3, 2. / 3})));
    Parameter<double, Shape<2, 3>, Device> y(Tensor<double, Shape<2, 3>, Device>::of({1, 5, 5, 1, 2, 2}));
    backward(Tensor(min<axis<0>>(y)), seed);
    CHECK(support::values(y.accumulated_gradient()) == std::vector<double>{0.5, 0, 0, 0.5, 2, 3});
}

TEST_CASE("mixtures of reductions") {
    for (const int length : {1, packet + 1, 30}) {
        INFO("length ", length);
        auto x = parameter<Matrix>(1, 3, length), y = parameter<Matrix>(2, 3, length);
        auto softmax = [](auto a) {
            auto e = exp(a - max<keep_axis<-1>>(a));
            return Tensor(e / sum<keep_axis<-1>>(e));
        };
        CHECK(gradient_error(softmax, x) < bound);
        auto variance = [](auto a) {
            auto centred = a - mean<keep_axis<-1>>(a);
            return Tensor(mean<axis<-1>>(square(centred)));
        };
        if (length > 1) CHECK(gradient_error(variance, x) < bound);
        auto normalized = [](auto a, auto b) {
            return Tensor(b * a * rsqrt(mean<keep_axis<-1>>(square(a)) + 0.1) + sum<keep_axis<-1>>(b));
        };
        CHECK(gradient_error(normalized, x, y) < bound);
        auto z = parameter<Matrix>(3, 3, 2 * length + 1);
        auto different = [](auto a, auto b) { return Tensor(sum<axis<1>>(square(a)) * mean<axis<1>>(b)); };
        CHECK(gradient_error(different, x, z) < bound);
        auto row = parameter<Shape<dyn>>(4, length);
        auto within = [](auto a, auto b) { return Tensor(a - sum<keep_axis<1>>(a * b) * b); };
        CHECK(gradient_error(within, x, row) < bound);
    }
}
