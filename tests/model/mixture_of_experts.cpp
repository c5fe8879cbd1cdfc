#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/model/accounting.hpp>
#include <tenon/model/transformer.hpp>
#include <tenon/model/upcycle.hpp>
#include <tenon/nn/latent_attention.hpp>
#include <tenon/nn/mixture_or_dense.hpp>
#include <tenon/training/mixture_training.hpp>
#include <tenon/training/step_metrics.hpp>

#include "../nn/model.hpp"

using namespace tenon;
using support::Device;
using support::Latent;
using support::tokens;

namespace {

struct Dense : support::Small {
    static constexpr bool normalized_experts = false;
};

struct Mixture : support::Small {
    static constexpr bool mixture_of_experts = true, normalized_experts = true;
    static constexpr int experts = 4, experts_per_token = 2;
};

struct WithBias : Mixture {
    static constexpr RouterScore router_score = RouterScore::sigmoid;
    static constexpr bool router_bias = true, shared_expert = true;
    static constexpr int shared_hidden = 5;
};

struct Recomputing : WithBias {
    static constexpr bool recompute = true;
};

struct PartlyDense : Mixture {
    static constexpr bool has_dense_layers = true;
    static constexpr LayerSet dense_layers = [] {
        LayerSet layers;
        layers.insert(0);
        return layers;
    }();
    static constexpr int dense_hidden = Dense::hidden;
};

struct OtherwiseDense : PartlyDense {
    static constexpr int dense_hidden = 11;
};

struct MixtureFeatures : TransformerDefaults {
    static constexpr bool mixture_of_experts = true;
};

struct Wider : Dense {
    static constexpr int hidden = 20;
};

template <class C>
using Model = Trainable<Transformer<C, Device, F64>>;

template <class M>
std::int64_t counted(M& model) {
    std::int64_t count = 0;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) { count += parameter.size(); });
    return count;
}

}  // namespace

TEST_CASE("the gradient of the loss for every parameter of a model of mixtures") {
    Model<Mixture> model(seed(1));
    CHECK(support::worst_gradient_error(model) < 1e-6);
}

TEST_CASE("the same of latent attention and of layers that are dense among mixtures; they are counted") {
    Model<Latent> model(seed(1));
    CHECK(counted(model) == parameter_count<Model<Latent>>());
    CHECK(norm_parameter_count<Latent>(model.sizes) == 2 * (6 + 5) + 5 * 8);
    CHECK(router_parameter_count<Latent>(model.sizes) == 6 * (8 + 1));
    REQUIRE(model.blocks[0].feed_forward.dense);
    REQUIRE(model.blocks[1].feed_forward.mixture);
    CHECK(support::worst_gradient_error(model) < 1e-6);
    RoutingRecord<typename Model<Latent>::Setting> record;
    detach(model(tokens(2, 5, 1), record).tensor());
    CHECK(record.layers().size() == 1);
}

TEST_CASE("every extent open: the same bits") {
    Model<Mixture> fixed(seed(3));
    Model<DynamicTransformer<MixtureFeatures>> open(seed(3), sizes_of<Mixture>());
    const auto ids = tokens(2, 5, 1);
    CHECK(support::values(detach(fixed(ids).tensor())) == support::values(detach(open(ids).tensor())));
    TransformerSizes sizes = sizes_of<Mixture>();
    sizes.experts_per_token = 5;
    CHECK_THROWS_WITH_AS((Model<DynamicTransformer<MixtureFeatures>>(sizes)),
                         "transformer: expected at most 4 experts for a token, got 5.000000", ShapeError);
    sizes.experts_per_token = 0;
    CHECK_THROWS_AS((Model<DynamicTransformer<MixtureFeatures>>(sizes)), ShapeError);
}

