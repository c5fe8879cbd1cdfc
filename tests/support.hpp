#pragma once

// What the tests of tensors share.

#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/elements.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/tensor.hpp>

namespace tenon::support {

/// Numbers in [-1, 1) that look random and are the same on every machine.
class Numbers {
public:
    explicit Numbers(std::uint32_t seed) : state_(seed * 2654435761u + 12345u) {}
    double operator()() {
        state_ = state_ * 1664525u + 1013904223u;
        return static_cast<double>(state_ >> 8) / (1 << 23) - 1;
    }

private:
    std::uint32_t state_;
};

/// A tensor of such numbers, scaled and shifted.
template <class T, class S, class... N>
Tensor<T, S> numbers(std::uint32_t seed, N... lengths) {
    auto result = Tensor<T, S>::uninitialized(lengths...);
    Numbers next(seed);
    for (T& element : result.span()) element = convert<T>(next());
    return result;
}

template <class S, class... N>
Parameter<double, S> parameter(std::uint32_t seed, N... lengths) {
    return Parameter<double, S>(numbers<double, S>(seed, lengths...));
}

/// Whether two packed tensors have the same extents and the same bits.
template <class A, class B>
bool same_bits(const A& a, const B& b) {
    return a.extents() == b.extents() &&
           std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(*a.data())) == 0;
}

/// The elements of any tensor, in row-major order, as f64.
template <class X>
std::vector<double> values(const X& x) {
    const Elements elements(x.view());
    std::vector<double> result;
    for (std::int64_t i = 0; i < elements.size(); ++i) result.push_back(convert<double>(elements[i]));
    return result;
}

/// The greatest difference of a tensor's elements from a function of their number, over 1 + the function's
/// size.
template <class X, std::invocable<std::int64_t> F>
double worst_error(const X& x, F&& expected) {
    const Elements elements(x.view());
    double worst = 0;
    for (std::int64_t i = 0; i < elements.size(); ++i) {
        const double exact = expected(i),
                     error = std::abs(convert<double>(elements[i]) - exact) / (1 + std::abs(exact));
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

/// The same for a list, which must have as many numbers.
template <class X>
double worst_error(const X& x, const std::vector<double>& expected) {
    REQUIRE(x.size() == static_cast<std::int64_t>(expected.size()));
    return worst_error(x, [&](std::int64_t i) { return expected[static_cast<std::size_t>(i)]; });
}

/// A count of threads for one scope.
class WithThreads {
public:
    explicit WithThreads(int count) : before_(thread_count()) { set_thread_count(count); }
    WithThreads(const WithThreads&) = delete;
    WithThreads& operator=(const WithThreads&) = delete;
    ~WithThreads() { set_thread_count(before_); }

private:
    int before_;
};

/// The bits of what `run` returns, a vector of numbers, are the same for one, two and three threads.
template <class F>
bool same_for_any_thread_count(F&& run) {
    std::vector<double> first;
    for (const int threads : {1, 2, 3}) {
        const WithThreads with(threads);
        const std::vector<double> now = run();
        if (threads == 1)
            first = now;
        else if (now.size() != first.size() ||
                 std::memcmp(now.data(), first.data(), now.size() * sizeof(double)) != 0)
            return false;
    }
    return true;
}

/// Appends a tensor's elements.
template <class X>
void append(std::vector<double>& to, const X& x) {
    const std::vector<double> more = values(x);
    to.insert(to.end(), more.begin(), more.end());
}

}  // namespace tenon::support
