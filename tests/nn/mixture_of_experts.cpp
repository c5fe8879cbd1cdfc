#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/nn/initialize.hpp>
#include <tenon/nn/mixture_of_experts.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;
using support::values;

namespace {

using Plain = Setting<Device, F64, Untracked>;
using Trained = Setting<Device, F64, Tracked>;

struct WithSharedExpert : DefaultFeatures {
    static constexpr RouterScore router_score = RouterScore::sigmoid;
    static constexpr bool router_bias = true, shared_expert = true, shared_expert_gate = true;
};

constexpr int width = 6, hidden = 4, experts = 5, k = 2, shared_hidden = 3;

template <class S, class Features = DefaultFeatures>
using Layer = MixtureOfExperts<S, width, hidden, experts, Features>;

template <class L>
void fill(L& layer) {
    std::uint32_t seed = 1;
    for_each_parameter(layer, [&](std::string_view, ParameterBase& parameter) {
        support::assign(parameter, [&] {
            support::Numbers next(seed++);
            std::vector<double> result;
            for (std::int64_t i = 0; i < parameter.size(); ++i) result.push_back(next());
            return result;
        }());
    });
}

/// One token's result, step by step, as the papers have it. A row is the token's.
template <class Features, class L>
std::vector<double> by_hand(const L& layer, const double* x, const RouteOptions& options) {
    const auto matrix = [](const auto& parameter) { return values(parameter.value()); };
    const auto router = matrix(layer.router), gate_up = matrix(layer.gate_up), down = matrix(layer.down);
    const auto product = [](const double* row, const double* y, int length) {
        double sum = 0;
        for (int i = 0; i < length; ++i) sum += row[i] * y[i];
        return sum;
    };
    const auto silu = [](double z) { return z / (1 + std::exp(-z)); };
    std::vector<double> scores;
    for (int e = 0; e < experts; ++e) scores.push_back(product(router.data() + e * width, x, width));
    if (Features::router_score == RouterScore::softmax) {
        double sum = 0;
        for (double& score : scores) sum += score = std::exp(score);
        for (double& score : scores) score /= sum;
    } else {
        for (double& score : scores) score = 1 / (1 + std::exp(-score));
    }
    std::vector<double> keys = scores;
    if constexpr (Features::router_bias)
        for (int e = 0; e < experts; ++e)
            keys[static_cast<std::size_t>(e)] += at(layer.router_bias.value(), e);
    std::vector<std::size_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return keys[a] > keys[b]; });
    double sum = 0;
    for (int i = 0; i < k; ++i) sum += scores[order[static_cast<std::size_t>(i)]];
    std::vector<double> y(width);
    for (int i = 0; i < k; ++i) {
        const std::size_t e = order[static_cast<std::size_t>(i)];
        const double weight = options.scale * scores[e] / (options.normalized ? sum : 1);
        std::vector<double> h;
        for (int j = 0; j < hidden; ++j) {
            const double* const gate =
                gate_up.data() + (e * 2 * hidden + static_cast<std::size_t>(j)) * width;
            h.push_back(silu(product(gate, x, width)) * product(gate + hidden * width, x, width));
        }
        for (std::size_t j = 0; j < width; ++j)
            y[j] += weight * product(down.data() + (e * width + j) * hidden, h.data(), hidden);
    }
    if constexpr (Features::shared_expert) {
        const auto gate = matrix(layer.shared.gate.weight), up = matrix(layer.shared.up.weight),
                   out = matrix(layer.shared.down.weight), factor = matrix(layer.shared_gate.weight);
        const double open = 1 / (1 + std::exp(-product(factor.data(), x, width)));
        std::vector<double> h;
        for (int j = 0; j < shared_hidden; ++j)
            h.push_back(silu(product(gate.data() + j * width, x, width)) *
                        product(up.data() + j * width, x, width));
        for (std::size_t j = 0; j < width; ++j)
            y[j] += open * product(out.data() + j * shared_hidden, h.data(), shared_hidden);
    }
    return y;
}

