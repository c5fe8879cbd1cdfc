#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/functions.hpp>
#include <tenon/op/matmul/gelu_feed_forward.hpp>

#include "../support.hpp"

using namespace tenon;
using support::numbers;
using support::parameter;

namespace {

constexpr double bound = 1e-6;
constexpr MatmulOptions right{.transpose_right = true};

}  // namespace

TEST_CASE("it is two products with GELU in between") {
    const auto x = numbers<double, Shape<2, 3, 5>>(1), addend = numbers<double, Shape<2, 3, 5>>(2);
    const auto up = numbers<double, Shape<7, 5>>(3);
    const auto down = numbers<double, Shape<5, 7>>(4);
    const auto up_bias = numbers<double, Shape<7>>(5);
    const auto down_bias = numbers<double, Shape<5>>(6);
    Tensor inner = gelu_tanh(matmul<right>(x, up) + up_bias);
    Tensor expected = matmul<right>(inner, down) + down_bias + addend;
    CHECK(relative_error(gelu_feed_forward(x, up, up_bias, down, down_bias, addend), expected) < 1e-14);
    Tensor plain = gelu_tanh(matmul<right>(x, up));
    CHECK(relative_error(gelu_feed_forward(x, up, Nothing(), down, Nothing()), matmul<right>(plain, down)) <
          1e-14);
    CHECK_THROWS_AS(gelu_feed_forward(numbers<double, Shape<dyn, dyn>>(1, 3, 4),
                                      numbers<double, Shape<dyn, dyn>>(2, 7, 5), Nothing(), down, Nothing()),
                    ShapeError);
}

TEST_CASE("gradients reach all that it is made of") {
    auto x = parameter<Shape<6, 5>>(1);
    auto addend = parameter<Shape<6, 3>>(2);
    auto up = parameter<Shape<7, 5>>(3);
    auto down = parameter<Shape<3, 7>>(4);
    auto up_bias = parameter<Shape<7>>(5);
    auto down_bias = parameter<Shape<3>>(6);
    CHECK(gradient_error([](auto a, auto u, auto ub, auto d, auto db,
                            auto r) { return gelu_feed_forward(a, u, ub, d, db, r); },
                         x, up, up_bias, down, down_bias, addend) < bound);
    CHECK(gradient_error(
              [](auto a, auto u, auto d) { return gelu_feed_forward(a, u, Nothing(), d, Nothing()); }, x, up,
              down) < bound);
    // The states themselves as the addend.
    auto square = parameter<Shape<5, 7>>(7);
    CHECK(gradient_error(
              [](auto a, auto u, auto d) { return gelu_feed_forward(a, u, Nothing(), d, Nothing(), a); }, x,
              up, square) < bound);
}

TEST_CASE("16-bit layers keep their numbers in 16 bits between the products") {
    const auto x = cast<bf16>(numbers<double, Shape<24, 16>>(1));
    const auto up = cast<bf16>(numbers<double, Shape<32, 16>>(2));
    const auto down = cast<bf16>(numbers<double, Shape<32, 32>>(3));
    const auto bias = cast<bf16>(numbers<double, Shape<32>>(4));
    const auto exact = gelu_feed_forward(cast<double>(x), cast<double>(up), cast<double>(bias),
                                         cast<double>(down), cast<double>(bias));
    CHECK(relative_error(gelu_feed_forward(x, up, bias, down, bias), exact) < 0x1p-7);
}
