// Precisions whose weights have 16 bits: with a master copy of 32, and without one but with stochastic
// rounding.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "given_gradients.hpp"

using namespace tenon;
using support::Device, support::GivenGradients, support::State, support::state_of;

namespace {

template <class Optimizer>
std::vector<double> masters_of(Optimizer& optimizer) {
    std::vector<double> result;
    optimizer.for_each_state([&](std::string_view name, ElementType, std::int64_t count, void* data) {
        if (!name.ends_with(".master")) return;
        std::vector<float> numbers(static_cast<std::size_t>(count));
        Memory<Device>::copy(static_cast<const float*>(data), count, numbers.data());
        result.insert(result.end(), numbers.begin(), numbers.end());
    });
    return result;
}

/// What the optimizer changes: master copies, and the parameter that is one itself.
template <class Optimizer, class Problem>
std::vector<double> masters_of(Optimizer& optimizer, const Problem& problem) {
    std::vector<double> result = masters_of(optimizer);
    support::append(result, problem.norm.value());
    return result;
}

/// The parameters that go with such numbers.
template <class P>
std::vector<double> rounded(std::vector<double> numbers) {
    const std::size_t count = numbers.size() - static_cast<std::size_t>(GivenGradients<P>().norm.size());
    for (std::size_t i = 0; i < count; ++i)
        numbers[i] = convert<double>(convert<typename P::storage>(static_cast<float>(numbers[i])));
    return numbers;
}

/// Calls run(make), where make(problem) is an optimizer for it, which computes in 32 bits.
template <class Run>
void for_each_exact_optimizer(Run&& run) {
    run([](auto& problem) { return AdamW{problem, {.rate = 1e-3}}; });
    run([](auto& problem) { return SGD{problem, {.rate = 1e-3}}; });
    run([](auto& problem) { return SGD{problem, {.rate = 1e-3, .momentum = 0.9, .nesterov = true}}; });
    run([](auto& problem) { return Lion{problem, {.rate = 1e-3}}; });
    run([](auto& problem) { return Adafactor{problem}; });
}

template <class Run>
void for_each_optimizer(Run&& run) {
    for_each_exact_optimizer(run);
    run([](auto& problem) { return Muon{problem}; });
}

template <class P>
void check_masters() {
    for_each_exact_optimizer([](auto make) {
        GivenGradients<F32> exact;
        GivenGradients<P> mixed;
        auto first = make(exact);
        auto second = make(mixed);
        // The losses here are of f16, too, and so may their gradients be.
        if constexpr (decltype(second)::has_loss_scale) second.set_loss_scaling({.scale = 1024});
        exact.train(first, 0, 12);
        mixed.train(second, 0, 12);
        CHECK(masters_of(second, mixed) == exact.numbers());
        CHECK(mixed.numbers() == rounded<P>(exact.numbers()));
    });
}

template <class Model, class Expected>
constexpr bool makes = std::same_as<decltype(AdamW{std::declval<Model&>()}), Expected>;
static_assert(makes<GivenGradients<F32>, AdamW<float, float, Device>>);
static_assert(makes<GivenGradients<MixedBf16>, AdamW<bf16, float, Device, float>>);
static_assert(makes<GivenGradients<PureBf16>, AdamW<bf16, float, Device, bf16>>);
static_assert(makes<GivenGradients<MixedF16>, AdamW<f16, float, Device, float>>);

/// 10,000 weights of 1, from which each of `steps` steps takes `change`.
std::vector<double> after_small_steps(float change, int steps, Seed seed) {
    Parameter<bf16, Shape<10'000>, Device> weights(Tensor<bf16, Shape<10'000>, Device>::filled(bf16(1.0f)));
    SGD<bf16, float, Device> optimizer(std::vector<ParameterBase*>{&weights}, {.rate = change});
    optimizer.seed = seed;
    for (int step = 0; step < steps; ++step) {
        backward(sum(weights));
        optimizer.step();
    }
    return support::values(weights.value());
}

}  // namespace

TEST_CASE("master copies take the very steps of f32; the weights are the copies, rounded") {
    check_masters<MixedBf16>();
    check_masters<MixedF16>();
}

TEST_CASE(
    "Muon's steps of master copies are close to those of f32: a GPU works out their directions in bf16") {
    GivenGradients<F32> exact;
    GivenGradients<MixedBf16> mixed;
    Muon first{exact};
    Muon second{mixed};
    exact.train(first, 0, 12);
    mixed.train(second, 0, 12);
    const std::vector<double> expected = exact.numbers(), got = masters_of(second, mixed);
    double worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, std::abs(got[i] - expected[i]));
    CHECK(worst < 1e-3);
    CHECK(mixed.numbers() == rounded<MixedBf16>(got));
}

