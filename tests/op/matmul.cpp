#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::numbers;
using support::parameter;

namespace {

constexpr double bound = 1e-6;
constexpr MatmulOptions left{.transpose_left = true}, right{.transpose_right = true},
    both{.transpose_left = true, .transpose_right = true};

/// Element (i, j) of product `batch` by the definition; a and b have three axes (b's first may be 1, for
/// all); both are the host's.
template <class A, class B>
double element(const A& a, const B& b, MatmulOptions options, int batch, int i, int j) {
    const int depth = a.extents()[options.transpose_left ? 1 : 2], b_batch = b.extents()[0] == 1 ? 0 : batch;
    double total = 0;
    for (int k = 0; k < depth; ++k)
        total += convert<double>(options.transpose_left ? a(batch, k, i) : a(batch, i, k)) *
                 convert<double>(options.transpose_right ? b(b_batch, j, k) : b(b_batch, k, j));
    return total;
}

template <class A, class B, class Y>
double worst(const A& a, const B& b, const Y& y, MatmulOptions options) {
    const auto& left_here = on_host(a);
    const auto& right_here = on_host(b);
    const auto& product = on_host(y);
    double error = 0;
    for (int batch = 0; batch < y.extents()[0]; ++batch)
        for (int i = 0; i < y.extents()[1]; ++i)
            for (int j = 0; j < y.extents()[2]; ++j)
                error = std::max(error, std::abs(convert<double>(product(batch, i, j)) -
                                                 element(left_here, right_here, options, batch, i, j)));
    return error;
}

using Stack = Shape<dyn, dyn, dyn>;

}  // namespace

TEST_CASE("products of batches, plain and transposed, agree with the definition") {
    for (const int size : {1, 3, 9, 33}) {
        INFO("size ", size);
        const int m = size, k = size + 2, n = 2 * size + 1;
        const auto a = numbers<double, Stack>(1, 4, m, k), b = numbers<double, Stack>(2, 4, k, n),
                   at = numbers<double, Stack>(3, 4, k, m), bt = numbers<double, Stack>(4, 4, n, k);
        CHECK(worst(a, b, matmul(a, b), {}) < 1e-13);
        CHECK(worst(at, b, matmul<left>(at, b), left) < 1e-13);
        CHECK(worst(a, bt, matmul<right>(a, bt), right) < 1e-13);
        CHECK(worst(at, bt, matmul<both>(at, bt), both) < 1e-13);
    }
}

TEST_CASE("one right operand serves a batch, and views are read where they lie") {
    const auto a = numbers<double, Stack>(1, 5, 7, 9), b = numbers<double, Stack>(2, 1, 9, 4);
    const auto matrix = reshape<Shape<9, 4>>(b);
    Tensor y = matmul(a, matrix);
    static_assert(std::same_as<typename decltype(y)::shape_type, Shape<dyn, dyn, 4>>);
    CHECK(worst(a, b, y, {}) < 1e-14);
    CHECK(matmul(a, transpose(contiguous(transpose(matrix)))) == y);
    CHECK(matmul(slice<0>(a, 2, 4), matrix) == slice<0>(y, 2, 4));
    CHECK(matmul(slice<1>(a, 2, 5), matrix) == slice<1>(y, 2, 5));
    // Heads between rows and columns, as attention has them: the batch is the second axis.
    const auto heads = numbers<double, Shape<2, 7, 3, 9>>(3);
    const auto product = matmul(transpose<1, 2>(heads), matrix);
    CHECK(all_close(slice<0>(product, 1, 2),
                    matmul(contiguous(transpose<1, 2>(slice<0>(heads, 1, 2))), matrix)));
    static_assert(std::same_as<decltype(matmul(numbers<double, Shape<2, upto<8>, 3>>(1, 4),
                                               numbers<double, Shape<3, 5>>(2)))::shape_type,
                               Shape<2, upto<8>, 5>>);
}

TEST_CASE("empty products, and extents that differ") {
    const auto a = Tensor<double, Shape<dyn, dyn>, Device>::zeros(3, 0),
               b = Tensor<double, Shape<dyn, dyn>, Device>::zeros(0, 4);
    CHECK(matmul(a, b) == Tensor<double, Shape<dyn, dyn>, Device>::zeros(3, 4));
    CHECK(matmul(b, numbers<double, Shape<4, 2>>(1)).size() == 0);
    CHECK_THROWS_WITH_AS(matmul(a, numbers<double, Shape<5, 2>>(1)),
                         "matmul_inner_extents_differ<Shape<3, 0>, Shape<5, 2>>", ShapeError);
    CHECK_THROWS_AS(matmul(numbers<double, Stack>(1, 2, 3, 4), numbers<double, Stack>(1, 3, 4, 5)),
                    ShapeError);
}

