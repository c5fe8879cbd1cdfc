#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

// Every functor, against its definition in double precision and the difference quotient of that.

using namespace tenon;
using support::at;
using support::Device;
using support::Numbers;

namespace {

using support::packet;
const int lengths[] = {0, 1, 3, packet - 1, packet, packet + 1, 2 * packet + 3, 5000};

double quotient(double (*f)(double), double x) {
    const double step = 1e-5 * (1 + std::abs(x));
    return (f(x + step) - f(x - step)) / (2 * step);
}

/// A parameter whose numbers lie in [low, high).
Parameter<double, Shape<dyn>, Device> arguments(int length, double low, double high, std::uint32_t seed = 1) {
    auto values = Tensor<double, Shape<dyn>>::uninitialized(length);
    Numbers next(seed);
    for (double& x : values.span()) x = low + (high - low) * (next() + 1) / 2;
    return Parameter<double, Shape<dyn>, Device>(to_device<Device>(values));
}

std::vector<double> weights(std::int64_t count) {
    std::vector<double> result;
    Numbers next(99);
    for (std::int64_t i = 0; i < count; ++i) result.push_back(next());
    return result;
}

template <class F>
void check_unary(const char* name, double (*definition)(double), double low = -3, double high = 3) {
    INFO(name);
    for (const int length : lengths) {
        INFO("length ", length);
        const auto x = arguments(length, low, high);
        const auto u = support::values(x.value()), seed = weights(length);
        Tensor<double, Shape<dyn>, Device, Tracked> y = apply<F>(x);
        CHECK(support::worst_error(y, [&](std::int64_t i) { return definition(u[i]); }) < 1e-14);
        backward(y, seed);
        CHECK(support::worst_error(x.accumulated_gradient(), [&](std::int64_t i) {
                  return seed[i] * quotient(definition, u[i]);
              }) < 1e-8);
    }
}

template <class F>
void check_binary(const char* name, double (*definition)(double, double)) {
    INFO(name);
    for (const int length : lengths) {
        INFO("length ", length);
        const auto a = arguments(length, -2, 2), b = arguments(length, 0.5, 2, 2);
        const auto p = support::values(a.value()), q = support::values(b.value()), seed = weights(length);
        Tensor<double, Shape<dyn>, Device, Tracked> y = apply<F>(a, b);
        CHECK(support::worst_error(y, [&](std::int64_t i) { return definition(p[i], q[i]); }) < 1e-15);
        backward(y, seed);
        constexpr double step = 1e-5;
        CHECK(support::worst_error(a.accumulated_gradient(), [&](std::int64_t i) {
                  return seed[i] * (definition(p[i] + step, q[i]) - definition(p[i] - step, q[i])) /
                         (2 * step);
              }) < 1e-8);
        CHECK(support::worst_error(b.accumulated_gradient(), [&](std::int64_t i) {
                  return seed[i] * (definition(p[i], q[i] + step) - definition(p[i], q[i] - step)) /
                         (2 * step);
              }) < 1e-8);
    }
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double gelu_of(double x) { return x / 2 * std::erfc(-x / std::sqrt(2)); }
double gelu_tanh_of(double x) {
    return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1)) * (x + 0.044715 * x * x * x)));
}

}  // namespace

TEST_CASE("functors of one argument: value and derivative") {
    check_unary<functor::Identity>("identity", [](double x) { return x; });
    check_unary<functor::Negate>("negate", [](double x) { return -x; });
    check_unary<functor::Exponential>("exp", [](double x) { return std::exp(x); });
    check_unary<functor::Logarithm>(
        "log", [](double x) { return std::log(x); }, 0.1, 5);
    check_unary<functor::SquareRoot>(
        "sqrt", [](double x) { return std::sqrt(x); }, 0.1, 5);
    check_unary<functor::ReciprocalSquareRoot>(
        "rsqrt", [](double x) { return 1 / std::sqrt(x); }, 0.2, 5);
    check_unary<functor::Reciprocal>(
        "reciprocal", [](double x) { return 1 / x; }, 0.3, 5);
    check_unary<functor::Square>("square", [](double x) { return x * x; });
}

TEST_CASE("more functors of one argument") {
    check_unary<functor::Absolute>(
        "abs", [](double x) { return std::abs(x); }, 0.1, 3);
    check_unary<functor::Absolute>(
        "abs, negative", [](double x) { return std::abs(x); }, -3, -0.1);
    check_unary<functor::HyperbolicTangent>("tanh", [](double x) { return std::tanh(x); });
    check_unary<functor::Sine>("sin", [](double x) { return std::sin(x); });
    check_unary<functor::Cosine>("cos", [](double x) { return std::cos(x); });
    check_unary<functor::Sigmoid>("sigmoid", logistic, -20, 20);
    check_unary<functor::Silu>("silu", [](double x) { return x * logistic(x); });
    check_unary<functor::Relu>(
        "relu", [](double x) { return x > 0 ? x : 0; }, 0.1, 3);
    check_unary<functor::Relu>(
        "relu, negative", [](double x) { return x > 0 ? x : 0; }, -3, -0.1);
}

