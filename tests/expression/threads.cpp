#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include <tenon/autograd/parameter.hpp>
#include <tenon/expression/reduction.hpp>
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

TEST_CASE("reductions of unequal lengths in one expression: each leaf's gradient stays in its own rows") {
    const auto z = numbers<double, Shape<dyn, dyn>>(1, 8, 4003),
               x = numbers<double, Shape<dyn, dyn>>(2, 8, 3),
               many = numbers<double, Shape<dyn, dyn>>(3, 2000, 95),
               few = numbers<double, Shape<dyn, dyn>>(4, 2000, 3);
    const auto formula = [](auto a, auto b) { return Tensor(a * mean<keep_axis<-1>>(b)); };
    CHECK(support::same_for_any_thread_count([&] { return run(formula, z, x); }));
    CHECK(support::same_for_any_thread_count([&] { return run(formula, many, few); }));
}

TEST_CASE("few long rows are shared out, and give what many give, whatever the number of threads") {
    const auto formulas = [](auto x, auto row) {
        auto centred = x - mean<keep_axis<-1>>(x);
        Tensor y = centred * rsqrt(mean<keep_axis<-1>>(square(centred)) + 0.1) * row;
        return Tensor(sum<axis<1>>(y * x) + max<axis<1>>(x) + min<axis<1>>(x * row));
    };
    const auto x = numbers<double, Shape<dyn, dyn>>(1, 3, 20'003),
               row = numbers<double, Shape<dyn, dyn>>(2, 1, 20'003);
    CHECK(support::same_for_any_thread_count([&] { return run(formulas, x, row); }));
    // The same rows among enough others that each is computed in one go.
    const auto many = numbers<double, Shape<dyn, dyn>>(1, 64, 20'003);
    const auto softmaxes = [](auto a) {
        auto e = exp(a - max<keep_axis<-1>>(a));
        return Tensor(e / sum<keep_axis<-1>>(e));
    };
    const auto together = run(softmaxes, many), alone = run(softmaxes, x);
    double worst = 0;
    for (int i = 0; i < 3 * 20'003; ++i) {
        const auto at = static_cast<std::size_t>(i);
        worst = std::max(worst, std::abs(together[at] - alone[at]));
        worst = std::max(worst, std::abs(together[64 * 20'003 + at] - alone[3 * 20'003 + at]));
    }
    CHECK(worst < 1e-14);
}

TEST_CASE("an axis that is not the last is reduced in blocks, the same for any number of threads") {
    const auto tall = numbers<double, Shape<dyn, dyn>>(1, 5'001, 77),
               deep = numbers<double, Shape<dyn, dyn>>(2, 77, 1'100);
    for (const auto& x : {tall, deep}) {
        CHECK(support::same_for_any_thread_count(
            [&] { return run([](auto a) { return Tensor(mean<axis<0>>(a)); }, x); }));
        CHECK(support::same_for_any_thread_count(
            [&] { return run([](auto a) { return Tensor(min<axis<0>>(a)); }, x); }));
        CHECK(support::same_for_any_thread_count(
            [&] { return run([](auto a) { return Tensor(sum<axis<0>>(transpose(a))); }, x); }));
    }
}
