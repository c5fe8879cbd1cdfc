#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/core/packet.hpp>

using tenon::Packet;

namespace {

/// The greatest relative error of `vector` against `exact` over a range of arguments.
template <class T, class Vector, class Exact>
double worst(double from, double to, Vector vector, Exact exact) {
    constexpr int size = Packet<T>::size;
    double error = 0;
    const int steps = 20000;
    for (int i = 0; i < steps; ++i) {
        T lanes[size];
        for (int j = 0; j < size; ++j) {
            lanes[j] = static_cast<T>(from + (to - from) * (i + static_cast<double>(j) / size) / steps);
        }
        T results[size];
        vector(Packet<T>::load(lanes)).store(results);
        for (int j = 0; j < size; ++j) {
            const long double expected = exact(static_cast<long double>(lanes[j]));
            const double difference = static_cast<double>(std::abs(results[j] - expected));
            if (expected != 0) error = std::max(error, difference / static_cast<double>(std::abs(expected)));
        }
    }
    return error;
}

template <class T>
T first(Packet<T> packet) {
    T lanes[Packet<T>::size];
    packet.store(lanes);
    return lanes[0];
}

template <class V>
V logistic(V x) {
    return V(1) / (V(1) + exp(-x));
}

template <class V>
V silu_for_test(V x) {
    using tenon::exp;
    return x / (V(1) + exp(-x));
}

}  // namespace

TEST_CASE_TEMPLATE("a packet reads and writes all lanes or the first few", T, float, double) {
    constexpr int size = Packet<T>::size;
    T numbers[2 * size], copy[2 * size];
    for (int i = 0; i < 2 * size; ++i) numbers[i] = T(i + 1);
    Packet<T>::load(numbers + 1).store(copy + 1);
    for (int i = 1; i <= size; ++i) CHECK(copy[i] == numbers[i]);

    for (int count = 0; count <= size; ++count) {
        for (T& number : copy) number = T(-1);
        const Packet<T> part = Packet<T>::load_partial(numbers, count);
        part.store(copy);
        for (int i = 0; i < size; ++i) CHECK(copy[i] == (i < count ? T(i + 1) : T(0)));
        for (T& number : copy) number = T(-1);
        Packet<T>::load(numbers).store_partial(copy, count);
        for (int i = 0; i < size; ++i) CHECK(copy[i] == (i < count ? T(i + 1) : T(-1)));
    }
}

TEST_CASE_TEMPLATE("a packet computes lane by lane", T, float, double) {
    constexpr int size = Packet<T>::size;
    T a[size], b[size], result[size];
    for (int i = 0; i < size; ++i) a[i] = T(i) - T(1.5), b[i] = T(2) / T(i + 1);
    const auto x = Packet<T>::load(a), y = Packet<T>::load(b);
    const auto expect = [&](Packet<T> packet, auto scalar) {
        packet.store(result);
        for (int i = 0; i < size; ++i) CHECK(result[i] == doctest::Approx(scalar(a[i], b[i])));
    };
    expect(x + y, [](T p, T q) { return p + q; });
    expect(x - y, [](T p, T q) { return p - q; });
    expect(x * y, [](T p, T q) { return p * q; });
    expect(x / y, [](T p, T q) { return p / q; });
    expect(-x, [](T p, T) { return -p; });
    expect(min(x, y), [](T p, T q) { return tenon::min(p, q); });
    expect(max(x, y), [](T p, T q) { return tenon::max(p, q); });
    expect(abs(x), [](T p, T) { return tenon::abs(p); });
    expect(fma(x, y, x), [](T p, T q) { return tenon::fma(p, q, p); });
    expect(reciprocal(y), [](T, T q) { return tenon::reciprocal(q); });
    expect(sqrt(y), [](T, T q) { return tenon::sqrt(q); });
    expect(rsqrt(y), [](T, T q) { return tenon::rsqrt(q); });
    expect(select(x < y, x, y), [](T p, T q) { return tenon::select(p < q, p, q); });
    expect(select(x >= y, x, y), [](T p, T q) { return tenon::select(p >= q, p, q); });
    expect(select(x == x, x, y), [](T p, T) { return p; });
    expect(silu_for_test(x), [](T p, T) { return silu_for_test(p); });

    T sum = 0, greatest = a[0];
    for (T number : a) sum += number, greatest = std::max(greatest, number);
    CHECK(x.sum() == doctest::Approx(sum));
    CHECK(x.max() == greatest);
}

TEST_CASE_TEMPLATE("packets transpose a square", T, float, double) {
    constexpr int size = Packet<T>::size;
    Packet<T> rows[size];
    for (int i = 0; i < size; ++i) {
        T lanes[size];
        for (int j = 0; j < size; ++j) lanes[j] = T(i * size + j);
        rows[i] = Packet<T>::load(lanes);
    }
    transpose(rows);
    for (int i = 0; i < size; ++i) {
        T lanes[size];
        rows[i].store(lanes);
        for (int j = 0; j < size; ++j) CHECK(lanes[j] == T(j * size + i));
    }
}

