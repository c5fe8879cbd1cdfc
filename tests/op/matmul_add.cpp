#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/matmul/matmul_add.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::numbers;
using support::parameter;

namespace {

constexpr double bound = 1e-6;
constexpr MatmulOptions right{.transpose_right = true};

using Matrix = Shape<dyn, dyn>;

}  // namespace

TEST_CASE("a bias and an addend are added to the product, in any combination") {
    for (const int size : {1, 3, 9}) {
        INFO("size ", size);
        const auto x = numbers<double, Shape<2, dyn, dyn>>(1, size, size + 4);
        const auto w = numbers<double, Matrix>(2, size + 2, size + 4);
        const auto bias = numbers<double, Shape<dyn>>(3, size + 2);
        const auto addend = numbers<double, Shape<2, dyn, dyn>>(4, size, size + 2);
        const auto product = matmul<right>(x, w);
        CHECK(relative_error(matmul_add<right>(x, w, bias), Tensor(product + bias)) < 1e-15);
        CHECK(relative_error(matmul_add<right>(x, w, Nothing(), addend), Tensor(product + addend)) < 1e-15);
        CHECK(relative_error(matmul_add<right>(x, w, bias, addend), Tensor(product + bias + addend)) < 1e-15);
        CHECK(relative_error(matmul_add<right>(x, w, bias * 2, -addend),
                             Tensor(product + bias * 2 - addend)) < 1e-15);
    }
}

TEST_CASE("sums of 16-bit numbers are rounded once") {
    const auto x = cast<bf16>(numbers<double, Shape<17, 40>>(1)),
               r = cast<bf16>(numbers<double, Shape<17, 40>>(2));
    const auto w = cast<bf16>(numbers<double, Shape<40, 40>>(3));
    const auto bias = cast<bf16>(numbers<double, Shape<40>>(4));
    const auto exact =
        matmul_add<right>(cast<double>(x), cast<double>(w), cast<double>(bias), cast<double>(r));
    CHECK(support::worst_error(matmul_add<right>(x, w, bias, r), support::values(exact)) < 0x1p-8);
}

TEST_CASE("gradients reach the factors, the bias and the addend") {
    auto x = parameter<Shape<2, 5, 7>>(1);
    auto w = parameter<Shape<3, 7>>(2);
    auto bias = parameter<Shape<3>>(3);
    auto addend = parameter<Shape<2, 5, 3>>(4);
    CHECK(gradient_error([](auto a, auto b, auto u) { return matmul_add<right>(a, b, u); }, x, w, bias) <
          bound);
    CHECK(gradient_error([](auto a, auto b, auto u, auto v) { return matmul_add<right>(a, b, u, v); }, x, w,
                         bias, addend) < bound);
    const auto constant = numbers<double, Shape<3>>(5);
    CHECK(gradient_error([&](auto a, auto b, auto v) { return matmul_add<right>(a, b, constant, v * v); }, x,
                         w, addend) < bound);
}

TEST_CASE("an addend that is used elsewhere, and one that is a factor too") {
    auto x = parameter<Shape<4, 4>>(1);
    CHECK(gradient_error([](auto a) { return matmul_add(a, a, Nothing(), a); }, x) < bound);
    CHECK(gradient_error(
              [](auto a) {
                  Tensor h = exp(a);
                  Tensor y = matmul_add(h, h, Nothing(), h);
                  return Tensor(y * y + h);
              },
              x) < bound);
    // A stream that passes from product to product, as a residual does.
    CHECK(gradient_error(
              [](auto a) {
                  Tensor h = sin(a);
                  for (int i = 0; i < 3; ++i) h = matmul_add(Tensor(tanh(h)), a, Nothing(), h);
                  return h;
              },
              x) < bound);
}

TEST_CASE("extents that differ at run time") {
    const auto x = numbers<double, Matrix>(1, 5, 7), w = numbers<double, Matrix>(2, 3, 7);
    CHECK_THROWS_WITH_AS(matmul_add<right>(x, w, numbers<double, Shape<dyn>>(3, 4)),
                         "matmul_bias_differs<Shape<5, 3>, Shape<4>>", ShapeError);
    CHECK_THROWS_WITH_AS(matmul_add<right>(x, w, Nothing(), numbers<double, Matrix>(3, 5, 4)),
                         "matmul_addend_differs<Shape<5, 3>, Shape<5, 4>>", ShapeError);
    CHECK_THROWS_AS(matmul_add<right>(x, numbers<double, Matrix>(2, 3, 6), Nothing(), x), ShapeError);
}
