#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/concatenate/concatenate.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;
using support::parameter;

TEST_CASE("reshape keeps the elements in order") {
    const auto x = numbers<double, Shape<2, 6>>(1);
    const auto y = reshape<Shape<3, 4>>(x);
    static_assert(std::same_as<decltype(y), const Tensor<double, Shape<3, 4>, Device>>);
    CHECK(y.data() == x.data());
    CHECK(at(y, 2, 1) == at(x, 1, 3));
    CHECK(reshape<Shape<dyn, 3>>(x).extents() == Extents(4, 3));
    CHECK(reshape<Shape<dyn, dyn>>(x, 6, 2).extents() == Extents(6, 2));
    CHECK(reshape<Shape<upto<4>, 3>>(x).extents() == Extents(4, 3));
    CHECK_THROWS_WITH_AS((reshape<Shape<dyn, 5>>(x)),
                         "reshape_changes_the_number_of_elements<Shape<2, 6>, Shape<2, 5>>", ShapeError);
    CHECK_THROWS_AS((reshape<Shape<upto<3>, 3>>(x)), ShapeError);
    CHECK(reshape<Shape<dyn, 4>>(Tensor<double, Shape<dyn>, Device>::zeros(0)).extents() == Extents(0, 4));
}

TEST_CASE("axes merge and split") {
    const auto x = numbers<double, Shape<dyn, 6, 2>>(1, 3);
    const auto merged = merge_axes<1>(x);
    static_assert(std::same_as<decltype(merged), const Tensor<double, Shape<dyn, 12>, Device>>);
    CHECK(at(merged, 2, 11) == at(x, 2, 5, 1));
    const auto split = split_axis<1, 2, 3>(x);
    static_assert(std::same_as<decltype(split), const Tensor<double, Shape<dyn, 2, 3, 2>, Device>>);
    CHECK(at(split, 1, 1, 2, 0) == at(x, 1, 5, 0));
    CHECK(split_axis<1, dyn, dyn>(x, 3, 2).extents() == Extents(3, 3, 2, 2));
    CHECK_THROWS_AS((split_axis<1, dyn, dyn>(x, 4, 2)), ShapeError);
    // A view's axis splits where it lies.
    const auto turned = transpose<0, 1>(x);
    const auto of_view = split_axis<0, 2, 3>(turned);
    static_assert(std::same_as<decltype(of_view)::shape_type, Shape<2, 3, dyn, 2>>);
    CHECK(of_view.data() == x.data());
    CHECK(at(of_view, 1, 2, 0, 1) == at(x, 0, 5, 1));
    CHECK_THROWS_AS((split_axis<0, dyn, dyn>(turned, 4, 2)), ShapeError);
}

TEST_CASE("transposes, slices and selections show the same memory") {
    const auto x = numbers<double, Shape<2, 3, 4>>(1);
    const auto turned = transpose<0, 2>(x);
    static_assert(std::same_as<decltype(turned)::shape_type, Shape<4, 3, 2>>);
    CHECK(at(turned, 3, 1, 0) == at(x, 0, 1, 3));
    CHECK(at(transpose(x), 1, 3, 2) == at(x, 1, 2, 3));
    CHECK(transpose(transpose(x)) == x);
    const auto part = slice<1>(x, 1, 3);
    CHECK(part.extents() == Extents(2, 2, 4));
    CHECK(at(part, 1, 0, 2) == at(x, 1, 1, 2));
    const auto fixed = slice<-1, 1, 3>(x);
    static_assert(std::same_as<decltype(fixed)::shape_type, Shape<2, 3, 2>>);
    CHECK(at(fixed, 1, 2, 0) == at(x, 1, 2, 1));
    const auto first = slice<0>(x, 1, 2);
    static_assert(decltype(first)::is_packed);
    CHECK(at(first, 0, 2, 3) == at(x, 1, 2, 3));
    CHECK(slice<0>(x, 1, 1).size() == 0);
    const auto chosen = select<1>(x, 2);
    static_assert(std::same_as<decltype(chosen)::shape_type, Shape<2, 4>>);
    CHECK(at(chosen, 1, 3) == at(x, 1, 2, 3));
    CHECK(at(select<0>(select<0>(x, 1), 2), 3) == at(x, 1, 2, 3));
    CHECK_THROWS_AS(slice<1>(x, 1, 4), ShapeError);
    CHECK_THROWS_AS(slice<1>(x, 2, 1), ShapeError);
    CHECK_THROWS_AS(slice<1>(x, -1, 1), ShapeError);
    CHECK_THROWS_AS(select<1>(x, 3), ShapeError);
    const auto open = numbers<double, Shape<dyn>>(1, 3);
    CHECK_THROWS_AS((slice<0, 0, 4>(open)), ShapeError);
}