TEST_CASE("functors of two arguments: value and both derivatives") {
    check_binary<functor::Add>("add", [](double a, double b) { return a + b; });
    check_binary<functor::Subtract>("subtract", [](double a, double b) { return a - b; });
    check_binary<functor::Multiply>("multiply", [](double a, double b) { return a * b; });
    check_binary<functor::Divide>("divide", [](double a, double b) { return a / b; });
    check_binary<functor::Maximum>("max", [](double a, double b) { return a < b ? b : a; });
    check_binary<functor::Minimum>("min", [](double a, double b) { return b < a ? b : a; });
}

TEST_CASE("where a function has a corner, or two arguments tie, the gradient is what the functor states") {
    const Parameter<double, Shape<2>, Device> a(Tensor<double, Shape<2>, Device>::of({0, 1})),
        b(Tensor<double, Shape<2>, Device>::of({0, 1}));
    const double ones[] = {1, 1};
    backward(Tensor(max(a, b)), ones);
    CHECK(support::values(a.accumulated_gradient()) == std::vector{0.5, 0.5});
    CHECK(support::values(b.accumulated_gradient()) == std::vector{0.5, 0.5});
    const Parameter<double, Shape<2>, Device> c(Tensor<double, Shape<2>, Device>::of({0, -0.0}));
    backward(Tensor(abs(c)), ones);
    backward(Tensor(relu(c)), ones);
    CHECK(support::values(c.accumulated_gradient()) == std::vector{0.0, 0.0});
}

TEST_CASE("far arguments saturate and stay finite") {
    const Parameter<double, Shape<4>, Device> x(Tensor<double, Shape<4>, Device>::of({-1000, 1000, -40, 40}));
    const double ones[] = {1, 1, 1, 1};
    Tensor<double, Shape<4>, Device, Tracked> y = sigmoid(x) + tanh(x) + silu(x);
    CHECK(at(y, 0) == -1);
    CHECK(at(y, 1) == 1002);
    backward(y, ones);
    for (const double gradient : support::values(x.accumulated_gradient())) CHECK(std::isfinite(gradient));
}

TEST_CASE("activations: value and derivative") {
    check_unary<functor::Gelu>("gelu", gelu_of, -6, 6);
    check_unary<functor::GeluTanh>("gelu_tanh", gelu_tanh_of, -6, 6);
    check_unary<functor::Softplus>(
        "softplus", [](double x) { return std::log1p(std::exp(x)); }, -6, 6);
    check_unary<functor::SquaredRelu>("squared_relu", [](double x) { return x > 0 ? x * x : 0; });
}

TEST_CASE("activations of views, of a tensor that occurs twice, and of narrower types") {
    const auto check = [](auto f) {
        auto x = support::parameter<Shape<5, 7>>(1);
        CHECK(gradient_error([&](auto a) { return evaluate(f(3 * transpose(a)) * transpose(f(a))); }, x) <
              1e-6);
        const auto values = support::numbers<double, Shape<4, 33>>(1);
        const Tensor exact = f(3 * values);
        CHECK(relative_error(evaluate(f(3 * cast<float>(values))), exact) < 1e-6);
        CHECK(relative_error(evaluate(f(3 * cast<f16>(values))), exact) < 1e-3);
        CHECK(relative_error(evaluate(f(3 * cast<bf16>(values))), exact) < 0.01);
    };
    check([](const auto& x) { return gelu(x); });
    check([](const auto& x) { return gelu_tanh(x); });
    check([](const auto& x) { return squared_relu(x); });
    check([](const auto& x) { return softplus(x); });
    check([](const auto& x) { return soft_cap(x, 1.5); });
}

TEST_CASE("soft_cap is the identity for small numbers and stays within its cap") {
    const auto x =
        Tensor<double, Shape<4>, Device>::of({1e-3, 5, -1e9, std::numeric_limits<double>::infinity()});
    const Tensor y = soft_cap(x, 30);
    CHECK(at(y, 0) == doctest::Approx(1e-3).epsilon(1e-9));
    CHECK(at(y, 1) == doctest::Approx(30 * std::tanh(5. / 30)).epsilon(1e-15));
    CHECK(at(y, 2) == -30);
    CHECK(at(y, 3) == 30);
    CHECK_THROWS_WITH_AS(soft_cap(x, 0), "soft_cap: expected a positive, finite cap, got 0.000000", Error);
    CHECK_THROWS_AS(soft_cap(x, -1), Error);
    CHECK_THROWS_AS(soft_cap(x, std::numeric_limits<double>::quiet_NaN()), Error);
    CHECK_THROWS_AS(soft_cap(x, std::numeric_limits<double>::infinity()), Error);
}
