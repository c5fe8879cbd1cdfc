#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/grouped_matmul/grouped_matmul.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::numbers;

namespace {

using Begins = Tensor<std::int32_t, Shape<dyn>, Device>;

/// Begins of groups with so many rows, in units of what a device aligns them to.
Begins begins_of(const std::vector<int>& sizes, int first = 0) {
    std::vector<std::int32_t> begins{first * group_alignment<Device>};
    for (const int size : sizes) begins.push_back(begins.back() + size * group_alignment<Device>);
    return Begins::from(begins, static_cast<int>(begins.size()));
}

/// What grouped_matmul gives, by a product for each group; zero where there is none.
std::vector<double> by_hand(const std::vector<double>& x, const std::vector<double>& weight,
                            const std::vector<double>& begins, int rows, int in, int out) {
    std::vector<double> y(static_cast<std::size_t>(rows * out));
    for (std::size_t group = 0; group + 1 < begins.size(); ++group)
        for (int row = static_cast<int>(begins[group]); row < static_cast<int>(begins[group + 1]); ++row)
            for (int j = 0; j < out; ++j)
                for (int k = 0; k < in; ++k)
                    y[static_cast<std::size_t>(row * out + j)] +=
                        x[static_cast<std::size_t>(row * in + k)] *
                        weight[(group * static_cast<std::size_t>(out) + static_cast<std::size_t>(j)) *
                                   static_cast<std::size_t>(in) +
                               static_cast<std::size_t>(k)];
    return y;
}

}  // namespace

TEST_CASE("each group of rows is multiplied by its own matrix; rows of no group give zero") {
    constexpr int unit = group_alignment<Device>;
    const auto begins = begins_of({2, 0, 1, 3}, 1);
    const auto check = [&](int in, int out) {
        const auto x = numbers<double, Shape<dyn, dyn>>(1, 9 * unit, in);
        const auto weight = numbers<double, Shape<4, dyn, dyn>>(2, out, in);
        const auto y = grouped_matmul(x, weight, begins);
        static_assert(std::same_as<decltype(y), const Tensor<double, Shape<dyn, dyn>, Device>>);
        CHECK(support::worst_error(y, by_hand(support::values(x), support::values(weight),
                                              support::values(begins), 9 * unit, in, out)) < 1e-12);
    };
    check(5, 7);
    check(1, 1);
    check(70, 130);
}

TEST_CASE("gradients reach rows and matrices, and add up") {
    constexpr int unit = group_alignment<Device>;
    const auto begins = begins_of({1, 0, 2});
    auto x = support::parameter<Shape<dyn, 3>>(1, 4 * unit);
    auto weight = support::parameter<Shape<3, 2, 3>>(2);
    CHECK(gradient_error([&](auto w) { return grouped_matmul(x.tensor(), w, begins); }, weight) < 1e-6);
    CHECK(gradient_error([&](auto rows) { return grouped_matmul(rows, weight.tensor(), begins); }, x) < 1e-6);
    CHECK(gradient_error(
              [&](auto w) {
                  return Tensor(grouped_matmul(x.tensor(), w, begins) *
                                grouped_matmul(x.tensor(), w, begins));
              },
              weight) < 1e-6);
}

TEST_CASE("a group without rows has a gradient of zero, not what was in memory") {
    const auto begins = begins_of({0, 1, 0});
    const auto x = numbers<float, Shape<dyn, 64>>(1, group_alignment<Device>);
    Parameter<float, Shape<3, 64, 64>, Device> weight(numbers<float, Shape<3, 64, 64>>(2));
    backward(grouped_matmul(x, weight, begins), std::vector<float>(static_cast<std::size_t>(x.size()), 1));
    const auto gradient = support::values(weight.accumulated_gradient());
    for (std::size_t i = 0; i < 64 * 64; ++i) {
        CHECK_FALSE(gradient[i] != 0);
        CHECK_FALSE(gradient[2 * 64 * 64 + i] != 0);
    }
    CHECK(gradient[64 * 64] != 0);
}

TEST_CASE("in bf16 it is what f64 gives, for extents that fill tiles and others") {
    constexpr int unit = group_alignment<Device>;
    const auto check = [&](const std::vector<int>& sizes, int in, int out) {
        INFO(in, " -> ", out);
        int rows = 2 * unit;
        for (const int size : sizes) rows += size * unit;
        const auto begins = begins_of(sizes, 1);
        const auto x = cast<bf16>(numbers<double, Shape<dyn, dyn>>(1, rows, in));
        const auto weight =
            cast<bf16>(numbers<double, Shape<dyn, dyn, dyn>>(2, static_cast<int>(sizes.size()), out, in));
        const auto seed = cast<bf16>(numbers<double, Shape<dyn, dyn>>(3, rows, out));
        const auto gradients = [&]<class T>(T) {
            Parameter<T, Shape<dyn, dyn>, Device> a(cast<T>(x));
            Parameter<T, Shape<dyn, dyn, dyn>, Device> b(cast<T>(weight));
            const auto y = grouped_matmul(a, b, begins);
            backward(y, support::seed_of(y, support::values(seed)));
            backward(grouped_matmul(a, b, begins), support::seed_of(y, support::values(seed)));
            return std::tuple(cast<double>(Tensor(grouped_matmul(a.value(), b.value(), begins))),
                              cast<double>(a.accumulated_gradient()), cast<double>(b.accumulated_gradient()));
        };
        const auto [y, of_x, of_weight] = gradients(bf16());
        const auto [exact_y, exact_of_x, exact_of_weight] = gradients(double());
        CHECK(relative_error(y, exact_y) < 0x1p-8);
        CHECK(relative_error(of_x, exact_of_x) < support::error_of_steps<bf16>);
        CHECK(relative_error(of_weight, exact_of_weight) < support::error_of_steps<bf16>);
    };
    check({1, 2}, 64, 64);
    check({3, 0, 1, 5, 0, 2}, 128, 320);
    check({7, 1}, 576, 64);
    check({2, 2}, 72, 56);
    check({0, 0}, 64, 128);
}

TEST_CASE("begins that do not ascend are an error that names the first") {
    const auto x = numbers<float, Shape<dyn, 8>>(1, 2 * group_alignment<Device>);
    const auto weight = numbers<float, Shape<2, 8, 8>>(2);
    const auto words = [&](const std::vector<std::int32_t>& begins) {
        return support::words_of(
            [&] { support::values(grouped_matmul(x, weight, Begins::from(begins, 3))); });
    };
    const std::string end = std::to_string(2 * group_alignment<Device>);
    CHECK(words({0, 128, 64}).find("grouped_matmul: expected begins that ascend") == 0);
    CHECK(words({0, 0, 1 << 30}).find(end + ", got 1073741824 at position 2") != std::string::npos);
    CHECK(words({-64, 0, 0}).find("got -64 at position 0") != std::string::npos);
}

TEST_CASE("the same bits for any number of threads") {
    const auto begins = begins_of({2, 1});
    const auto seed = numbers<double, Shape<dyn, 33>>(3, 3 * group_alignment<Device>);
    CHECK(support::same_for_any_thread_count([&] {
        const auto x = support::parameter<Shape<dyn, 40>>(1, 3 * group_alignment<Device>);
        const auto weight = support::parameter<Shape<2, 33, 40>>(2);
        backward(grouped_matmul(x, weight, begins), seed.span());
        auto all = support::values(x.accumulated_gradient());
        support::append(all, weight.accumulated_gradient());
        return all;
    }));
}
