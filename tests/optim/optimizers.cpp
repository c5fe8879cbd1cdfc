// Every optimizer against PyTorch's, or its published formula (make_optimizer_values.py), and what holds for
// all of them alike.

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <string>

#include <doctest/doctest.h>

#include "noisy_problem.hpp"
#include "optimizer_values.hpp"

using namespace tenon;
using support::Device;
using support::NoisyProblem;
namespace expected = support::expected;

namespace {

constexpr SGDOptions plain{.rate = 0.05, .decay = 0.1};
constexpr SGDOptions momentum{.rate = 0.05, .momentum = 0.8, .decay = 0.1};
constexpr SGDOptions nesterov{.rate = 0.05, .momentum = 0.8, .nesterov = true, .decay = 0.1};
constexpr LionOptions lion{.rate = 0.02, .beta1 = 0.9, .beta2 = 0.95, .decay = 0.3};
constexpr AdamWOptions adamw{.rate = 0.01, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .decay = 0.2};
constexpr AdamWOptions adamw_defaults{.rate = 0.1};
constexpr AdafactorOptions adafactor_torch{.rate = 0.8, .decay = 0.1, .relative_step = true};
constexpr AdafactorOptions adafactor_hugging_face{.rate = 0.05, .decay = 0.1, .scale_by_parameter = false};
constexpr MuonOptions muon_like_adamw{.rate = 0.05, .momentum = 0.9};
constexpr MuonOptions muon_spectral{.rate = 0.05, .momentum = 0.9, .scale = MuonScale::spectral};

Treatment gain_apart(std::string_view name, const ParameterBase& parameter) {
    Treatment treatment = decay_matrices_only(name, parameter);
    if (name == "gain") treatment.rate = 2;
    return treatment;
}

template <class T>
double worst_difference(const NoisyProblem<T>& problem, std::span<const double> exact) {
    const std::vector<double> now = problem.numbers();
    REQUIRE(now.size() == exact.size());
    double worst = 0;
    for (std::size_t i = 0; i < now.size(); ++i)
        if (const double error = std::abs(now[i] - exact[i]); !(error <= worst)) worst = error;
    return worst;
}

/// Calls run(make, exact), where make(problem) is an optimizer for it, for every optimizer here.
template <class Run>
void for_each_optimizer(Run&& run) {
    run([](auto& problem) { return SGD{problem, plain}; }, expected::sgd);
    run([](auto& problem) { return SGD{problem, momentum}; }, expected::sgd_momentum);
    run([](auto& problem) { return SGD{problem, nesterov}; }, expected::sgd_nesterov);
    run([](auto& problem) { return Lion{problem, lion}; }, expected::lion);
    run([](auto& problem) { return AdamW{problem, adamw, gain_apart}; }, expected::adamw_groups);
    run([](auto& problem) { return Adafactor{problem, adafactor_torch}; }, expected::adafactor_torch);
    run(
        [](auto& problem) {
            return Adafactor{problem, adafactor_hugging_face};
        },
        expected::adafactor_hugging_face);
    run([](auto& problem) { return Muon{problem, muon_like_adamw}; }, expected::muon_like_adamw);
    run([](auto& problem) { return Muon{problem, muon_spectral}; }, expected::muon_spectral);
}

/// The state of an optimizer, by name; all of it is of f64 or i64.
template <class Optimizer>
std::map<std::string, std::vector<char>> state_of(Optimizer& optimizer) {
    std::map<std::string, std::vector<char>> result;
    optimizer.for_each_state([&](std::string_view name, ElementType type, std::int64_t count, void* data) {
        result[std::string(name)] = support::bytes_of(static_cast<std::size_t>(count) * size_of(type), data);
    });
    return result;
}

template <class Optimizer>
std::vector<std::string> state_names(Optimizer&& optimizer) {
    std::vector<std::string> names;
    optimizer.for_each_state([&](std::string_view name, ElementType type, std::int64_t count, void*) {
        names.push_back(std::string(name) + ' ' + std::string(name_of(type)) + ' ' + std::to_string(count));
    });
    return names;
}

}  // namespace

TEST_CASE("30 steps of each optimizer end where PyTorch's do, in f64 to the last digits and in f32 to its") {
    for_each_optimizer([](auto make, std::span<const double> exact) {
        NoisyProblem<double> wide;
        auto first = make(wide);
        wide.train(first, 30);
        CHECK(worst_difference(wide, exact) < 1e-12);
        NoisyProblem<float> narrow;
        auto second = make(narrow);
        narrow.train(second, 30);
        CHECK(worst_difference(narrow, exact) < 4e-6);
    });
}