TEST_CASE("gradients of every kind of product") {
    for (const int size : {1, 5}) {
        auto a = parameter<Stack>(1, 3, size, 4), b = parameter<Stack>(2, 3, 4, size + 2);
        CHECK(gradient_error([](auto x, auto y) { return matmul(x, y); }, a, b) < bound);
        auto at = parameter<Stack>(3, 3, 4, size), bt = parameter<Stack>(4, 3, size + 2, 4);
        CHECK(gradient_error([](auto x, auto y) { return matmul<left>(x, y); }, at, b) < bound);
        CHECK(gradient_error([](auto x, auto y) { return matmul<right>(x, y); }, a, bt) < bound);
        CHECK(gradient_error([](auto x, auto y) { return matmul<both>(x, y); }, at, bt) < bound);
        auto shared = parameter<Shape<dyn, dyn>>(5, size + 2, 4);
        CHECK(gradient_error([](auto x, auto y) { return matmul<right>(x, y); }, a, shared) < bound);
        CHECK(gradient_error([](auto x, auto y) { return matmul<both>(x, y); }, at, shared) < bound);
    }
}

TEST_CASE("gradients through views, and of a tensor times itself") {
    auto a = parameter<Shape<dyn, dyn>>(1, 6, 6);
    CHECK(gradient_error([](auto x) { return matmul(x, x); }, a) < bound);
    CHECK(gradient_error([](auto x) { return matmul<right>(x, x); }, a) < bound);
    CHECK(gradient_error([](auto x) { return matmul(transpose(x), slice<1>(x, 1, 4)); }, a) < bound);
    CHECK(gradient_error([](auto x) { return matmul(exp(x), x * 2); }, a) < bound);
    auto heads = parameter<Shape<2, 5, 3, 4>>(2);
    auto matrix = parameter<Shape<4, 3>>(3);
    CHECK(gradient_error([](auto x, auto y) { return matmul(transpose<1, 2>(x), y); }, heads, matrix) <
          bound);
    const auto constant = numbers<double, Shape<6, 2>>(4);
    CHECK(gradient_error([&](auto x) { return matmul(x, constant); }, a) < bound);
}

TEST_CASE("16-bit operands multiply in f32 and are rounded once; their gradients are f32") {
    const auto a = cast<bf16>(numbers<double, Stack>(1, 3, 17, 40)),
               b = cast<bf16>(numbers<double, Stack>(2, 3, 40, 5));
    const auto exact = matmul(cast<double>(a), cast<double>(b));
    CHECK(relative_error(matmul(a, b), exact) < 0x1p-8);
}

TEST_CASE("gradients of 16-bit products") {
    const auto x = cast<f16>(numbers<double, Shape<2, 6, 9>>(1));
    const auto w = cast<f16>(numbers<double, Shape<5, 9>>(2));
    const Parameter<f16, Shape<2, 6, 9>, Device> a(x);
    const Parameter<f16, Shape<5, 9>, Device> b(w);
    const Parameter<double, Shape<2, 6, 9>, Device> exact_a(cast<double>(x));
    const Parameter<double, Shape<5, 9>, Device> exact_b(cast<double>(w));
    const auto seed = numbers<double, Shape<60>>(3);
    const auto y = matmul<right>(a, b);
    CHECK(relative_error(y, matmul<right>(cast<double>(x), cast<double>(w))) < 0x1p-10);
    backward(y, support::seed_of(y, support::values(seed)));
    backward(matmul<right>(exact_a, exact_b), seed.span());
    static_assert(std::same_as<decltype(a.accumulated_gradient())::value_type, float>);
    constexpr double bound = support::error_of_steps<f16>;
    CHECK(relative_error(a.accumulated_gradient(), exact_a.accumulated_gradient()) < bound);
    CHECK(relative_error(b.accumulated_gradient(), exact_b.accumulated_gradient()) < bound);
}

TEST_CASE("products and their gradients have the same bits for any number of threads") {
    const auto x = numbers<double, Stack>(1, 3, 97, 130), seed = numbers<double, Stack>(3, 3, 97, 150);
    const auto w = numbers<double, Shape<dyn, dyn>>(2, 150, 130);
    CHECK(support::same_for_any_thread_count([&] {
        const Parameter a(x);
        const Parameter b(w);
        const auto y = matmul<right>(a, b);
        std::vector<double> result = support::values(y);
        backward(y, seed.span());
        support::append(result, a.accumulated_gradient());
        support::append(result, b.accumulated_gradient());
        return result;
    }));
}

TEST_CASE("a batch axis of one between others, in a view") {
    const auto x = numbers<double, Shape<2, 1, 5, 2, 2>>(1);
    const auto part = slice<2, 0, 3>(x);
    const auto w = numbers<double, Shape<2, 2>>(2);
    CHECK(relative_error(matmul(part, w), matmul(contiguous(part), w)) < 1e-15);
}