TEST_CASE("broadcasts repeat without a copy") {
    const auto row = numbers<double, Shape<3>>(1);
    const auto all = broadcast_to<Shape<2, dyn, 3>>(row, 4);
    CHECK(all.extents() == Extents(2, 4, 3));
    CHECK(at(all, 1, 3, 2) == at(row, 2));
    CHECK(all.data() == row.data());
    const auto open = numbers<double, Shape<dyn, 1>>(1, 4);
    CHECK(at(broadcast_to<Shape<4, 5>>(open), 3, 4) == at(open, 3, 0));
    CHECK_THROWS_AS((broadcast_to<Shape<5, 5>>(open)), ShapeError);
    CHECK_THROWS_AS((broadcast_to<Shape<dyn, 5>>(open, 1)), ShapeError);
}

TEST_CASE("contiguous copies what is not packed, and only that") {
    const auto x = numbers<double, Shape<3, 5>>(1);
    CHECK(contiguous(x).data() == x.data());
    const auto y = contiguous(transpose(x));
    static_assert(decltype(y)::is_packed);
    CHECK(y == transpose(x));
    const auto ids = Tensor<int, Shape<2, 3>, Device>::of({1, 2, 3, 4, 5, 6});
    CHECK(contiguous(transpose(ids)) == (Tensor<int, Shape<3, 2>, Device>::of({1, 4, 2, 5, 3, 6})));
}

TEST_CASE("copy_to writes through a view") {
    const auto x = Tensor<double, Shape<4, 5>, Device>::zeros();
    const auto y = numbers<double, Shape<2, 3>>(1);
    copy_to(slice<1>(slice<0>(x, 1, 3), 2, 5), y);
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 5; ++j)
            CHECK(at(x, i, j) == (i >= 1 && i < 3 && j >= 2 ? at(y, i - 1, j - 2) : 0));
    copy_to(transpose(slice<1>(slice<0>(x, 0, 3), 0, 2)), y);
    CHECK(at(x, 2, 1) == at(y, 1, 2));
    CHECK_THROWS_AS(copy_to(slice<0>(slice<1>(x, 0, 2), 0, 2), slice<1>(y, 0, 3)), ShapeError);
    copy_to(slice<1>(x, 2, 2), Tensor<double, Shape<4, dyn>, Device>::zeros(0));
}

TEST_CASE("the gradient of a view goes into the place that it shows") {
    auto x = parameter<Shape<2, 3, 4>>(1);
    CHECK(gradient_error([](auto a) { return reshape<Shape<4, 6>>(a); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return contiguous(transpose<0, 1>(a)); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return contiguous(split_axis<0, 2, 2>(transpose<0, 2>(a))); }, x) <
          1e-6);
    CHECK(gradient_error([](auto a) { return contiguous(slice<2>(a, 1, 3)); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return contiguous(select<1>(a, 1)); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return contiguous(slice<0>(slice<2>(transpose(a), 0, 2), 1, 2)); }, x) <
          1e-6);
    auto row = parameter<Shape<1, 4>>(2);
    CHECK(gradient_error([](auto a) { return contiguous(broadcast_to<Shape<3, 5, 4>>(a)); }, row) < 1e-6);
    // Overlapping views of one value.
    CHECK(gradient_error([](auto a) { return Tensor(slice<2>(a, 0, 3) * slice<2>(a, 1, 4)); }, x) < 1e-6);
}

