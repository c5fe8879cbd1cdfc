#include <cmath>

#include <doctest/doctest.h>

#include <tenon/op/matmul/cpu.hpp>
#include <tenon/op/view/cpu.hpp>
#include <tenon/optim/cpu.hpp>

#include "two_parameters.hpp"

using namespace tenon;
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

}  // namespace

TEST_CASE("the norm is that of all gradients together; clipping scales all alike") {
    TwoParameters<double> model;
    AdamW optimizer(model);
    backward(model.half_square());
    const auto before = gradients(model);
    const double norm = norm_of(before);
    CHECK(optimizer.clip(norm / 4) == doctest::Approx(norm).epsilon(1e-14));
    const double scale = norm / 4 / (norm + 1e-6);
    for (std::size_t i = 0; i < before.size(); ++i)
        CHECK(gradients(model)[i] == doctest::Approx(scale * before[i]).epsilon(1e-14));
}

TEST_CASE("what is short enough stays as it is, and what has no gradient counts nothing") {
    TwoParameters<double> model;
    AdamW optimizer(model);
    CHECK(optimizer.clip(1) == 0);
    backward(sum(model.second * 3));
    const auto before = gradients(model);
    CHECK(optimizer.clip(100) == doctest::Approx(3 * std::sqrt(5.0)));
    CHECK(gradients(model) == before);
}

TEST_CASE("gradients whose norm is not finite stay as they are, whether one of them is or their sum is not") {
    TwoParameters<double> model;
    AdamW optimizer(model);
    for (const double wrong : {HUGE_VAL, 1e200}) {
        backward(model.half_square());
        static_cast<double*>(model.second.gradient->storage.data())[2] = wrong;
        const auto before = gradients(model);
        CHECK(optimizer.clip(1) == HUGE_VAL);
        CHECK(gradients(model) == before);
        optimizer.step();
    }
}

TEST_CASE("a long gradient's norm has the same bits for any number of threads, and f32 is summed well") {
    Parameter<float, Shape<dyn>> x(support::numbers<float, Shape<dyn>>(1, 100'003));
    backward(sum(square(x) / 2));
    const std::vector<ParameterBase*> all{&x};
    CHECK(support::same_for_any_thread_count([&] { return std::vector{gradient_norm<float, Cpu>(all)}; }));
    CHECK(gradient_norm<float, Cpu>(all) ==
          doctest::Approx(norm_of(support::values(x.value()))).epsilon(1e-6));
}

TEST_CASE("micro-batches add up: k losses over k have the large batch's gradient, and are clipped together") {
    const auto inputs = support::numbers<double, Shape<12, 5>>(1);
    const auto targets = support::numbers<double, Shape<12, 3>>(2);
    const auto loss_of = [](const auto& weight, const auto& x, const auto& y) {
        return Tensor(mean(square(matmul(x, weight) - y)));
    };
    Parameter<double, Shape<5, 3>> whole(support::numbers<double, Shape<5, 3>>(3)),
        parts(support::numbers<double, Shape<5, 3>>(3));
    SGD<double, double, Cpu> first(std::vector<ParameterBase*>{&whole}, {.rate = 0.5}),
        second(std::vector<ParameterBase*>{&parts}, {.rate = 0.5});
    for (int step = 0; step < 3; ++step) {
        backward(loss_of(whole, inputs, targets));
        for (int begin = 0; begin < 12; begin += 3)
            backward(Tensor(
                loss_of(parts, slice<0>(inputs, begin, begin + 3), slice<0>(targets, begin, begin + 3)) /
                4.0));
        CHECK(support::worst_error(parts.accumulated_gradient(), [&](std::int64_t i) {
                  return whole.accumulated_gradient().data()[i];
              }) < 1e-14);
        CHECK(second.clip(0.1) == doctest::Approx(first.clip(0.1)).epsilon(1e-13));
        first.step();
        second.step();
    }
    CHECK(support::worst_error(parts.value(), [&](std::int64_t i) { return whole.value().data()[i]; }) <
          1e-13);
}
