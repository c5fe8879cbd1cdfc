#include <cmath>
#include <limits>
#include <utility>

#include <doctest/doctest.h>

#include <tenon/core/packet.hpp>
#include <tenon/expression/functor.hpp>

// Functors as kernels of the CPU evaluate them, in packets: their accuracy, and their limits.

using namespace tenon;

namespace {

#ifdef __FMA__
constexpr bool has_fma = true;
#else
constexpr bool has_fma = false;
#endif

/// The greatest relative error of a function's values and derivatives, evaluated in packets of T, against
/// definitions in f64 over [low, high].
template <class T, class F>
struct RelativeErrors {
    double value = 0, derivative = 0;

    template <class Value, class Derivative>
    RelativeErrors(double low, double high, Value exact, Derivative exact_derivative) {
        using V = Packet<T>;
        for (int i = 0; i <= 20000; ++i) {
            const T x = static_cast<T>(low + (high - low) * i / 20000);
            const V y = F::value(V(x));
            update(value, y.first(), exact(static_cast<long double>(x)));
            update(derivative, F::derivative(V(x), y).first(), exact_derivative(static_cast<long double>(x)));
        }
    }

private:
    static void update(double& worst, double got, long double expected) {
        if (std::abs(expected) < std::numeric_limits<T>::min()) return;  // packets have no smaller numbers
        const double error = static_cast<double>(std::abs((got - expected) / expected));
        if (!(error <= worst)) worst = error;
    }
};

}  // namespace

TEST_CASE_TEMPLATE("gelu is exact to a few units in the last place, its tail and derivative too", T, float,
                   double) {
    const double epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    const auto distribution = [](long double x) { return std::erfc(-x / std::sqrt(2.0L)) / 2; };
    const auto value = [&](long double x) { return x * distribution(x); };
    const auto derivative = [&](long double x) {
        return distribution(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0L));
    };
    const double tail = sizeof(T) == 4 ? -12.5 : -37;
    // Without a fused multiply-add the square in exp(-x² / 2) is rounded, by half an epsilon, before it.
    const double squares = has_fma ? 0 : tail * tail / 2 * epsilon / 2;
    // Between -2 and -0.5 the derivative crosses zero, where only its absolute error is small.
    for (const auto& [low, high] : {std::pair{tail, -2.}, std::pair{-0.5, 0.5}, std::pair{0.5, 10.}}) {
        const RelativeErrors<T, functor::Gelu> errors(low, high, value, derivative);
        INFO("from ", low, " to ", high);
        CHECK(errors.value < 6 * epsilon + squares);
        CHECK(errors.derivative < 8 * epsilon + squares);
    }
    CHECK(RelativeErrors<T, functor::Gelu>(-2, -0.5, value, derivative).value < 6 * epsilon);
}

TEST_CASE_TEMPLATE("gelu_tanh and softplus keep the accuracy of their tails", T, float, double) {
    const double epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    const auto gate = [](long double x) {
        return 1 / (1 + std::exp(-2 * std::sqrt(2 / std::acos(-1.0L)) * (x + 0.044715L * x * x * x)));
    };
    const auto slope = [](long double x) {
        return 2 * std::sqrt(2 / std::acos(-1.0L)) * (1 + 3 * 0.044715L * x * x);
    };
    // The exponential multiplies its argument's rounding by the argument.
    const RelativeErrors<T, functor::GeluTanh> far(
        -8, -2, [&](long double x) { return x * gate(x); },
        [&](long double x) { return gate(x) + x * gate(x) * (1 - gate(x)) * slope(x); });
    CHECK(far.value < 100 * epsilon);
    CHECK(far.derivative < 100 * epsilon);
    const RelativeErrors<T, functor::Softplus> softplus(
        -80, 80, [](long double x) { return std::log1p(std::exp(x)); },
        [](long double x) { return 1 / (1 + std::exp(-x)); });
    CHECK(softplus.value < 6 * epsilon);
    CHECK(softplus.derivative < 6 * epsilon);
}

TEST_CASE_TEMPLATE("activations have their limits at infinity, and NaN stays NaN", T, float, double) {
    using V = Packet<T>;
    const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    const auto check = [&]<class F>(F, const char* name, T slope) {
        INFO(name);
        const auto at = [](V x) {
            return std::pair{F::value(x).first(), F::derivative(x, F::value(x)).first()};
        };
        for (const T far : {-infinity, std::numeric_limits<T>::lowest()}) {
            CHECK(at(V(far)).first == 0);
            CHECK(at(V(far)).second == 0);
        }
        CHECK(at(V(infinity)).first == infinity);
        CHECK(at(V(infinity)).second == slope);
        CHECK(at(V(nan)).first != at(V(nan)).first);
        // One number is computed like a packet.
        CHECK(F::value(-infinity) == 0);
        CHECK(F::derivative(infinity, infinity) == slope);
    };
    check(functor::Gelu{}, "gelu", 1);
    check(functor::GeluTanh{}, "gelu_tanh", 1);
    check(functor::Silu{}, "silu", 1);
    check(functor::Softplus{}, "softplus", 1);
    check(functor::Relu{}, "relu", 1);
    check(functor::SquaredRelu{}, "squared_relu", infinity);
}