TEST_CASE("1000 steps of AdamW in f32 stay within 1e-4 of PyTorch's in f64") {
    NoisyProblem<float> problem;
    AdamW optimizer{problem, adamw_defaults};
    problem.train(optimizer, 1000);
    CHECK(worst_difference(problem, expected::adamw_1000) < 1e-4);
}

TEST_CASE("each optimizer lowers the loss") {
    for_each_optimizer([](auto make, auto&) {
        NoisyProblem<float> problem;
        auto optimizer = make(problem);
        const double before = problem.loss(0).item();
        for (int step = 0; step < 100; ++step) {
            backward(problem.loss(0));
            optimizer.step();
        }
        // The least loss is minus half the sum of squares of the noise.
        double least = 0;
        for (std::uint32_t k = 1; const int count : {15, 21, 24, 5}) {
            support::Numbers noise(k++);
            for (int i = 0; i < count; ++i) {
                const double x = noise();
                least -= x * x / 2;
            }
        }
        CHECK(problem.loss(0).item() - least < 0.15 * (before - least));
    });
}

TEST_CASE(
    "what for_each_state visits is all but the rate: written into a new optimizer, the run goes on with the "
    "same bits") {
    for_each_optimizer([](auto make, auto&) {
        NoisyProblem<double> undisturbed, interrupted;
        auto optimizer = make(undisturbed), before = make(interrupted);
        undisturbed.train(optimizer, 5);
        interrupted.train(before, 5);
        auto saved = state_of(before);
        auto resumed = make(interrupted);
        resumed.for_each_state([&](std::string_view name, ElementType, std::int64_t, void* data) {
            support::write_bytes(saved.at(std::string(name)), data);
        });
        resumed.rate = optimizer.rate = 0.017;
        CHECK(resumed.steps() == 5);
        undisturbed.train(optimizer, 3);
        interrupted.train(resumed, 3);
        CHECK(interrupted.numbers() == undisturbed.numbers());
        CHECK(state_of(resumed) == state_of(optimizer));
    });
}

TEST_CASE("state is named after parameters, in a fixed order") {
    NoisyProblem<float> problem;
    CHECK(state_names(AdamW{problem}) ==
          std::vector<std::string>{
              "steps i64 1", "wide.steps i64 1", "wide.first_moment f32 15", "wide.second_moment f32 15",
              "tall.steps i64 1", "tall.first_moment f32 21", "tall.second_moment f32 21",
              "stack.steps i64 1", "stack.first_moment f32 24", "stack.second_moment f32 24",
              "gain.steps i64 1", "gain.first_moment f32 5", "gain.second_moment f32 5"});
    CHECK(state_names(SGD{problem}) == std::vector<std::string>{"steps i64 1", "wide.steps i64 1",
                                                                "tall.steps i64 1", "stack.steps i64 1",
                                                                "gain.steps i64 1"});
    CHECK(state_names(SGD{problem, momentum})[2] == "wide.momentum f32 15");
    CHECK(state_names(Lion{problem})[2] == "wide.momentum f32 15");
    // A number for each row and each column; a vector has a moment of its own shape.
    CHECK(state_names(Adafactor{problem}) ==
          std::vector<std::string>{"steps i64 1", "wide.steps i64 1", "wide.row_moment f32 3",
                                   "wide.column_moment f32 5", "tall.steps i64 1", "tall.row_moment f32 7",
                                   "tall.column_moment f32 3", "stack.steps i64 1", "stack.row_moment f32 6",
                                   "stack.column_moment f32 8", "gain.steps i64 1",
                                   "gain.second_moment f32 5"});
    CHECK(state_names(Muon{problem}) ==
          std::vector<std::string>{"steps i64 1", "wide.steps i64 1", "wide.momentum f32 15",
                                   "tall.steps i64 1", "tall.momentum f32 21", "stack.steps i64 1",
                                   "stack.momentum f32 24", "gain.steps i64 1", "gain.first_moment f32 5",
                                   "gain.second_moment f32 5"});
    AdamW<float, float, Device> bare(std::vector<ParameterBase*>{&problem.gain, &problem.wide});
    CHECK(state_names(bare)[2] == "0.first_moment f32 5");
    CHECK(state_names(bare)[5] == "1.first_moment f32 15");
}

