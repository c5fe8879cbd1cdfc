#include <doctest/doctest.h>

#include <cmath>
#include <tenon/expression/cpu.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/optim/cpu.hpp>

#include "../support.hpp"
#include "two_parameters.hpp"

using namespace tenon;
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
