#include <cmath>

#include <doctest/doctest.h>

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

TEST_CASE("a long gradient's norm has the same bits for any number of threads, and f32 is summed well") {
    Parameter<float, Shape<dyn>> x(support::numbers<float, Shape<dyn>>(1, 100'003));
    backward(sum(square(x) / 2));
    const std::vector<ParameterBase*> all{&x};
    CHECK(support::same_for_any_thread_count([&] { return std::vector{gradient_norm<float, Cpu>(all)}; }));
    CHECK(gradient_norm<float, Cpu>(all) ==
          doctest::Approx(norm_of(support::values(x.value()))).epsilon(1e-6));
}