TEST_CASE("master copies are state, named after their parameters, and begin as the weights") {
    GivenGradients<MixedBf16> problem;
    SGD optimizer{problem};
    const auto start = problem.numbers();
    State state = state_of(optimizer);
    CHECK(state.size() == 1 + 3 * 2 + 1);
    CHECK(state.at("matrix.master").size() == 63 * sizeof(float));
    CHECK(masters_of(optimizer, problem) == start);
}

TEST_CASE(
    "a parameter of the masters' type is its own: steps change it in place, and nothing is kept beside it") {
    GivenGradients<MixedBf16> problem;
    const void* const memory = problem.norm.data;
    const std::size_t before = Memory<Device>::used_bytes();
    SGD<bf16, float, Device, float> optimizer(std::vector<ParameterBase*>{&problem.norm}, {.rate = 1e-3});
    CHECK(state_of(optimizer).count("0.master") == 0);
    if (support::is_cpu) CHECK(Memory<Device>::used_bytes() == before);
    const auto start = support::values(problem.norm.value());
    backward(sum(problem.norm));
    optimizer.step();
    CHECK(problem.norm.data == memory);
    const auto moved = support::values(problem.norm.value());
    for (std::size_t i = 0; i < start.size(); ++i)
        CHECK(moved[i] == static_cast<double>(static_cast<float>(start[i]) - 1e-3f));
    // What is loaded needs not be read.
    support::assign(problem.norm, std::vector(13, 5.0f));
    backward(sum(problem.norm));
    optimizer.step();
    CHECK(support::values(problem.norm.value())[12] == static_cast<double>(5.0f - 1e-3f));
}

TEST_CASE("elements of another type than the model's two are an error that names both") {
    Parameter<double, Shape<3>, Device> wide(Role::gain);
    CHECK_THROWS_WITH_AS((SGD<bf16, float, Device, float>(std::vector<ParameterBase*>{&wide})),
                         "SGD: parameter 0: expected elements of type bf16 or f32, got f64", Error);
    CHECK_THROWS_WITH_AS((Ema<bf16, Device>(std::vector<ParameterBase*>{&wide})),
                         "Ema: parameter 0: expected elements of type bf16 or f32, got f64", Error);
}

TEST_CASE("written into a new optimizer, the state goes on with the same bits") {
    const auto check = [](auto problem_of) {
        for_each_optimizer([&](auto make) {
            auto undisturbed = problem_of(), interrupted = problem_of();
            auto optimizer = make(undisturbed), before = make(interrupted);
            undisturbed.train(optimizer, 0, 6);
            interrupted.train(before, 0, 3);
            const State saved = state_of(before);
            auto resumed = make(interrupted);
            support::set_state(resumed, saved);
            interrupted.train(resumed, 3, 6);
            CHECK(interrupted.numbers() == undisturbed.numbers());
            CHECK(state_of(resumed) == state_of(optimizer));
        });
    };
    check([] { return GivenGradients<MixedBf16>(); });
    check([] { return GivenGradients<PureBf16>(); });
}

TEST_CASE(
    "weights that are loaded before the first step are the copies' beginning, later ones when they are "
    "read") {
    GivenGradients<MixedBf16> problem;
    SGD optimizer{problem, {.rate = 0x1p-10}};
    const auto set = [&](float value) { support::assign(problem.gain, std::vector(35, bf16(value))); };
    const auto master = [&] { return masters_of(optimizer).back(); };
    set(3);
    problem.train(optimizer, 0, 1);
    CHECK(master() == doctest::Approx(3).epsilon(1e-3));
    CHECK(master() != 3);
    set(5);
    optimizer.read_weights();
    CHECK(master() == 5);
}

TEST_CASE("stochastic rounding goes to one of the two neighbours, by its 16 random bits") {
    const float below = 1, above = 1 + 0x1p-7f, quarter = 1 + 0x1p-9f;
    CHECK(float(round_stochastically(below, 0xffff)) == below);
    CHECK(float(round_stochastically(quarter, 0xbfff)) == below);
    CHECK(float(round_stochastically(quarter, 0xc000)) == above);
    CHECK(float(round_stochastically(-quarter, 0xbfff)) == -below);
    CHECK(float(round_stochastically(-quarter, 0xc000)) == -above);
    CHECK(float(round_stochastically(HUGE_VALF, 0xffff)) == HUGE_VALF);
    CHECK(float(round_stochastically(-HUGE_VALF, 0xffff)) == -HUGE_VALF);
    CHECK(std::isnan(float(round_stochastically(std::nanf(""), 0xffff))));
    int up = 0;
    for (std::uint32_t random = 0; random < 0x10000; ++random)
        up += float(round_stochastically(quarter, random)) == above;
    CHECK(up == 0x4000);
}

