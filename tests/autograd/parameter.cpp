#include <string_view>

#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;

TEST_CASE("a parameter stands for its tensor in expressions") {
    const auto value = Tensor<double, Shape<3>, Device>::of({1, 2, 3});
    const Parameter<double, Shape<3>, Device> x(value);
    CHECK(x.value() == value);
    CHECK(x.value().data() != value.data());
    Tensor y = x * 2 + x;
    static_assert(decltype(y)::is_tracked);
    CHECK(support::values(y) == std::vector<double>{3, 6, 9});
}

TEST_CASE("a parameter without tracking has no gradient, and what is made from it is plain") {
    const Parameter<double, Shape<dyn>, Device, Untracked> x(Role::matrix, Extents(3));
    CHECK_FALSE(x.gradient);
    copy_to(x.tensor(), Tensor<double, Shape<3>, Device>::of({5, 6, 7}));
    Tensor y = x * 2;
    static_assert(!decltype(y)::is_tracked);
    CHECK(at(y, 0) == 10);
    CHECK(Tape::current().node_count() == 0);
}

TEST_CASE("a parameter may move while a graph refers to it") {
    Parameter<double, Shape<3>, Device> first(Tensor<double, Shape<3>, Device>::of({1, 2, 3}));
    auto loss = sum(first * first);
    const Parameter<double, Shape<3>, Device> second(std::move(first));
    backward(loss);
    CHECK(support::values(second.accumulated_gradient()) == std::vector<double>{2, 4, 6});
}

TEST_CASE("a parameter's gradient is zeros until something reaches it, and again once cleared") {
    Parameter<float, Shape<2, 2>, Device> x(Tensor<float, Shape<2, 2>, Device>::filled(1.f));
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>(4, 0));
    CHECK_FALSE(x.gradient->written);
    backward(sum(x * 3));
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>(4, 3));
    CHECK(x.gradient->written);
    x.clear_gradient();
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>(4, 0));
}

TEST_CASE("a parameter knows its role, element type and extents without its type") {
    const Parameter<float, Shape<2, dyn>, Device> x(Role::head, Extents(2, 5));
    const ParameterBase& erased = x;
    CHECK(erased.role == Role::head);
    CHECK(erased.type == ElementType::f32);
    CHECK(erased.extents == Extents(2, 5));
    CHECK(erased.size() == 10);
    CHECK_THROWS_AS((Parameter<float, Shape<2, dyn>, Device>(Role::matrix, Extents(3, 5))), ShapeError);
    CHECK_THROWS_AS((Parameter<float, Shape<2, dyn>, Device>(Role::matrix)), ShapeError);
}

TEST_CASE("every element type has its name") {
    CHECK(element_type_of<double>() == ElementType::f64);
    CHECK(element_type_of<bf16>() == ElementType::bf16);
    CHECK(element_type_of<f16>() == ElementType::f16);
    CHECK(element_type_of<bool>() == ElementType::boolean);
    CHECK(element_type_of<std::int8_t>() == ElementType::i8);
    CHECK(element_type_of<std::uint16_t>() == ElementType::u16);
    CHECK(element_type_of<int>() == ElementType::i32);
    CHECK(element_type_of<long long>() == ElementType::i64);
    CHECK(element_type_of<std::uint64_t>() == ElementType::u64);
}

TEST_CASE("what was recorded keeps a parameter's gradient alive") {
    const auto loss = [] {
        const auto x = support::parameter<Shape<3>>(1);
        return sum(x * x);
    }();
    backward(loss);
    CHECK(Tape::current().node_count() == 0);
}
