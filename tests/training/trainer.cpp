#include "tenon/training/trainer.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include "../nn/model.hpp"

using namespace tenon;
using support::Device;

namespace {

using Model = Transformer<support::Small, Device, F64>;
struct Dropping : support::Small {
    static constexpr double dropout = 0.25;
};
using Batches = RandomBatches<2, 5, std::uint16_t>;

std::vector<std::uint16_t> some_tokens() {
    std::vector<std::uint16_t> tokens;
    for (int i = 0; i < 200; ++i) tokens.push_back(static_cast<std::uint16_t>((i * i + 3 * i) % 11));
    return tokens;
}

double rate_of(std::int64_t step) { return 0.01 / static_cast<double>(1 + step); }

template <class M>
std::vector<double> values_of(M& model) {
    std::vector<double> result;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        const auto values = support::elements<double>(parameter);
        result.insert(result.end(), values.begin(), values.end());
    });
    return result;
}

/// What training finds, step by step, and leaves.
struct Outcome {
    std::vector<double> losses, norms, rates, parameters;
    std::vector<std::int64_t> steps;

    void add(const std::optional<StepReport>& report) {
        if (!report) return;
        losses.push_back(report->loss);
        norms.push_back(report->gradient_norm);
        rates.push_back(report->rate);
        steps.push_back(report->step);
    }
};

Outcome trained(int steps, const TrainerOptions& options) {
    const auto tokens = some_tokens();
    const Batches batches(tokens, seed(2));
    Trainable<Model> model{seed(1)};
    AdamW optimizer{model, {.decay = 0.1}};
    Trainer trainer(model, optimizer, batches, options);
    Outcome outcome;
    for (int step = 0; step < steps; ++step) {
        optimizer.rate = rate_of(step);
        trainer.step(step);
        outcome.add(trainer.report());
    }
    outcome.add(trainer.last_report());
    outcome.parameters = values_of(model);
    return outcome;
}

/// The same, each thing as it is.
Outcome trained_by_hand(int steps, int accumulate, double largest_norm) {
    const auto tokens = some_tokens();
    const Batches batches(tokens, seed(2));
    Trainable<Model> model{seed(1)};
    AdamW optimizer{model, {.decay = 0.1}};
    Outcome outcome;
    for (int step = 0; step < steps; ++step) {
        optimizer.rate = rate_of(step);
        const double loss = accumulate_gradients(accumulate, [&](int part) {
            const auto [inputs, targets] = batches(accumulate * step + part);
            return cross_entropy(model(to_device<Device>(inputs)), to_device<Device>(targets));
        });
        const double norm = optimizer.clip(largest_norm);
        optimizer.step();
        outcome.add(StepReport{step, optimizer.rate, loss, norm});
    }
    outcome.parameters = values_of(model);
    return outcome;
}

}  // namespace

TEST_CASE("a step is the passes of its batches, clipping and the optimizer's update") {
    for (const int accumulate : {1, 3}) {
        const Outcome expected = trained_by_hand(6, accumulate, 0.5);
        for (const bool replays : {false, true}) {
            const Outcome outcome =
                trained(6, {.accumulate = accumulate, .largest_norm = 0.5, .replays = replays});
            CHECK(outcome.steps == expected.steps);
            CHECK(outcome.rates == expected.rates);
            CHECK(outcome.norms == expected.norms);
            CHECK(outcome.parameters == expected.parameters);
            REQUIRE(outcome.losses.size() == 6);
            for (std::size_t i = 0; i < 6; ++i)
                CHECK(outcome.losses[i] == doctest::Approx(expected.losses[i]).epsilon(1e-14));
        }
    }
}

TEST_CASE("each batch drops out by its number, replayed or not") {
    const auto tokens = some_tokens();
    const Batches batches(tokens, seed(2));
    using Random = Transformer<Dropping, Device, F64>;
    const auto train = [&](const auto& step) {
        Trainable<Random> model{seed(1)};
        AdamW optimizer{model, {.rate = 0.01}};
        step(model, optimizer);
        return values_of(model);
    };
    const std::vector<double> expected = train([&](auto& model, auto& optimizer) {
        for (int step = 0; step < 4; ++step) {
            accumulate_gradients(2, [&](int part) {
                const auto [inputs, targets] = batches(2 * step + part);
                const DropoutKey key{seed(9), static_cast<std::uint64_t>(2 * step + part)};
                return cross_entropy(model(to_device<Device>(inputs), key), to_device<Device>(targets));
            });
            optimizer.clip(1);
            optimizer.step();
        }
    });
    CHECK(expected == train([&](auto& model, auto& optimizer) {
              Trainer trainer(model, optimizer, batches, {.accumulate = 2, .seed = seed(9)});
              for (int step = 0; step < 4; ++step) trainer.step(step);
          }));
}

TEST_CASE("reports that nobody asks for are forgotten") {
    const auto tokens = some_tokens();
    const Batches batches(tokens, seed(2));
    Trainable<Model> model{seed(1)};
    AdamW optimizer{model};
    Trainer trainer(model, optimizer, batches);
    CHECK_FALSE(trainer.last_report());
    for (int step = 0; step < 5; ++step) trainer.step(step);
    const auto report = trainer.last_report();
    REQUIRE(report);
    // A GPU's came a step late, and its last but one had not been asked for.
    CHECK(report->step >= 3);
    while (trainer.last_report()) {
    }
    CHECK_FALSE(trainer.report());
}

TEST_CASE("a host's step whose norm is not finite changes no parameter") {
    if constexpr (std::is_same_v<Device, Cpu>) {
        const auto tokens = some_tokens();
        const Batches batches(tokens, seed(2));
        Trainable<Model> model{seed(1)};
        AdamW optimizer{model};
        Trainer trainer(model, optimizer, batches);
        auto values = support::elements<double>(model.embedding);
        values[0] = std::numeric_limits<double>::infinity();
        support::assign(model.embedding, values);
        const std::vector<double> before = values_of(model);
        trainer.step(0);
        const auto report = trainer.report();
        REQUIRE(report);
        CHECK_FALSE(report->is_finite());
        CHECK(values_of(model) == before);
    }
}

TEST_CASE("a trainer takes at least one batch a step, and balances mixtures of experts alone") {
    const auto tokens = some_tokens();
    const Batches batches(tokens, seed(2));
    Trainable<Model> model{seed(1)};
    AdamW optimizer{model};
    CHECK_THROWS_AS(Trainer(model, optimizer, batches, {.accumulate = 0}), Error);
    CHECK_THROWS_WITH_AS(Trainer(model, optimizer, batches, {.routing = {.balance = 0.01}}),
                         "trainer: expected a model with mixtures of experts to balance, got one without",
                         Error);
}

TEST_CASE("a loader hands out the batches as they are, one after the other") {
    const auto tokens = some_tokens();
    const Batches batches(tokens, seed(4));
    Loader<Batches, Device> loader(batches);
    for (std::int64_t step = 0; step < 9; ++step) {
        const auto& [inputs, targets] = loader(step);
        const auto [expected_inputs, expected_targets] = batches(step);
        CHECK(to_device<Cpu>(inputs) == expected_inputs);
        CHECK(to_device<Cpu>(targets) == expected_targets);
    }
    CHECK_THROWS_AS(loader(-1), Error);
}