template <class Features>
void check_layer(const MixtureOptions& options) {
    Layer<Plain, Features> layer(options, width, hidden, experts, shared_hidden);
    fill(layer);
    const auto x = numbers<double, Shape<2, dyn, width>>(9, 7);
    const auto y = layer(x);
    static_assert(std::same_as<decltype(y), const Tensor<double, Shape<2, dyn, width>, Device>>);
    const auto tokens = values(x);
    std::vector<double> expected;
    for (int token = 0; token < 14; ++token) {
        const auto one = by_hand<Features>(layer, tokens.data() + token * width, options.route);
        expected.insert(expected.end(), one.begin(), one.end());
    }
    CHECK(support::worst_error(y, expected) < 1e-12);
    const auto addend = numbers<double, Shape<2, dyn, width>>(10, 7);
    const auto added = layer.added(x, addend);
    CHECK(support::worst_error(added, [&](std::int64_t i) {
              return expected[static_cast<std::size_t>(i)] + values(addend)[static_cast<std::size_t>(i)];
          }) < 1e-12);
    // The same with every extent open.
    MixtureOfExperts<Plain, dyn, dyn, dyn, Features> open(options, width, hidden, experts, shared_hidden);
    fill(open);
    CHECK(support::same_bits(open(x), y));
}

/// A record's only layer, after a pass.
template <class L, class X>
auto routed_by(const L& layer, const X& x) {
    RoutingRecord<Trained> record;
    layer(x, record);
    return record.layers().at(0);
}

}  // namespace

TEST_CASE("a mixture of experts is the weighed sum of those that are chosen") {
    check_layer<DefaultFeatures>({.route = {.experts_per_token = k}});
    check_layer<DefaultFeatures>({.route = {.experts_per_token = k, .normalized = true}});
    // Room for all is as good as no limit.
    check_layer<DefaultFeatures>({.route = {.experts_per_token = k}, .capacity_factor = experts});
}

TEST_CASE("scores may be sigmoids with a bias, and one expert be shared") {
    check_layer<WithSharedExpert>({.route = {.experts_per_token = k, .normalized = true, .scale = 2.5}});
}

TEST_CASE("the gradient of every parameter, and of the tokens") {
    const auto check = [&]<class Features>(Features) {
        for (const double capacity : {0.0, 0.6}) {
            Layer<Trained, Features> layer(
                {.route = {.experts_per_token = k, .normalized = true}, .capacity_factor = capacity}, width,
                hidden, experts, shared_hidden);
            fill(layer);
            auto x = support::parameter<Shape<3, width>>(9);
            // Parameters are the layer's: what is passed on names them, and is not read.
            const auto run = [&](auto...) { return layer(x.tensor()); };
            CHECK(gradient_error(run, x, layer.router, layer.gate_up, layer.down) < 1e-6);
            if constexpr (Features::shared_expert)
                CHECK(gradient_error(run, layer.shared.gate.weight, layer.shared.up.weight,
                                     layer.shared.down.weight, layer.shared_gate.weight) < 1e-6);
        }
    };
    check(DefaultFeatures());
    check(WithSharedExpert());
}

