// Groups of parameters: which decay, which have a rate of their own, which are frozen.

#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include "two_parameters.hpp"

using namespace tenon;
using support::Device;
using support::TwoParameters;

// In a namespace with a name: nvcc would take a member for unused that only a requirement reads.
namespace roles {

/// A parameter for each role that a rule may meet.
struct Roles {
    using Value = double;
    using Gradient = double;
    using Device = support::Device;
    static constexpr bool is_tracked = true;

    Parameter<double, Shape<2, 2>, Device> embedding{ones<Shape<2, 2>>(), Role::embedding};
    Parameter<double, Shape<2, 2>, Device> matrix{ones<Shape<2, 2>>(), Role::matrix};
    Parameter<double, Shape<2>, Device> gain{ones<Shape<2>>(), Role::gain};
    Parameter<double, Shape<2, 2>, Device> head{ones<Shape<2, 2>>(), Role::head};
    Parameter<double, Shape<2, 2>, Device> position{ones<Shape<2, 2>>(), Role::position};
    Parameter<double, Shape<2>, Device> bias{ones<Shape<2>>(), Role::bias};

    template <class S>
    static Tensor<double, S, Device> ones() {
        return Tensor(Tensor<double, S, Device>::zeros() + 1.0);
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit("embedding", embedding);
        visit("matrix", matrix);
        visit("gain", gain);
        visit("head", head);
        visit("position", position);
        visit("bias", bias);
    }
    auto sum_of_all() const {
        return Tensor(sum(embedding) + sum(matrix) + sum(gain) + sum(head) + sum(position) + sum(bias));
    }

    /// The first element of each, in order.
    std::vector<double> firsts() {
        std::vector<double> result;
        for_each_parameter(*this, [&](std::string_view, ParameterBase& parameter) {
            result.push_back(support::elements<double>(parameter).front());
        });
        return result;
    }
};

}  // namespace roles

namespace {

using roles::Roles;

/// Where one step of plain descent takes ones whose gradients are ones.
template <class Rule>
std::vector<double> after_a_step(const Rule& rule) {
    Roles model;
    SGD optimizer{model, {.rate = 0.5, .decay = 0.25}, rule};
    backward(model.sum_of_all());
    optimizer.step();
    return model.firsts();
}

}  // namespace

TEST_CASE("rules say what decays: all, matrices and the head, or all but vectors") {
    constexpr double kept = 1 - 0.5, decayed = 1 - 0.5 * 0.25 - 0.5;
    CHECK(after_a_step(decay_all) == std::vector{decayed, decayed, decayed, decayed, decayed, decayed});
    CHECK(after_a_step(decay_matrices_only) == std::vector{kept, decayed, kept, decayed, kept, kept});
    CHECK(after_a_step(decay_all_but_vectors) == std::vector{decayed, decayed, kept, decayed, decayed, kept});
}

TEST_CASE("a rule of one's own gives rates and decays by name and role") {
    const auto rule = [](std::string_view name, const ParameterBase& parameter) -> Treatment {
        if (name == "head") return {.rate = 0.5, .decay = 2};
        if (parameter.role == Role::gain) return {.rate = 0};
        return {};
    };
    // The decay, too, goes with the group's rate.
    CHECK(after_a_step(rule) == std::vector{0.375, 0.375, 1.0, 1 - 0.25 * 0.5 - 0.25, 0.375, 0.375});
}

TEST_CASE("a parameter's own scale of the rate applies to its step and not to its decay") {
    Roles model;
    model.matrix.rate_scale = 0.25;
    SGD optimizer{model, {.rate = 0.5, .decay = 0.25}};
    backward(model.sum_of_all());
    optimizer.step();
    CHECK(model.firsts() == std::vector{0.375, 1 - 0.5 * 0.25 - 0.125, 0.375, 0.375, 0.375, 0.375});
}

TEST_CASE("Muon applies it where steps are like AdamW's; the spectral scale has the width in it") {
    for (const MuonScale scale : {MuonScale::like_adamw, MuonScale::spectral}) {
        Roles plain, scaled;
        scaled.matrix.rate_scale = 0.25;
        Muon first{plain, {.rate = 0.5, .decay = 0, .scale = scale}},
            second{scaled, {.rate = 0.5, .decay = 0, .scale = scale}};
        for (Roles* model : {&plain, &scaled}) backward(model->sum_of_all());
        first.step();
        second.step();
        const double ratio = (1 - scaled.firsts()[1]) / (1 - plain.firsts()[1]);
        CHECK(ratio == doctest::Approx(scale == MuonScale::like_adamw ? 0.25 : 1.0).epsilon(1e-14));
    }
}

TEST_CASE("what is frozen has no state, is not updated, keeps its gradient, and is not clipped") {
    const auto freeze_first = [](std::string_view name, const ParameterBase&) -> Treatment {
        return {.frozen = name == "first"};
    };
    TwoParameters<double> model;
    AdamW optimizer{model, {.rate = 0.1}, freeze_first};
    std::vector<std::string> names;
    optimizer.for_each_state(
        [&](std::string_view name, ElementType, std::int64_t, void*) { names.emplace_back(name); });
    CHECK(names ==
          std::vector<std::string>{"steps", "second.steps", "second.first_moment", "second.second_moment"});

    const auto first = support::values(model.first.value()), second = support::values(model.second.value());
    backward(model.half_square());
    double square = 0;
    for (const double x : second) square += x * x;
    CHECK(optimizer.clip(1e-3) == doctest::Approx(std::sqrt(square)).epsilon(1e-14));
    CHECK(support::values(model.first.accumulated_gradient()) == first);
    // A GPU scales gradients as it updates, not before.
    CHECK((support::values(model.second.accumulated_gradient()) == second) == std::same_as<Device, Cuda>);
    optimizer.step();
    CHECK(support::values(model.first.value()) == first);
    CHECK(support::values(model.second.value()) != second);
    CHECK(model.first.gradient->written);
    CHECK_FALSE(model.second.gradient->written);
}

TEST_CASE("two optimizers share a model: each leaves alone what it has frozen") {
    const auto only = [](std::string_view wanted) {
        return [wanted](std::string_view name, const ParameterBase&) -> Treatment {
            return {.frozen = name != wanted};
        };
    };
    TwoParameters<double> both, apart;
    SGD one{both, {.rate = 0.1, .decay = 0.1}};
    SGD first{apart, {.rate = 0.1, .decay = 0.1}, only("first")},
        second{apart, {.rate = 0.1, .decay = 0.1}, only("second")};
    for (int step = 0; step < 3; ++step) {
        backward(both.half_square());
        backward(apart.half_square());
        one.step();
        first.step();
        second.step();
    }
    CHECK(apart.numbers() == both.numbers());
}

TEST_CASE(
    "a parameter that only runs forward may be there if it is frozen; one that is there twice may not") {
    Parameter<double, Shape<2>, Device> tracked(Tensor<double, Shape<2>, Device>::zeros());
    Parameter<double, Shape<2>, Device, Untracked> untracked(Tensor<double, Shape<2>, Device>::zeros());
    const auto freeze_untracked = [](std::string_view, const ParameterBase& parameter) -> Treatment {
        return {.frozen = !parameter.gradient};
    };
    const std::vector<ParameterBase*> mixed{&untracked, &tracked}, twice{&tracked, &tracked};
    CHECK_NOTHROW((SGD<double, double, Device>(mixed, {}, freeze_untracked)));
    CHECK_THROWS_WITH_AS((SGD<double, double, Device>(twice)),
                         "SGD: parameter 1: expected each parameter once, got it twice", Error);
}
