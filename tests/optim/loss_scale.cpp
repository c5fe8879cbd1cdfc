// Weights in f16, whose gradients are those of a scaled loss.

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "given_gradients.hpp"

using namespace tenon;
using support::Device, support::GivenGradients, support::state_of;

namespace {

/// The losses here are of f16, too, and so may their gradients be.
template <class Optimizer>
Optimizer scaled(Optimizer optimizer) {
    if constexpr (Optimizer::has_loss_scale) optimizer.set_loss_scaling({.scale = 1024});
    return optimizer;
}

/// Calls run(make), where make(problem) is an optimizer for it.
template <class Run>
void for_each_optimizer(Run&& run) {
    run([](auto& problem) { return scaled(AdamW{problem, {.rate = 1e-2}}); });
    run([](auto& problem) { return scaled(SGD{problem, {.rate = 1e-2, .momentum = 0.9}}); });
    run([](auto& problem) { return scaled(Adafactor{problem}); });
    run([](auto& problem) { return scaled(Muon{problem}); });
}

/// A backward pass that makes gradients beyond f32's range.
template <class Problem, class Optimizer>
void overflow(Problem& problem, Optimizer& optimizer, int step) {
    optimizer.backward(problem.loss(step), 1e38);
}

}  // namespace

TEST_CASE("the scale is undone: clipped or not, steps are those of an unscaled loss") {
    for_each_optimizer([](auto make) {
        for (const double maximum : {0.0, 0.5, 100.0}) {
            GivenGradients<MixedBf16> plain;
            GivenGradients<MixedF16> scaled;
            auto first = make(plain);
            auto second = make(scaled);
            for (int step = 0; step < 3; ++step) {
                first.backward(plain.loss(step));
                second.backward(scaled.loss(step));
                CHECK(support::values(scaled.gain.accumulated_gradient())[3] ==
                      1024 * support::values(plain.gain.accumulated_gradient())[3]);
                if (maximum > 0)
                    CHECK(second.clip(maximum) == doctest::Approx(first.clip(maximum)).epsilon(1e-7));
                first.step();
                second.step();
            }
            CHECK(support::worst_error(scaled.stack.value(), support::values(plain.stack.value())) < 0x1p-8);
            const auto expected = state_of(first), got = state_of(second);
            CHECK(got.at("gain.steps") == expected.at("gain.steps"));
            CHECK(got.size() == expected.size() + 2);
        }
    });
}

TEST_CASE("a step whose gradients are not finite is left out, and not counted; the scale falls") {
    for_each_optimizer([](auto make) {
        GivenGradients<MixedF16> disturbed, undisturbed;
        auto first = make(disturbed), second = make(undisturbed);
        for (const int step : {1, 2, 3, 4}) {
            if (step == 1 || step == 3) {
                auto before = state_of(first);
                const auto numbers = disturbed.numbers();
                overflow(disturbed, first, step);
                if (step == 3) CHECK(first.clip(1) == HUGE_VAL);
                first.step();
                auto after = state_of(first);
                CHECK(disturbed.numbers() == numbers);
                for (auto* state : {&before, &after}) {
                    state->erase("loss_scale");
                    state->erase("loss_scale_age");
                    state->erase("steps");
                }
                CHECK(after == before);
                CHECK_FALSE(disturbed.gain.gradient->written);
            }
            disturbed.train(first, step, step + 1);
            undisturbed.train(second, step, step + 1);
        }
        CHECK(first.steps() == 6);
        CHECK(static_cast<double>(first.loss_scale()) == 256);
        CHECK(static_cast<double>(second.loss_scale()) == 1024);
        CHECK(disturbed.numbers() == undisturbed.numbers());
    });
}

TEST_CASE("the scale grows after some finite steps in a row, as PyTorch's does") {
    GivenGradients<MixedF16> problem;
    SGD optimizer{problem};
    optimizer.set_loss_scaling({.scale = 8, .growth = 4, .backoff = 0.25, .interval = 3});
    // torch.amp.GradScaler(init_scale=8, growth_factor=4, backoff_factor=0.25, growth_interval=3)
    const std::vector<bool> finite{true, true, true, true, false, true, true, true, true, true, true};
    const std::vector<double> expected{8, 8, 32, 32, 8, 8, 8, 32, 32, 32, 128};
    for (std::size_t i = 0; i < finite.size(); ++i) {
        if (finite[i])
            optimizer.backward(problem.loss(1));
        else
            overflow(problem, optimizer, 1);
        optimizer.step();
        CHECK(static_cast<double>(optimizer.loss_scale()) == expected[i]);
    }
}

TEST_CASE("it is state: a new optimizer goes on with it") {
    GivenGradients<MixedF16> undisturbed, interrupted;
    auto make = [](auto& problem) {
        AdamW optimizer{problem};
        optimizer.set_loss_scaling({.scale = 4, .interval = 2});
        return optimizer;
    };
    auto optimizer = make(undisturbed), before = make(interrupted);
    undisturbed.train(optimizer, 0, 5);
    interrupted.train(before, 0, 3);
    const auto saved = state_of(before);
    auto resumed = make(interrupted);
    support::set_state(resumed, saved);
    interrupted.train(resumed, 3, 5);
    CHECK(interrupted.numbers() == undisturbed.numbers());
    CHECK(state_of(resumed) == state_of(optimizer));
    CHECK(static_cast<double>(resumed.loss_scale()) == 16);
}