TEST_CASE("without a master copy, steps too small for the weights' digits arrive in the mean") {
    // Each step rounds up with a probability of 1/16; below 1 the neighbours lie 2^-8 apart.
    const std::vector<double> weights = after_small_steps(0x1p-12f, 1, seed(1));
    const auto moved = std::count(weights.begin(), weights.end(), 1 - 0x1p-8);
    CHECK(moved + std::count(weights.begin(), weights.end(), 1.0) == 10'000);
    CHECK(std::abs(static_cast<double>(moved) - 625) < 5 * std::sqrt(625 * 15.0 / 16));
    double sum = 0;
    for (const double x : after_small_steps(0x1p-12f, 64, seed(1))) sum += x;
    CHECK(sum / 10'000 == doctest::Approx(1 - 0x1p-6).epsilon(1e-3));
}

TEST_CASE("how it rounds differs by seed, step and element, and by nothing else") {
    const auto one = after_small_steps(0x1p-9f, 1, seed(1));
    CHECK(after_small_steps(0x1p-9f, 1, seed(1)) == one);
    CHECK(after_small_steps(0x1p-9f, 1, seed(2)) != one);
    CHECK(support::same_for_any_thread_count([] { return after_small_steps(0x1p-9f, 3, seed(1)); }));
    // Were steps alike, no weight would have moved once only.
    const auto two = after_small_steps(0x1p-9f, 2, seed(1));
    CHECK(std::count(two.begin(), two.end(), 1 - 0x1p-8) > 4'000);
    // Neighbouring elements are independent: about a quarter of the pairs move together.
    int together = 0;
    for (std::size_t i = 0; i < one.size(); i += 2) together += one[i] != 1 && one[i + 1] != 1;
    CHECK(std::abs(together - 1250) < 5 * 31);
    // Two parameters of one optimizer, too, are rounded apart.
    Parameter<bf16, Shape<1000>, Device> a(Tensor<bf16, Shape<1000>, Device>::filled(bf16(1.0f))),
        b(Tensor<bf16, Shape<1000>, Device>::filled(bf16(1.0f)));
    SGD<bf16, float, Device> optimizer(std::vector<ParameterBase*>{&a, &b}, {.rate = 0x1p-9});
    backward(Tensor(sum(a) + sum(b)));
    optimizer.step();
    CHECK(support::values(a.value()) != support::values(b.value()));
}

TEST_CASE("the numbers that it rounds by are those of Philox for seed, parameter and step, and element") {
    GivenGradients<PureBf16> problem;
    GivenGradients<F32> exact;
    SGD first{problem, {.rate = 1e-3}};
    SGD second{exact, {.rate = 1e-3}};
    first.seed = seed(7);
    problem.train(first, 0, 1);
    exact.train(second, 0, 1);
    const auto expected = support::values(exact.stack.value()), got = support::values(problem.stack.value());
    const Philox random(seed(7), std::uint64_t{1} << 40 | 1);
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const std::uint32_t word = random(i / 8).word[i % 8 / 2], bits = i % 2 ? word >> 16 : word & 0xffff;
        CHECK(got[i] == convert<double>(round_stochastically(static_cast<float>(expected[i]), bits)));
    }
}

TEST_CASE(
    "averages of 16-bit weights have 32 bits; in the model they are rounded, and the weights come back") {
    GivenGradients<MixedBf16> problem;
    Ema ema{problem, {.decay = 0.999}};
    const auto averages = [&](const char* name = "gain.average") {
        const std::vector<char> bytes = support::state_of(ema).at(name);
        std::vector<float> numbers(bytes.size() / sizeof(float));
        std::memcpy(numbers.data(), bytes.data(), bytes.size());
        return numbers;
    };
    const std::vector<float> start = averages();
    support::assign(problem.gain, std::vector(35, bf16(2.0f)));
    support::assign(problem.norm, std::vector(13, 3.001f));
    for (int step = 0; step < 3; ++step) ema.update();
    const std::vector<float> now = averages(), norm = averages("norm.average");
    const auto weights = problem.numbers();
    for (std::size_t i = 0; i < start.size(); ++i)
        CHECK(now[i] == doctest::Approx(2 + std::pow(0.999, 3) * (start[i] - 2)).epsilon(1e-6));
    {
        const auto swapped = ema.swap_in();
        const auto shown = support::values(problem.gain.value());
        for (std::size_t i = 0; i < now.size(); ++i) CHECK(shown[i] == convert<double>(bf16(now[i])));
        CHECK(support::elements<float>(problem.norm) == norm);  // it has 32 bits in the model, too
        CHECK(norm[0] != 3.001f);
    }
    CHECK(problem.numbers() == weights);
    CHECK(averages() == now);
}
