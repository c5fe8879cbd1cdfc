#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include <doctest/doctest.h>

#include "two_parameters.hpp"

using namespace tenon;
using support::Device;
using support::TwoParameters;

namespace {

template <class T>
void train(TwoParameters<T>& model, int steps) {
    SGD optimizer{model, {.rate = 0.1}};
    for (int step = 0; step < steps; ++step) {
        backward(model.half_square());
        optimizer.step();
    }
}

template <class T, class E>
std::vector<double> averages(TwoParameters<T>& model, E& ema) {
    const auto swapped = ema.swap_in();
    return model.numbers();
}

}  // namespace

TEST_CASE("averages begin as the weights, and move by the formula, with a warmup or without") {
    for (const bool warmup : {false, true}) {
        TwoParameters<double> model;
        Ema ema{model, {.decay = 0.6, .warmup = warmup}};
        std::vector<double> expected = model.numbers();
        CHECK(averages(model, ema) == expected);
        for (int t = 0; t < 15; ++t) {
            train(model, 1);
            ema.update();
            const double decay = warmup ? std::min(0.6, (1.0 + t) / (10.0 + t)) : 0.6;
            const auto weights = model.numbers(), now = averages(model, ema);
            for (std::size_t i = 0; i < expected.size(); ++i) {
                expected[i] = decay * expected[i] + (1 - decay) * weights[i];
                CHECK(now[i] == doctest::Approx(expected[i]).epsilon(1e-13));
            }
        }
        CHECK(ema.updates() == 15);
    }
}

TEST_CASE(
    "within a scope the model's own memory holds the averages; afterwards the weights are back, bit for "
    "bit") {
    TwoParameters<float> model;
    Ema ema{model, {.decay = 0.5}};
    const auto start = model.numbers();
    train(model, 3);
    const auto weights = model.numbers();
    const auto shared = model.first.value();  // as a model that only runs forward shares it
    const float* memory = shared.data();
    {
        const auto swapped = ema.swap_in();
        CHECK(model.numbers() == start);
        CHECK(support::values(shared)[0] == start[0]);
        CHECK(model.first.data == memory);
        CHECK_THROWS_WITH_AS(ema.update(),
                             "Ema: expected the weights in the model at an update, got the averages", Error);
        CHECK_THROWS_WITH_AS(static_cast<void>(ema.swap_in()),
                             "Ema: expected the weights in the model, got the averages already", Error);
    }
    CHECK(model.numbers() == weights);
    CHECK_NOTHROW(ema.update());
}

TEST_CASE("the state that is visited is all: averages go on with the same bits in a new object") {
    TwoParameters<double> model;
    const EmaOptions options{.decay = 0.9, .warmup = true};
    Ema ema{model, options};
    train(model, 2);
    ema.update();
    Ema resumed{model, options};
    std::map<std::string, std::vector<char>> saved;
    ema.for_each_state([&](std::string_view name, ElementType type, std::int64_t count, void* data) {
        saved[std::string(name)] = support::bytes_of(static_cast<std::size_t>(count) * size_of(type), data);
    });
    CHECK(saved.size() == 3);
    CHECK(saved.at("first.average").size() == 21 * sizeof(double));
    resumed.for_each_state([&](std::string_view name, ElementType, std::int64_t, void* data) {
        support::write_bytes(saved.at(std::string(name)), data);
    });
    train(model, 1);
    ema.update();
    resumed.update();
    CHECK(averages(model, resumed) == averages(model, ema));
    CHECK(resumed.updates() == 2);
}

TEST_CASE("a decay that is none, and elements of another type, are errors") {
    TwoParameters<double> model;
    CHECK_THROWS_WITH_AS((Ema{model, {.decay = 1.5}}), "Ema: expected a decay from 0 to 1, got 1.500000",
                         Error);
    CHECK_THROWS_AS((Ema{model, {.decay = std::nan("")}}), Error);
    CHECK_THROWS_WITH_AS((Ema<float, Device>(std::vector<ParameterBase*>{&model.first})),
                         "Ema: parameter 0: expected elements of type f32, got f64", Error);
}
