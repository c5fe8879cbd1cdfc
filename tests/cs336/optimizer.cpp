// The optimizer of CS336's first assignment, its schedule and its clipping.

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "../support.hpp"
#include "adapters.hpp"
#include "values.hpp"

using namespace cs336;

TEST_CASE("get_adamw takes a model where PyTorch's takes it in 1000 steps") {
    const auto inputs = value<float, Shape<1000, 3>>("adamw.inputs");
    Parameter<float, Shape<2, 3>, Device> weight{value<float, Shape<2, 3>>("adamw.first")};
    auto optimizer =
        get_adamw({{&weight}}, {.rate = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .decay = 0.01});
    for (int step = 0; step < 1000; ++step) {
        const auto x = slice<0>(inputs, step, step + 1);
        const auto row = on_host(x);
        const auto y = Tensor<float, Shape<1, 2>, Device>::of({row(0, 0) + row(0, 1), -row(0, 2)});
        backward(sum(square(y - matmul<MatmulOptions{.transpose_right = true}>(x, weight))));
        optimizer.step();
    }
    const auto expected = value<float, Shape<2, 3>>("adamw.last");
    CHECK(all_close(weight.value(), expected, {.relative = 1e-4, .absolute = 1e-4}));
    CHECK_FALSE(
        all_close(expected, value<float, Shape<2, 3>>("adamw.first"), {.relative = 1e-4, .absolute = 1e-2}));
}

TEST_CASE("run_get_lr_cosine_schedule") {
    const std::vector<double> expected = list<double>("lr_cosine_schedule");
    REQUIRE(expected.size() == 25);
    for (std::size_t it = 0; it < expected.size(); ++it) {
        CAPTURE(it);
        CHECK(run_get_lr_cosine_schedule(static_cast<std::int64_t>(it), 1, 0.1, 7, 21) ==
              doctest::Approx(expected[it]).epsilon(1e-7));
    }
}

TEST_CASE("run_gradient_clipping passes over parameters that are frozen or have no gradient") {
    using S = Shape<5, 5>;
    const auto gradients = value<float, Shape<6, 5, 5>>("clip.gradients");
    const auto clipped = value<float, Shape<5, 5, 5>>("clip.clipped");
    std::vector<Parameter<float, S, Device>> parameters;
    parameters.reserve(6);
    std::vector<ParameterBase*> all;
    for (int i = 0; i < 6; ++i) {
        parameters.emplace_back(Role::matrix);
        all.push_back(&parameters.back());
    }
    Parameter<float, S, Device, Untracked> frozen(Role::matrix);
    all.push_back(&frozen);
    for (int i = 0; i < 5; ++i)
        backward(sum(parameters[static_cast<std::size_t>(i)] * select<0>(gradients, i)));

    run_gradient_clipping(all, 1e-2);
    for (int i = 0; i < 5; ++i)
        CHECK(all_close(parameters[static_cast<std::size_t>(i)].accumulated_gradient(), select<0>(clipped, i),
                        {.relative = 1e-4, .absolute = 1e-6}));
    CHECK_FALSE(parameters[5].gradient->written);
}

TEST_CASE("an optimizer's clipping does not count what it leaves alone") {
    const auto gradients = value<float, Shape<6, 5, 5>>("clip.gradients");
    const auto zeros = Tensor<float, Shape<5, 5>, Device>::zeros();
    Parameter<float, Shape<5, 5>, Device> trained(zeros), frozen(zeros);
    SGD<float, float, Device> optimizer(
        std::vector<ParameterBase*>{&trained, &frozen}, {.rate = 1},
        [](std::string_view name, const ParameterBase&) -> Treatment { return {.frozen = name == "1"}; });
    backward(sum(trained * select<0>(gradients, 0)));
    backward(sum(frozen * select<0>(gradients, 1)));
    optimizer.clip(1e-2);
    optimizer.step();
    double square_norm = 0;
    for (const double element : support::values(trained.value())) square_norm += element * element;
    CHECK(std::sqrt(square_norm) == doctest::Approx(1e-2).epsilon(1e-4));
    CHECK(frozen.accumulated_gradient() == select<0>(gradients, 1));
    CHECK(frozen.value() == zeros);
}