TEST_CASE("parameters are counted, and only the experts that a token takes are computed with") {
    Model<Mixture> mixture(seed(1));
    Model<WithBias> biased(seed(1));
    CHECK(counted(mixture) == parameter_count<Model<Mixture>>());
    CHECK(counted(biased) == parameter_count<Model<WithBias>>());
    CHECK(forward_flops<Model<Mixture>>().feed_forward == 2 * forward_flops<Model<Dense>>().feed_forward);
}

TEST_CASE(
    "training lowers the loss and the imbalance that is added to it; a bias that balances is not trained") {
    Model<WithBias> model(seed(2));
    for (auto& block : model.blocks)
        support::assign(block.feed_forward.router_bias, std::vector<double>{0.5, 0, 0, 0});
    AdamW optimizer(model, {.rate = 0.01});
    const auto inputs = tokens(4, 8, 1), targets = tokens(4, 8, 4);
    std::vector<double> losses;
    for (int step = 0; step < 20; ++step) {
        RoutingRecord<typename Model<WithBias>::Setting> record;
        auto loss = cross_entropy(model(inputs, record), targets);
        REQUIRE(record.layers().size() == 2);
        Tensor balance =
            load_balancing_loss(record.layers()[0]) + load_balancing_loss(record.layers()[1], true);
        Tensor total = loss + 0.01 * balance + 0.001 * router_z_loss(record.layers()[0]);
        losses.push_back(total.item());
        backward(total);
        optimizer.step();
        const RoutingStatistics statistics = statistics_of(record.layers()[1]);
        CHECK(statistics.load.size() == 4);
        CHECK(statistics.dropped == 0);
    }
    CHECK(losses.back() < 0.7 * losses.front());
    CHECK(support::elements<double>(model.blocks[0].feed_forward.router_bias) ==
          std::vector<double>{0.5, 0, 0, 0});
}

TEST_CASE("a mixture that is made from a dense model gives its logits, and each expert is the dense layer") {
    Model<Dense> dense(seed(5));
    Model<Mixture> mixture(seed(6));
    upcycle(dense, mixture);
    const auto ids = tokens(2, 7, 3);
    const auto expected = support::values(detach(dense(ids).tensor()));
    CHECK(support::worst_error(detach(mixture(ids).tensor()), expected) < 1e-12);

    Model<Wider> wider(seed(5));
    CHECK_THROWS_WITH_AS(upcycle(wider, mixture),
                         "upcycle: blocks.0.feed_forward.gate_up.weight: expected a dense layer of an "
                         "expert's widths, got Shape<20, 8>",
                         ShapeError);
}

TEST_CASE("upcycling leaves layers dense that are so in the mixture") {
    Model<Dense> dense(seed(5));
    Model<PartlyDense> mixture(seed(6));
    upcycle(dense, mixture);
    const auto ids = tokens(2, 7, 3);
    const auto expected = support::values(detach(dense(ids).tensor()));
    CHECK(support::worst_error(detach(mixture(ids).tensor()), expected) < 1e-12);

    Model<OtherwiseDense> other(seed(6));
    CHECK_THROWS_WITH_AS(upcycle(dense, other),
                         "upcycle: blocks.0.feed_forward.dense.gate.weight: expected Shape<11, 8>, got "
                         "Shape<12, 8>",
                         ShapeError);
}

