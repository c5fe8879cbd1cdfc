#include <doctest/doctest.h>

#include <tenon/autograd/parameter.hpp>
#include <tenon/expression/cpu.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/expression/reduction_cpu.hpp>
#include <tenon/op/view/cpu.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::numbers;

namespace {

/// Value and gradients of a formula, for the same seed each time.
template <class F, class... P>
std::vector<double> run(F&& formula, const P&... values) {
    return [&](auto... parameters) {
        auto y = formula(parameters.tensor()...);
        const auto seed = support::values(numbers<double, Shape<dyn>>(9, static_cast<int>(y.size())));
        std::vector<double> result = support::values(y);
        backward(y, seed);
        (support::append(result, parameters.accumulated_gradient()), ...);
        return result;
    }(Parameter(values)...);
}

}  // namespace

TEST_CASE("expressions and their gradients have the same bits for any number of threads") {
    const auto x = numbers<double, Shape<dyn, dyn>>(1, 301, 257),
               y = numbers<double, Shape<dyn, dyn>>(2, 301, 257),
               row = numbers<double, Shape<dyn, dyn>>(3, 1, 257),
               column = numbers<double, Shape<dyn, dyn>>(4, 301, 1),
               scalar = numbers<double, Shape<dyn, dyn>>(5, 1, 1);
    const auto formula = [](auto a, auto b, auto c) { return Tensor(silu(a) * b + c * a); };
    CHECK(support::same_for_any_thread_count([&] { return run(formula, x, y, y); }));
    CHECK(support::same_for_any_thread_count([&] { return run(formula, x, row, column); }));
    CHECK(support::same_for_any_thread_count([&] { return run(formula, x, scalar, row); }));
}

TEST_CASE("long rows and sums over everything have the same bits for any number of threads") {
    const auto x = numbers<double, Shape<dyn, dyn>>(1, 1, 100'003),
               scalar = numbers<double, Shape<dyn, dyn>>(5, 1, 1);
    CHECK(support::same_for_any_thread_count(
        [&] { return run([](auto a, auto b) { return Tensor(exp(a * b)); }, x, scalar); }));
    CHECK(support::same_for_any_thread_count([&] { return run([](auto a) { return sum(square(a)); }, x); }));
}

TEST_CASE("reductions and their gradients have the same bits for any number of threads") {
    const auto x = numbers<double, Shape<dyn, dyn>>(1, 301, 257),
               row = numbers<double, Shape<dyn, dyn>>(3, 1, 257);
    CHECK(support::same_for_any_thread_count([&] {
        return run([](auto a, auto b) { return Tensor(b * a * rsqrt(mean<keep_axis<-1>>(square(a)) + 0.1)); },
                   x, row);
    }));
    CHECK(support::same_for_any_thread_count(
        [&] { return run([](auto a) { return Tensor(sum<axis<0>>(a * a)); }, x); }));
    CHECK(support::same_for_any_thread_count(
        [&] { return run([](auto a) { return Tensor(max<axis<0>>(a)); }, x); }));
}
