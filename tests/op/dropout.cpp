#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/op/dropout/dropout.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;
using support::parameter;

namespace {

constexpr Dropout options{.probability = 0.3, .seed = seed(5), .stream = 7};

template <class X>
std::vector<double> reference(const X& x, const Dropout& dropout) {
    std::vector<double> result = support::values(x);
    for (std::size_t i = 0; i < result.size(); ++i)
        result[i] *= dropout.drops(i) ? 0 : 1 / (1 - dropout.probability);
    return result;
}

}  // namespace

TEST_CASE("an element is dropped by its own random word, and else scaled") {
    // Lengths around those that are computed together, and past the first thread's share.
    for (const int length : {0, 1, 5, 255, 256, 257, 70'001}) {
        INFO("length ", length);
        const auto x = numbers<double, Shape<dyn>>(1, length);
        CHECK(support::values(dropout(x, options)) == reference(x, options));
    }
    const Dropout other{
        .probability = 0.9, .seed = seed(std::uint64_t{1} << 60), .stream = ~std::uint64_t{0}};
    const auto x = numbers<double, Shape<3, 171>>(1);
    CHECK(support::values(dropout(x, other)) == reference(x, other));
    CHECK(support::values(dropout(x * 2, other)) == reference(Tensor(x * 2), other));
    CHECK(support::values(dropout(transpose(x), options)) == reference(transpose(x), options));
}

TEST_CASE("as many elements go as the probability says, and other streams drop others") {
    constexpr int count = 100'000;
    const Tensor ones = Tensor<float, Shape<count>, Device>::zeros() + 1;
    for (const double probability : {1e-3, 0.1, 0.5, 0.999}) {
        INFO("probability ", probability);
        const auto a = dropout(ones, {probability, seed(1), 2}), b = dropout(ones, {probability, seed(1), 3}),
                   c = dropout(ones, {probability, seed(2), 2});
        const auto u = support::values(a), v = support::values(b), w = support::values(c);
        double dropped = 0, with_stream = 0, with_seed = 0;
        for (std::size_t i = 0; i < count; ++i) {
            dropped += u[i] == 0;
            with_stream += u[i] == 0 && v[i] == 0;
            with_seed += u[i] == 0 && w[i] == 0;
        }
        // Five standard deviations of independent draws.
        const auto as_expected = [&](double number, double p) {
            return std::abs(number - count * p) < 5 * std::sqrt(count * p * (1 - p)) + 1;
        };
        CHECK(as_expected(dropped, probability));
        CHECK(as_expected(with_stream, probability * probability));
        CHECK(as_expected(with_seed, probability * probability));
    }
}

TEST_CASE("the gradient goes where the values went") {
    auto x = parameter<Shape<7, 45>>(1);
    CHECK(gradient_error([](auto a) { return dropout(a, options); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return dropout(transpose(a), options); }, x) < 1e-6);
    CHECK(gradient_error([](auto a) { return dropout(a * a, options); }, x) < 1e-6);
    CHECK(gradient_error(
              [](auto a) {
                  return evaluate(a * dropout(a, options) + dropout(a, {0.5, seed(1), 1}));
              },
              x) < 1e-6);
    CHECK(gradient_error([](auto a) { return dropout(a, Dropout{}); }, x) < 1e-6);
}

TEST_CASE("narrower types keep and drop the same elements") {
    const auto check = [](auto zero) {
        using T = decltype(zero);
        const auto x = cast<T>(numbers<double, Shape<3, 100>>(1));
        const auto expected = reference(x, options);
        CHECK(support::worst_error(dropout(x, options), [&](std::int64_t i) {
                  return expected[static_cast<std::size_t>(i)];
              }) < (sizeof(T) == 4 ? 1e-7 : 4e-3));
        auto p = Parameter<T, Shape<3, 100>, Device>(x);
        const auto y = dropout(p, options);
        backward(y, support::seed_of(y, std::vector<double>(300, 1)));
        const auto gradient = on_host(p.accumulated_gradient());
        for (std::int64_t i = 0; i < 300; ++i)
            CHECK(gradient.data()[i] ==
                  (options.drops(static_cast<std::uint64_t>(i)) ? 0 : ComputeOf<T>(1 / 0.7)));
    };
    check(float{});
    check(bf16{});
    check(f16{});
}

TEST_CASE("dropout gives the same bits for any number of threads") {
    CHECK(support::same_for_any_thread_count([] {
        auto x = parameter<Shape<70'001>>(1);
        const auto y = dropout(x, options);
        backward(y, support::values(y));
        std::vector<double> result = support::values(y);
        support::append(result, x.accumulated_gradient());
        return result;
    }));
}

TEST_CASE("no zero comes of a NaN or an infinity that is dropped, but NaN") {
    for (const double value :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        const auto x = Tensor<double, Shape<100>, Device>::filled(value);
        const auto y = dropout(x, options);
        for (int i = 0; i < 100; ++i)
            CHECK(std::isnan(at(y, i)) ==
                  (std::isnan(value) || options.drops(static_cast<std::uint64_t>(i))));
    }
}

TEST_CASE("with probability 0 the tensor itself comes back; others outside of [0, 1) are errors") {
    const auto x = numbers<double, Shape<3, 4>>(1);
    CHECK(dropout(x, {.probability = 0}).data() == x.data());
    CHECK_THROWS_WITH_AS(dropout(x, {.probability = 1}),
                         "dropout: expected a probability of at least 0 and below 1, got 1.000000", Error);
    CHECK_THROWS_AS(dropout(x, {.probability = -0.1}), Error);
    CHECK_THROWS_AS(dropout(x, {.probability = std::numeric_limits<double>::quiet_NaN()}), Error);
    // Just below 1: nearly all go, and the probability of staying is no zero.
    CHECK(std::isfinite(at(dropout(x, {.probability = 1 - 1e-16}), 0, 0)));
}