TEST_CASE("a trainer adds the losses of routers, moves their biases, and reports what they did") {
    constexpr int parts = 2, steps = 5;
    constexpr RoutingOptions routing{
        .balance = 0.05, .sequence_balance = 0.02, .z_loss = 0.01, .bias_rate = 0.125};
    std::vector<int> text;
    for (int i = 0; i < 100; ++i) text.push_back((i * i + 3 * i) % 11);
    const RandomBatches<dyn, dyn, int> batches(text, seed(4), 4, 8);
    using M = Model<WithBias>;

    M expected(seed(2));
    AdamW by_hand(expected, {.rate = 0.01});
    std::vector<StepReport> found;
    for (int step = 0; step < steps; ++step) {
        StepReport report{.step = step, .routing = RoutingReport()};
        std::vector<std::vector<std::int32_t>> loads(2, std::vector<std::int32_t>(4));
        for (int part = 0; part < parts; ++part) {
            const auto batch = batches(parts * step + part);
            RoutingRecord<typename M::Setting> record;
            auto loss = cross_entropy(expected(to_device<Device>(batch.inputs), record),
                                      to_device<Device>(batch.targets));
            report.loss += loss.item() / parts;
            for (std::size_t i = 0; i < 2; ++i) {
                const auto& layer = record.layers()[i];
                const auto balance = load_balancing_loss(layer), z = router_z_loss(layer);
                const RoutingStatistics statistics = statistics_of(layer);
                report.routing->balancing_loss += balance.item() / (2 * parts);
                report.routing->z_loss += z.item() / (2 * parts);
                report.routing->greatest_load += statistics.greatest_load / (2 * parts);
                report.routing->entropy += statistics.entropy / (2 * parts);
                const auto load = support::values(layer.load);
                for (std::size_t e = 0; e < 4; ++e) loads[i][e] += static_cast<std::int32_t>(load[e]);
                loss = loss + 0.5 * (routing.balance * balance + routing.z_loss * z +
                                     routing.sequence_balance * load_balancing_loss(layer, true));
            }
            backward(loss, 1.0 / parts);
        }
        by_hand.clip(1);
        by_hand.step();
        for (std::size_t i = 0; i < 2; ++i)
            expected.blocks[i].feed_forward.balance(
                to_device<Device>(Tensor<std::int32_t, Shape<dyn>>::from(loads[i], 4)), routing.bias_rate);
        found.push_back(report);
    }

    std::vector<StepReport> reports;
    const auto check = [&]<class Trained>(std::type_identity<Trained>) {
        Trained model(seed(2));
        AdamW optimizer(model, {.rate = 0.01});
        Trainer trainer(model, optimizer, batches, {.accumulate = parts, .routing = routing});
        reports.clear();
        const auto note = [&](const std::optional<StepReport>& report) {
            if (report) reports.push_back(*report);
        };
        for (int step = 0; step < steps; ++step) {
            trainer.step(step);
            note(trainer.report());
        }
        note(trainer.last_report());
        REQUIRE(reports.size() == steps);
        for (std::size_t i = 0; i < steps; ++i) {
            CHECK(reports[i].loss == doctest::Approx(found[i].loss));
            REQUIRE(reports[i].routing);
            CHECK(reports[i].routing->balancing_loss == doctest::Approx(found[i].routing->balancing_loss));
            CHECK(reports[i].routing->z_loss == doctest::Approx(found[i].routing->z_loss));
            CHECK(reports[i].routing->greatest_load == doctest::Approx(found[i].routing->greatest_load));
            CHECK(reports[i].routing->entropy == doctest::Approx(found[i].routing->entropy));
            CHECK(reports[i].routing->dropped == 0);
        }
        const auto bias = support::elements<double>(model.blocks[1].feed_forward.router_bias);
        CHECK(bias == support::elements<double>(expected.blocks[1].feed_forward.router_bias));
        CHECK(bias != std::vector<double>(4));
        const auto values = support::all_elements(model), exact = support::all_elements(expected);
        for (std::size_t i = 0; i < values.size(); ++i)
            CHECK(values[i] == doctest::Approx(exact[i]).epsilon(1e-9));
    };
    check(std::type_identity<M>());
    check(std::type_identity<Model<Recomputing>>());  // blocks that run again do it once, too

    CHECK(metrics_of(reports.back()).size() == 9);
    Model<Mixture> without_bias(seed(1));
    CHECK_THROWS_WITH_AS((detail::MixtureTraining<Model<Mixture>>(without_bias, {.bias_rate = 0.1})),
                         "trainer: expected a model with routers' biases to balance, got one without", Error);
}
