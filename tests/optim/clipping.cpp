#include <cmath>

#include <doctest/doctest.h>

#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/view/view.hpp>

#include "two_parameters.hpp"

using namespace tenon;
using support::Device;
using support::TwoParameters;

namespace {

double norm_of(const std::vector<double>& x) {
    double total = 0;
    for (const double element : x) total += element * element;
    return std::sqrt(total);
}

template <class T>
std::vector<double> gradients(const TwoParameters<T>& model) {
    std::vector<double> result = support::values(model.first.accumulated_gradient());
    support::append(result, model.second.accumulated_gradient());
    return result;
}

/// What a step of plain descent at rate 1 subtracts: the gradients as they are after clipping.
template <class T, class Optimizer>
std::vector<double> subtracted(const TwoParameters<T>& model, Optimizer& optimizer) {
    std::vector<double> result = model.numbers();
    optimizer.step();
    const auto after = model.numbers();
    for (std::size_t i = 0; i < result.size(); ++i) result[i] -= after[i];
    return result;
}

constexpr SGDOptions descent{.rate = 1};

}  // namespace

TEST_CASE("the norm is that of all gradients together; clipping scales all alike") {
    TwoParameters<double> model;
    SGD optimizer(model, descent);
    backward(model.half_square());
    const auto before = gradients(model);
    const double norm = norm_of(before);
    CHECK(double(optimizer.clip(norm / 4)) == doctest::Approx(norm).epsilon(1e-14));
    const double scale = norm / 4 / (norm + 1e-6);
    const auto step = subtracted(model, optimizer);
    for (std::size_t i = 0; i < before.size(); ++i)
        CHECK(step[i] == doctest::Approx(scale * before[i]).epsilon(1e-13));
}

TEST_CASE("what is short enough stays as it is, and what has no gradient counts nothing") {
    TwoParameters<double> model;
    SGD optimizer(model, descent);
    CHECK(double(optimizer.clip(1)) == 0);
    backward(sum(model.second * 3));
    CHECK(double(optimizer.clip(100)) == doctest::Approx(3 * std::sqrt(5.0)));
    const auto step = subtracted(model, optimizer);
    for (std::size_t i = 0; i < step.size(); ++i)
        CHECK(step[i] == doctest::Approx(i < 21 ? 0 : 3).epsilon(1e-14));
}

TEST_CASE("a factor of clipping serves one step") {
    TwoParameters<double> model;
    SGD optimizer(model, descent);
    backward(sum(model.second * 3));
    optimizer.clip(0.1);
    optimizer.step();
    backward(sum(model.second * 3));
    CHECK(subtracted(model, optimizer).back() == doctest::Approx(3).epsilon(1e-14));
}

TEST_CASE("gradients whose norm is not finite stay as they are, whether one of them is or their sum is not") {
    for (const double wrong : {HUGE_VAL, 1e200}) {
        TwoParameters<double> model;
        SGD optimizer(model, descent);
        backward(model.half_square());
        support::set(model.second.accumulated_gradient(), wrong, 2);
        CHECK(double(optimizer.clip(1)) == HUGE_VAL);
        optimizer.step();
        // Of a number its gradient, which is itself, leaves nothing.
        const auto after = model.numbers();
        for (std::size_t i = 0; i < after.size(); ++i) CHECK(after[i] == (i == 21 + 2 ? -wrong : 0));
    }
}

TEST_CASE("a long gradient's norm has the same bits for any number of threads, and f32 is summed well") {
    Parameter<float, Shape<dyn>, Device> x(support::numbers<float, Shape<dyn>>(1, 100'003));
    backward(sum(square(x) / 2));
    const std::vector<ParameterBase*> all{&x};
    CHECK(support::same_for_any_thread_count(
        [&] { return std::vector<double>{gradient_norm<float, Device>(all)}; }));
    CHECK(double(gradient_norm<float, Device>(all)) ==
          doctest::Approx(norm_of(support::values(x.value()))).epsilon(1e-6));
}

TEST_CASE("micro-batches add up: k losses over k have the large batch's gradient, and are clipped together") {
    const auto inputs = support::numbers<double, Shape<12, 5>>(1);
    const auto targets = support::numbers<double, Shape<12, 3>>(2);
    const auto loss_of = [](const auto& weight, const auto& x, const auto& y) {
        return Tensor(mean(square(matmul(x, weight) - y)));
    };
    Parameter<double, Shape<5, 3>, Device> whole(support::numbers<double, Shape<5, 3>>(3)),
        parts(support::numbers<double, Shape<5, 3>>(3));
    SGD<double, double, Device> first(std::vector<ParameterBase*>{&whole}, {.rate = 0.5}),
        second(std::vector<ParameterBase*>{&parts}, {.rate = 0.5});
    for (int step = 0; step < 3; ++step) {
        backward(loss_of(whole, inputs, targets));
        for (int begin = 0; begin < 12; begin += 3)
            backward(Tensor(
                loss_of(parts, slice<0>(inputs, begin, begin + 3), slice<0>(targets, begin, begin + 3)) /
                4.0));
        CHECK(support::worst_error(parts.accumulated_gradient(),
                                   support::values(whole.accumulated_gradient())) < 1e-14);
        CHECK(double(second.clip(0.1)) == doctest::Approx(double(first.clip(0.1))).epsilon(1e-13));
        first.step();
        second.step();
    }
    CHECK(support::worst_error(parts.value(), support::values(whole.value())) < 1e-13);
}