TEST_CASE("Adafactor's sums go over all rows of a matrix, and of each of a stack") {
    constexpr int count = 2, rows = 150, columns = 37;
    Parameter<double, Shape<count, rows, columns>, Device> stack(
        support::numbers<double, Shape<count, rows, columns>>(1));
    Adafactor<double, double, Device> optimizer(std::vector<ParameterBase*>{&stack},
                                                {.rate = 0.1, .scale_by_parameter = false});
    // At the first update the moments are the gradient's alone, which is the parameter.
    const std::vector<double> g = support::values(stack.value());
    std::vector<double> direction(g.size());
    double square = 0;
    for (int matrix = 0; matrix < count; ++matrix) {
        const auto at = [&](int i, int j) {
            return static_cast<std::size_t>((matrix * rows + i) * columns + j);
        };
        std::vector<double> row(rows), column(columns);
        double all = 0;
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < columns; ++j) {
                const double x = g[at(i, j)] * g[at(i, j)];
                row[static_cast<std::size_t>(i)] += x / columns;
                column[static_cast<std::size_t>(j)] += x / rows;
                all += x / (rows * columns);
            }
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < columns; ++j) {
                const double moment =
                    row[static_cast<std::size_t>(i)] * column[static_cast<std::size_t>(j)] / all;
                direction[at(i, j)] = g[at(i, j)] / std::sqrt(moment);
                square += direction[at(i, j)] * direction[at(i, j)];
            }
    }
    const double clipped = std::max(1.0, std::sqrt(square / static_cast<double>(g.size())));
    backward(Tensor(sum(tenon::square(stack)) / 2.0));
    optimizer.step();
    CHECK(support::worst_error(stack.value(), [&](std::int64_t i) {
              const auto n = static_cast<std::size_t>(i);
              return g[n] - 0.1 * direction[n] / clipped;
          }) < 1e-13);
}

TEST_CASE("Muon: a gradient of zeros makes no step") {
    Parameter<float, Shape<3, 4>, Device> matrix(support::numbers<float, Shape<3, 4>>(1));
    Muon<float, float, Device> optimizer(std::vector<ParameterBase*>{&matrix}, {.decay = 0});
    const auto before = support::values(matrix.value());
    backward(Tensor(sum(matrix * 0.0f)));
    optimizer.step();
    CHECK(support::values(matrix.value()) == before);
}

TEST_CASE("every kernel has the same bits for any number of threads") {
    const auto run = [](auto make) {
        return support::same_for_any_thread_count([&] {
            // Long enough for several threads, and for blocks that are not whole.
            Parameter<float, Shape<dyn, dyn>, Device> matrix(
                support::numbers<float, Shape<dyn, dyn>>(1, 397, 251));
            Parameter<float, Shape<dyn>, Device> vector(support::numbers<float, Shape<dyn>>(2, 70'001),
                                                        Role::gain);
            auto optimizer = make(std::vector<ParameterBase*>{&matrix, &vector});
            for (int step = 0; step < 2; ++step) {
                backward(Tensor(sum(square(matrix)) + sum(square(vector))));
                optimizer.clip(1);
                optimizer.step();
            }
            std::vector<double> result = support::values(matrix.value());
            support::append(result, vector.value());
            return result;
        });
    };
    using List = std::vector<ParameterBase*>;
    CHECK(run([](const List& list) { return AdamW<float, float, Device>(list); }));
    CHECK(run([](const List& list) { return SGD<float, float, Device>(list, nesterov); }));
    CHECK(run([](const List& list) { return SGD<float, float, Device>(list, plain); }));
    CHECK(run([](const List& list) { return Lion<float, float, Device>(list); }));
    CHECK(run([](const List& list) { return Adafactor<float, float, Device>(list); }));
    CHECK(run([](const List& list) { return Muon<float, float, Device>(list); }));
}

TEST_CASE("an option that makes no sense is an error") {
    NoisyProblem<float> problem;
    CHECK_THROWS_WITH_AS((SGD{problem, {.nesterov = true}}), "SGD: expected a momentum with nesterov, got 0",
                         Error);
    CHECK_THROWS_WITH_AS((Muon{problem, {.iterations = 0}}),
                         "Muon: expected at least 1 iteration of Newton and Schulz, got 0", Error);
}