TEST_CASE_TEMPLATE("the functions are accurate to a few units in the last place", T, float, double) {
    const double bound = 4 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const auto exp_error = [](double from, double to) {
        return worst<T>(
            from, to, [](auto x) { return exp(x); }, [](long double x) { return std::exp(x); });
    };
    CHECK(exp_error(-1, 1) < bound);
    CHECK(exp_error(-87, 88.7) < bound);
    if (sizeof(T) == 8) CHECK(exp_error(-708, 709.7) < bound);

    const auto log_error = [](double from, double to) {
        return worst<T>(
            from, to, [](auto x) { return log(x); }, [](long double x) { return std::log(x); });
    };
    CHECK(log_error(1e-30, 1) < bound);
    CHECK(log_error(0, std::numeric_limits<T>::min()) < bound);
    CHECK(log_error(1, 2) < bound);
    CHECK(log_error(2, 1e30) < bound);

    const auto tanh_error = [](double from, double to) {
        return worst<T>(
            from, to, [](auto x) { return tanh(x); }, [](long double x) { return std::tanh(x); });
    };
    CHECK(tanh_error(-1e-20, 1e-20) < bound);
    CHECK(tanh_error(-1e-3, 1e-3) < bound);
    CHECK(tanh_error(-1, 1) < bound);
    CHECK(tanh_error(-30, 30) < bound);

    // Near the zeros of sine and cosine the error counts absolutely.
    const auto exact_sin = [](long double x) { return std::sin(x) + 2; };
    const auto exact_cos = [](long double x) { return std::cos(x) + 2; };
    CHECK(worst<T>(
              -1000, 1000, [](auto x) { return sin(x) + Packet<T>(T(2)); }, exact_sin) < bound);
    CHECK(worst<T>(
              -1000, 1000, [](auto x) { return cos(x) + Packet<T>(T(2)); }, exact_cos) < bound);
    CHECK(worst<T>(
              1e-20, 1, [](auto x) { return sin(x); }, [](long double x) { return std::sin(x); }) < bound);
}

TEST_CASE_TEMPLATE("the functions hold at the ends of the range", T, float, double) {
    using Limits = std::numeric_limits<T>;
    const T infinity = Limits::infinity(), nan = Limits::quiet_NaN();
    CHECK(first(exp(Packet<T>(-infinity))) == 0);
    CHECK(first(exp(Packet<T>(Limits::lowest()))) == 0);
    CHECK(first(exp(Packet<T>(T(-1000)))) == 0);
    CHECK(first(exp(Packet<T>(T(0)))) == 1);
    CHECK(first(exp(Packet<T>(T(1000)))) == infinity);
    CHECK(first(exp(Packet<T>(infinity))) == infinity);
    CHECK(std::isnan(first(exp(Packet<T>(nan)))));
    CHECK(first(log(Packet<T>(T(0)))) == -infinity);
    CHECK(first(log(Packet<T>(T(1)))) == 0);
    CHECK(first(log(Packet<T>(infinity))) == infinity);
    CHECK(std::isnan(first(log(Packet<T>(T(-1))))));
    CHECK(first(tanh(Packet<T>(T(0)))) == 0);
    CHECK(first(tanh(Packet<T>(infinity))) == 1);
    CHECK(first(tanh(Packet<T>(-infinity))) == -1);
    CHECK(std::isnan(first(tanh(Packet<T>(nan)))));
    CHECK(first(sqrt(Packet<T>(T(0)))) == 0);
    CHECK(first(sqrt(Packet<T>(infinity))) == infinity);
    CHECK(first(rsqrt(Packet<T>(infinity))) == 0);
    CHECK(first(logistic(Packet<T>(T(0)))) == T(0.5));
}

TEST_CASE_TEMPLATE("a NaN on either side, and in any lane, comes through", T, float, double) {
    const T nan = std::numeric_limits<T>::quiet_NaN(), infinity = std::numeric_limits<T>::infinity();
    for (const T other : {T(-1), T(0), T(1), infinity, -infinity, nan}) {
        CHECK(std::isnan(tenon::max(nan, other)));
        CHECK(std::isnan(tenon::max(other, nan)));
        CHECK(std::isnan(tenon::min(nan, other)));
        CHECK(std::isnan(tenon::min(other, nan)));
        CHECK(std::isnan(first(max(Packet<T>(nan), Packet<T>(other)))));
        CHECK(std::isnan(first(max(Packet<T>(other), Packet<T>(nan)))));
        CHECK(std::isnan(first(min(Packet<T>(nan), Packet<T>(other)))));
        CHECK(std::isnan(first(min(Packet<T>(other), Packet<T>(nan)))));
    }
    for (int at = 0; at < Packet<T>::size; ++at) {
        T lanes[Packet<T>::size] = {};
        lanes[at] = nan;
        CHECK(std::isnan(Packet<T>::load(lanes).max()));
    }
    // Of two zeros the first, for packets and numbers alike.
    const Packet<T> zero(T(0)), negative(-T(0));
    CHECK(std::signbit(tenon::max(-T(0), T(0))));
    CHECK(std::signbit(first(max(negative, zero))));
    CHECK(!std::signbit(first(max(zero, negative))));
    CHECK(!std::signbit(first(min(zero, negative))));
}
