#include <cmath>

#include <doctest/doctest.h>

#include <tenon/expression/reduction.hpp>

#include "../support.hpp"
#include "two_parameters.hpp"

using namespace tenon;
using support::Device;
using support::TwoParameters;

namespace {

/// AdamW as its authors state it, for one number.
struct Reference {
    double value, first = 0, second = 0;

    void step(double gradient, int number, const AdamWOptions& options, double rate) {
        value -= rate * options.decay * value;
        first = options.beta1 * first + (1 - options.beta1) * gradient;
        second = options.beta2 * second + (1 - options.beta2) * gradient * gradient;
        const double m = first / (1 - std::pow(options.beta1, number)),
                     v = second / (1 - std::pow(options.beta2, number));
        value -= rate * m / (std::sqrt(v) + options.epsilon);
    }
};

}  // namespace

TEST_CASE("AdamW updates as its formula says, at a rate that changes") {
    TwoParameters<double> model;
    const AdamWOptions options{.rate = 0.01, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .decay = 0.1};
    AdamW optimizer(model, options);
    std::vector<Reference> expected;
    for (const double value : model.numbers()) expected.push_back({value});
    for (int step = 1; step <= 5; ++step) {
        optimizer.rate = 0.01 / step;
        const auto gradients = model.numbers();  // that of half the sum of squares
        backward(model.half_square());
        optimizer.step();
        for (std::size_t i = 0; i < expected.size(); ++i) {
            expected[i].step(gradients[i], step, options, optimizer.rate);
            CHECK(model.numbers()[i] == doctest::Approx(expected[i].value).epsilon(1e-12));
        }
    }
    CHECK(optimizer.steps() == 5);
}

TEST_CASE("a step forgets the gradients, and leaves parameters alone that have none") {
    TwoParameters<double> model;
    AdamW optimizer(model, {.rate = 0.1});
    const auto before = model.numbers();
    backward(sum(model.first * 2));
    optimizer.step();
    const auto after = model.numbers();
    CHECK(after[0] != before[0]);
    CHECK(after.back() == before.back());
    CHECK_FALSE(model.first.gradient->written);
    optimizer.step();
    CHECK(model.numbers() == after);
}

TEST_CASE("f32 follows f64") {
    TwoParameters<float> narrow;
    TwoParameters<double> wide;
    AdamW first(narrow, {.rate = 0.05}), other(narrow);
    AdamW second(wide, {.rate = 0.05});
    for (int step = 0; step < 20; ++step) {
        backward(narrow.half_square());
        backward(wide.half_square());
        first.step();
        second.step();
    }
    for (std::size_t i = 0; i < wide.numbers().size(); ++i)
        CHECK(std::abs(narrow.numbers()[i] - wide.numbers()[i]) < 1e-5);
}

TEST_CASE("it finds the least of a bowl") {
    TwoParameters<double> model;
    AdamW optimizer(model, {.rate = 0.02, .decay = 0});
    for (int step = 0; step < 1500; ++step) {
        optimizer.rate = 0.02 * (1 - step / 1500.0);
        backward(model.half_square());
        optimizer.step();
    }
    CHECK(model.half_square().item() < 1e-6);
}

TEST_CASE("a parameter that sits steps out is corrected by the steps it took, as PyTorch does") {
    TwoParameters<double> model;
    const AdamWOptions options{.rate = 0.01, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .decay = 0.1};
    AdamW optimizer(model, options);
    std::vector<Reference> expected;
    for (const double value : model.numbers()) expected.push_back({value});
    const auto first_count = static_cast<std::size_t>(model.first.size());
    int taken = 0;
    for (int step = 1; step <= 6; ++step) {
        const auto gradients = model.numbers();
        const bool has_second = step == 3 || step == 6;
        if (has_second)
            backward(model.half_square());
        else
            backward(Tensor(sum(square(model.first)) / 2));
        taken += has_second;
        optimizer.step();
        for (std::size_t i = 0; i < expected.size(); ++i) {
            if (i < first_count)
                expected[i].step(gradients[i], step, options, options.rate);
            else if (has_second)
                expected[i].step(gradients[i], taken, options, options.rate);
            CHECK(model.numbers()[i] == doctest::Approx(expected[i].value).epsilon(1e-12));
        }
    }
    CHECK(optimizer.steps() == 6);
}

TEST_CASE("PyTorch's numbers for a parameter whose gradient comes late") {
    // torch.optim.AdamW([a, b], lr=0.1, weight_decay=0.5) with a = b = 1 in f64; a's gradients are 1, 1, 1,
    // b's none, none, 2. Printed by PyTorch 2.
    Parameter<double, Shape<1>, Device> a(Tensor<double, Shape<1>, Device>::of({1.0})),
        b(Tensor<double, Shape<1>, Device>::of({1.0}));
    AdamW<double, double, Device> optimizer(std::vector<ParameterBase*>{&a, &b}, {.rate = 0.1, .decay = 0.5});
    for (int step = 0; step < 3; ++step) {
        if (step < 2)
            backward(sum(a));
        else
            backward(Tensor(sum(a) + sum(b * 2.0)));
        optimizer.step();
    }
    CHECK(support::at(a.value(), 0) == doctest::Approx(0.5721250028525007).epsilon(1e-14));
    CHECK(support::at(b.value(), 0) == doctest::Approx(0.8500000004999999).epsilon(1e-14));
}

TEST_CASE("parameters that cannot be trained are refused, with their number") {
    Parameter<double, Shape<2>, Device> tracked(Tensor<double, Shape<2>, Device>::zeros());
    Parameter<double, Shape<2>, Device, Untracked> untracked(Tensor<double, Shape<2>, Device>::zeros());
    Parameter<float, Shape<2>, Device> narrow(Tensor<float, Shape<2>, Device>::zeros());
    using Optimizer = AdamW<double, double, Device>;
    const auto make = [](std::vector<ParameterBase*> parameters) { Optimizer optimizer(parameters); };
    CHECK_NOTHROW(make({}));
    CHECK_NOTHROW(make({&tracked}));
    CHECK_THROWS_WITH_AS(make({&tracked, &untracked}),
                         "AdamW: parameter 1: expected a tracked parameter, got one that only runs forward",
                         Error);
    CHECK_THROWS_WITH_AS(make({&narrow}), "AdamW: parameter 0: expected elements of type f64, got f32",
                         Error);
}
