#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/core/readback.hpp>
#include <tenon/nn/routing_record.hpp>
#include <tenon/training/trainer.hpp>

/// What a trainer does for models with mixtures of experts: losses that balance, biases that balance, and
/// statistics. All stays on the device, at the same places in every step.
namespace tenon::detail {

template <class Model>
    requires(keeps_routing_record<Model>)
class MixtureTraining<Model> {
    using Device = typename Model::Device;
    using Compute = ComputeOf<typename Model::Value>;
    using Master = typename Model::Precision::master;
    using Scalar = Tensor<Compute, Shape<>, Device>;
    static constexpr int statistics = 5;
    static constexpr bool has_bias = Model::Configuration::router_bias;
    struct Row {
        Compute values[statistics];
    };

public:
    using Record = RoutingRecord<typename Model::Setting>;

    /// Throws Error where there are biases to balance that are not kept in what is computed with.
    MixtureTraining(Model& model, const RoutingOptions& options) : options_(options) {
        if (options.bias_rate == 0) return;
        if constexpr (has_bias && std::same_as<Master, Compute>)
            for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
                if (!name.ends_with(".router.bias")) return;
                biases_.push_back(&parameter);
                counts_.push_back(Tensor<Compute, Shape<dyn, dyn>, Device>::zeros(1, parameter.extents[0]));
            });
        else
            throw Error(has_bias ? "trainer: expected routers' biases in 32 bits to balance, got 16"
                                 : "trainer: expected a model with routers' biases to balance, got one "
                                   "without");
    }

    /// The loss of a step's batch, and what is added to it of the routers'.
    template <class Loss>
    Loss with_losses(const Loss& loss, const Record& record, int part) {
        const auto& layers = record.layers();
        const double share = layers.empty() ? 0 : 1.0 / static_cast<double>(layers.size());
        layers_ = layers.size();
        Loss total = loss;
        for (std::size_t i = 0; i < layers.size(); ++i) {
            const auto& layer = layers[i];
            const auto balance = load_balancing_loss(layer);
            const auto z = router_z_loss(layer);
            if (options_.balance != 0) total = total + share * options_.balance * balance;
            if (options_.sequence_balance != 0)
                total = total + share * options_.sequence_balance * load_balancing_loss(layer, true);
            if (options_.z_loss != 0) total = total + share * options_.z_loss * z;
            note(layer, detach(balance), detach(z), part == 0 && i == 0);
            if (!biases_.empty()) count(layer, i, part == 0);
        }
        return total;
    }

    /// The biases' own step, once the batches of a step are done.
    void balance_biases() {
        for (std::size_t i = 0; i < biases_.size(); ++i) {
            ParameterBase& bias = *biases_[i];
            const auto& counts = counts_[i];
            const Tensor<Compute, Shape<dyn, dyn>, Device> values(
                bias.storage, static_cast<Compute*>(bias.data), counts.extents());
            // Of integers, so that within ±1 is the sign.
            const Tensor excess = static_cast<double>(bias.extents[0]) * counts - sum<keep_axis<1>>(counts);
            const Tensor balanced = values - options_.bias_rate * min(max(excess, -1.0), 1.0);
            Memory<Device>::copy(static_cast<const Compute*>(balanced.data()), balanced.size(),
                                 values.data());
        }
    }

    void send() { rows_.send(reinterpret_cast<const Row*>(sums_.data())); }
    RoutingReport take(int batches) {
        const Row row = rows_.take();
        const double scale = layers_ > 0 ? 1.0 / (static_cast<double>(layers_) * batches) : 0;
        const auto mean = [&](int i) { return scale * static_cast<double>(row.values[i]); };
        return {mean(0), mean(1), mean(2), mean(3), mean(4)};
    }

private:
    using Layer = RoutedTokens<typename Model::Setting>;

    template <class Balance, class Z>
    void note(const Layer& layer, const Balance& balance, const Z& z, bool is_first) {
        const auto probabilities = detach(layer.probabilities);
        const int tokens = probabilities.extents()[0], experts = probabilities.extents()[1];
        const double assignments = static_cast<double>(layer.chosen.size());
        const auto counts = count_experts<Compute>(layer.chosen, experts);
        constexpr double least = std::numeric_limits<Compute>::min();
        const Scalar greatest = (experts / assignments) * max<axis<0, 1>>(counts);
        const Scalar entropy =
            (-1.0 / tokens) * sum<axis<0, 1>>(probabilities * log(max(probabilities, least)));
        const Scalar none = Scalar::zeros();
        const Scalar dropped =
            layer.capacity == 0 ? none
                                : Scalar((1 / assignments) * sum<axis<0, 1>>(relu(counts - layer.capacity)));
        add(balance, 0, is_first);
        add(z, 1, is_first);
        add(greatest, 2, is_first);
        add(entropy, 3, is_first);
        add(dropped, 4, is_first);
    }

    template <class X>
    void add(const X& x, int place, bool is_first) {
        const Compute* const from = x.data();
        if (is_first)
            Memory<Device>::copy(from, 1, sums_.data() + place);
        else
            Memory<Device>::add(from, 1, sums_.data() + place);
    }

    void count(const Layer& layer, std::size_t number, bool is_first) {
        const auto& all = counts_.at(number);
        const auto counts = count_experts<Compute>(layer.chosen, all.extents()[1]);
        const Compute* const from = counts.data();
        if (is_first)
            Memory<Device>::copy(from, counts.size(), all.data());
        else
            Memory<Device>::add(from, counts.size(), all.data());
    }

    RoutingOptions options_;
    std::vector<ParameterBase*> biases_;                            // of the layers, in their order
    std::vector<Tensor<Compute, Shape<dyn, dyn>, Device>> counts_;  // a step's assignments of each
    Tensor<Compute, Shape<statistics>, Device> sums_ = Tensor<Compute, Shape<statistics>, Device>::zeros();
    std::size_t layers_ = 0;
    Readback<Row, Device> rows_;
};

}  // namespace tenon::detail
