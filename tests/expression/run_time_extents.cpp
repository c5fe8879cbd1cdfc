#include <doctest/doctest.h>

#include <tenon/expression/functions.hpp>
#include <tenon/expression/reduction.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;

TEST_CASE("what a type leaves open is checked against what another says") {
    const auto three = Tensor<double, Shape<dyn>, Device>::filled(1, 3);
    const auto four = Tensor<double, Shape<4>, Device>::zeros();
    CHECK_THROWS_WITH_AS(three + four, "extents_do_not_broadcast<Add, Shape<3>, Shape<4>>", ShapeError);
    CHECK_THROWS_WITH_AS(four * three, "extents_do_not_broadcast<Multiply, Shape<4>, Shape<3>>", ShapeError);
    const auto one = Tensor<double, Shape<dyn>, Device>::filled(2, 1);
    Tensor sum = one + four;
    static_assert(std::same_as<decltype(sum)::shape_type, Shape<4>>);
    CHECK(support::values(sum) == std::vector<double>{2, 2, 2, 2});
}

TEST_CASE("joined axes may be longer than an extent can say") {
    // 2^32 rows of no elements at all: the number of rows must not wrap.
    const auto x = Tensor<bf16, Shape<65536, 65536, 0>, Device>::zeros();
    const program::Path path = program::align(x.extents(), 2, x.extents(), x.strides());
    program::Path paths[] = {path};
    const program::Iteration iteration = program::collapse(Extents(65536, 65536, 2), 2, true, paths, 1);
    CHECK(iteration.rows == std::int64_t{1} << 32);
}

TEST_CASE("an assignment neither converts elements nor writes into a view that has no name") {
    using Whole = Tensor<int, Shape<3>, Device>;
    using Single = Tensor<float, Shape<3>, Device>;
    using Product = decltype(std::declval<Tensor<double, Shape<3>, Device>>() * 2);
    static_assert(std::is_constructible_v<Tensor<double, Shape<3>, Device>, Product>);
    static_assert(!std::is_assignable_v<Single&&, const Single&>);
    static_assert(std::is_assignable_v<Single&, const Single&>);
    static_assert(!std::is_assignable_v<Whole&&, Whole>);
}