TEST_CASE_TEMPLATE("halves of rows, of every alignment, give their gradients side by side", T, float, bf16) {
    using Matrix = Shape<dyn, dyn>;
    for (const int width : {1, 4, 5, 8, 24}) {
        const Parameter x(numbers<T, Matrix>(1, 3, 2 * width + 1));
        const Tensor h = x * 1;
        const Tensor y = slice<1>(h, 0, width) - slice<1>(h, width, 2 * width);
        const auto seed = support::values(numbers<T, Shape<dyn>>(2, 3 * width));
        backward(y, support::seed_of(y, seed));
        for (int row = 0; row < 3; ++row)
            for (int i = 0; i < 2 * width + 1; ++i) {
                const double expected =
                    i == 2 * width
                        ? 0
                        : (i < width ? 1 : -1) *
                              seed[static_cast<std::size_t>(row * width + (i < width ? i : i - width))];
                CHECK(at(x.accumulated_gradient(), row, i) == expected);
            }
    }
}

TEST_CASE("views of parameters and of unnamed expressions") {
    const auto x = parameter<Shape<2, 3>>(1);
    const auto t = transpose(x);
    static_assert(decltype(t)::is_tracked);
    CHECK(at(t, 2, 1) == at(x.value(), 1, 2));
    CHECK(at(slice<0>(x.value() * 2, 1, 2), 0, 0) == 2 * at(x.value(), 1, 0));
    CHECK(at(reshape<Shape<6>>(x), 5) == at(x.value(), 1, 2));
}

TEST_CASE("copy_to between views that overlap") {
    auto x = Tensor<double, Shape<2, 2>, Device>::of({1, 2, 3, 4});
    copy_to(x, transpose(x));
    CHECK(support::values(x) == std::vector<double>{1, 3, 2, 4});
    auto y = Tensor<double, Shape<5>, Device>::of({1, 2, 3, 4, 5});
    copy_to(slice<0, 1, 5>(y), slice<0, 0, 4>(y));
    CHECK(support::values(y) == std::vector<double>{1, 1, 2, 3, 4});
}

TEST_CASE("lengths below zero are refused") {
    const auto x = numbers<double, Shape<2, 3>>(1);
    CHECK_THROWS_AS((reshape<Shape<dyn, dyn>>(x, -2, -3)), ShapeError);
    CHECK_THROWS_AS((broadcast_to<Shape<dyn, 2, 3>>(x, -1)), ShapeError);
}

TEST_CASE("tensors are joined along an axis, the second repeated along others") {
    const auto a = numbers<double, Shape<2, 1, 3>>(1);
    const auto b = numbers<double, Shape<2, dyn, 3>>(2, 2);
    const auto c = numbers<double, Shape<1, 2, 1>>(3);
    const auto y = concatenate<1>(a, b);
    static_assert(std::same_as<decltype(y), const Tensor<double, Shape<2, dyn, 3>, Device>>);
    CHECK(y.extents() == Extents(2, 3, 3));
    CHECK(support::same_bits(contiguous(slice<1>(y, 0, 1)), a));
    CHECK(support::same_bits(contiguous(slice<1>(y, 1, 3)), b));
    const auto z = concatenate<2>(transpose<0, 1>(a), c);  // [1, 2, 3] and [1, 2, 1]
    static_assert(std::same_as<decltype(z), const Tensor<double, Shape<1, 2, 4>, Device>>);
    CHECK(at(z, 0, 1, 2) == at(a, 1, 0, 2));
    CHECK(at(z, 0, 1, 3) == at(c, 0, 1, 0));
    const auto w = concatenate<2>(b, c);
    CHECK(at(w, 1, 0, 3) == at(c, 0, 0, 0));
    CHECK(at(w, 1, 1, 3) == at(c, 0, 1, 0));
    CHECK_THROWS_WITH_AS(concatenate<2>(b, numbers<double, Shape<2, dyn, 1>>(4, 3)),
                         "concatenate_other_extents_differ<Shape<2, 2, 3>, Shape<2, 3, 1>>", ShapeError);
}

TEST_CASE("the gradient of what is joined goes back into both parts, and adds up where one was repeated") {
    auto x = parameter<Shape<2, 3, 4>>(1);
    auto y = parameter<Shape<2, 3, 1>>(2);
    auto z = parameter<Shape<1, 3, 2>>(3);
    CHECK(gradient_error([](auto a, auto b) { return concatenate<2>(a, b); }, x, y) < 1e-6);
    CHECK(gradient_error([](auto a, auto b) { return concatenate<2>(a, b); }, x, z) < 1e-6);
    CHECK(gradient_error([](auto a) { return concatenate<1>(a, slice<1>(a, 0, 1)); }, x) < 1e-6);
}