TEST_CASE("losses of the router: balance over the batch or of each sequence, and small logits") {
    Layer<Trained> layer({.route = {.experts_per_token = k}});
    fill(layer);
    auto x = support::parameter<Shape<2, 4, width>>(9);
    const auto routed = routed_by(layer, x.tensor());
    const auto p = values(detach(routed.probabilities)), logits = values(detach(routed.logits)),
               chosen = values(routed.chosen);
    const auto balance = [&](int first, int last) {
        double sum = 0;
        for (int e = 0; e < experts; ++e) {
            double frequency = 0, probability = 0;
            for (int token = first; token < last; ++token) {
                probability += p[static_cast<std::size_t>(token * experts + e)];
                for (int i = 0; i < k; ++i) frequency += chosen[static_cast<std::size_t>(token * k + i)] == e;
            }
            sum += frequency * probability;
        }
        return experts * sum / ((last - first) * (last - first));
    };
    CHECK(load_balancing_loss(routed).item() == doctest::Approx(balance(0, 8)));
    CHECK(load_balancing_loss(routed, true).item() == doctest::Approx((balance(0, 4) + balance(4, 8)) / 2));
    double squares = 0;
    for (int token = 0; token < 8; ++token) {
        double sum = 0;
        for (int e = 0; e < experts; ++e)
            sum += std::exp(logits[static_cast<std::size_t>(token * experts + e)]);
        squares += std::log(sum) * std::log(sum) / 8;
    }
    CHECK(router_z_loss(routed).item() == doctest::Approx(squares));
    const auto loss = [&](auto...) {
        const auto again = routed_by(layer, x.tensor());
        return Tensor(load_balancing_loss(again) + 0.5 * load_balancing_loss(again, true) +
                      0.1 * router_z_loss(again));
    };
    CHECK(gradient_error(loss, x, layer.router) < 1e-6);
}

TEST_CASE("statistics: load, entropy, and what was dropped") {
    Layer<Trained> layer({.route = {.experts_per_token = k}, .capacity_factor = 0.5});
    fill(layer);
    support::assign(layer.router, std::vector<double>(experts * width));
    const auto routed = routed_by(layer, numbers<double, Shape<10, width>>(1));
    CHECK(layer.capacity_of(10) == 2);
    const RoutingStatistics statistics = statistics_of(routed);
    CHECK(statistics.load == std::vector<double>{0.5, 0.5, 0, 0, 0});
    CHECK(statistics.greatest_load == 2.5);
    CHECK(statistics.entropy == doctest::Approx(std::log(5)));
    CHECK(statistics.dropped == 16);
}

TEST_CASE("the bias falls of experts that have more than the others, and rises of those that have less") {
    Layer<Trained, WithSharedExpert> layer({}, width, hidden, experts, shared_hidden);
    support::assign(layer.router_bias, std::vector<double>(experts));
    layer.balance(Tensor<std::int32_t, Shape<dyn>, Device>::of({3, 0, 2, 4, 1}, experts), 0.25);
    CHECK(values(layer.router_bias.value()) == std::vector<double>{-0.25, 0.25, 0, -0.25, 0.25});
}

TEST_CASE("in bf16 the router computes in f32") {
    MixtureOfExperts<Setting<Device, MixedBf16, Tracked>, 64, 64, 8> layer(
        {.route = {.experts_per_token = k}});
    static_assert(std::same_as<decltype(layer.router)::value_type, float>);
    for_each_parameter(layer, [&](std::string_view name, ParameterBase& parameter) {
        if (name == "router.weight")
            support::assign(parameter, std::vector<float>(8 * 64, 0.01f));
        else
            support::assign(parameter,
                            std::vector<bf16>(static_cast<std::size_t>(parameter.size()), bf16(0.125f)));
    });
    const auto x = cast<bf16>(numbers<float, Shape<dyn, 64>>(1, 9));
    const auto y = layer(x);
    // All experts are alike, and of equal scores: 2 of 8 have a quarter of the weight.
    for (int token = 0; token < 9; ++token) {
        double sum = 0;
        for (int i = 0; i < 64; ++i) sum += static_cast<double>(static_cast<float>(at(x, token, i)));
        const double up = sum / 8, expected = 0.25 * 8 * up * up / (1 + std::exp(-up));
        CHECK(static_cast<float>(at(detach(y), token, 5)) == doctest::Approx(expected).epsilon(0.02));
    }
    backward(y, support::seed_of(y, std::vector<double>(9 * 64, 1)));
    CHECK(layer.router.gradient->written);
}
