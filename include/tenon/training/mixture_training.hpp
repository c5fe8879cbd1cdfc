#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include <tenon/autograd/side_loss.hpp>
#include <tenon/core/readback.hpp>
#include <tenon/nn/routing_record.hpp>
#include <tenon/training/trainer.hpp>

/// What a trainer does for models with mixtures of experts: losses that balance, biases that balance, and
/// statistics. All stays on the device, at the same places in every step.
namespace tenon::detail {

template <class Model>
    requires(has_mixtures<Model>)
class MixtureTraining<Model> {
    using Setting = typename Model::Setting;
    using Device = typename Model::Device;
    using Compute = ComputeOf<typename Model::Value>;
    using Master = typename Model::Precision::master;
    using Scalar = Tensor<Compute, Shape<>, Device>;
    using TrackedScalar = Tensor<Compute, Shape<>, Device, Tracked>;
    using Layer = RoutedTokens<Setting>;
    static constexpr int statistics = 5;
    static constexpr bool has_bias = Model::Configuration::router_bias,
                          recomputes = Model::Configuration::recompute;
    struct Row {
        Compute values[statistics];
    };

    /// Is told of each block that will run again: statistics in its first run, and in its second, on whose
    /// way back gradients are made, it adds the losses' own.
    class RecomputedRecord {
    public:
        static constexpr bool is_kept = true;

        explicit RecomputedRecord(MixtureTraining& training) : training_(training) {}

        template <class X>
        X told(const X& y, const RoutingRecord<Setting>& own) {
            std::optional<TrackedScalar> all;
            for (const Layer& layer : own.layers()) {
                const auto balance = load_balancing_loss(layer), z = router_z_loss(layer);
                if (Tape::current().is_recording())
                    training_.add_losses(layer, balance, z, all);
                else
                    training_.note(layer, balance, z);
            }
            return all ? with_side_loss(y, *all, training_.factor_) : y;
        }

    private:
        MixtureTraining& training_;
    };

public:
    /// Throws Error where there are biases to balance that are not kept in what is computed with, and where
    /// losses are wanted that scaling would miss.
    MixtureTraining(Model& model, const RoutingOptions& options) : options_(options) {
        for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
            layers_ += name.ends_with(".router.weight");
            if (options.bias_rate == 0 || !name.ends_with(".router.bias")) return;
            biases_.push_back(&parameter);
            counts_.push_back(Tensor<Compute, Shape<dyn, dyn>, Device>::zeros(1, parameter.extents[0]));
        });
        if (options.bias_rate != 0 && !has_bias)
            throw Error("trainer: expected a model with routers' biases to balance, got one without");
        if (options.bias_rate != 0 && !std::same_as<Master, Compute>)
            throw Error("trainer: expected routers' biases in 32 bits to balance, got 16");
        if (recomputes && std::same_as<typename Model::Value, f16> &&
            (options.balance != 0 || options.sequence_balance != 0 || options.z_loss != 0))
            throw Error("trainer: expected no losses of routers with recomputation and scaled losses");
    }

    /// What the pass of one of a step's batches is given; the batch's gradients are multiplied by `factor`.
    auto record(int part, double factor) {
        noted_ = 0;
        is_first_ = part == 0;
        factor_ = factor;
        if constexpr (recomputes)
            return RecomputedRecord(*this);
        else
            return RoutingRecord<Setting>();
    }

    /// The loss of a batch, and what is added to it of the routers'.
    template <class Loss, class Record>
    Loss with_losses(const Loss& loss, [[maybe_unused]] const Record& record) {
        std::optional<TrackedScalar> all;
        if constexpr (!recomputes)
            for (const Layer& layer : record.layers()) {
                const auto balance = load_balancing_loss(layer), z = router_z_loss(layer);
                note(layer, balance, z);
                add_losses(layer, balance, z, all);
            }
        return all ? Loss(loss + *all) : loss;
    }

    /// The biases' own step, once the batches of a step are done.
    void balance_biases() {
        if constexpr (has_bias && std::same_as<Master, Compute>)
            for (std::size_t i = 0; i < biases_.size(); ++i) {
                ParameterBase& bias = *biases_[i];
                const auto& counts = counts_[i];
                const Tensor<Compute, Shape<dyn, dyn>, Device> values(
                    bias.storage, static_cast<Compute*>(bias.data), counts.extents());
                // Of integers, so that within ±1 is the sign.
                const Tensor excess =
                    static_cast<double>(bias.extents[0]) * counts - sum<keep_axis<1>>(counts);
                const Tensor balanced = values - options_.bias_rate * min(max(excess, -1.0), 1.0);
                Memory<Device>::copy(static_cast<const Compute*>(balanced.data()), balanced.size(),
                                     values.data());
            }
    }

    void send() { rows_.send(reinterpret_cast<const Row*>(sums_.data())); }
    RoutingReport take(int batches) {
        const Row row = rows_.take();
        const double scale = layers_ > 0 ? 1.0 / (layers_ * batches) : 0;
        const auto mean = [&](int i) { return scale * static_cast<double>(row.values[i]); };
        return {mean(0), mean(1), mean(2), mean(3), mean(4)};
    }

private:
    /// Adds a layer's part of the losses.
    template <class X>
    void add_losses(const Layer& layer, const X& balance, const X& z, std::optional<TrackedScalar>& all) {
        const auto add = [&](double weight, const auto& loss) {
            if (weight == 0) return;
            if (all)
                all = TrackedScalar(*all + weight / layers_ * loss);
            else
                all = TrackedScalar(weight / layers_ * loss);
        };
        add(options_.balance, balance);
        add(options_.z_loss, z);
        if (options_.sequence_balance != 0) add(options_.sequence_balance, load_balancing_loss(layer, true));
    }

    template <class X>
    void note(const Layer& layer, const X& balance, const X& z) {
        const auto probabilities = detach(layer.probabilities);
        const int tokens = probabilities.extents()[0], experts = probabilities.extents()[1];
        const auto assignments = static_cast<double>(layer.chosen.size());
        const auto counts = count_experts<Compute>(layer.chosen, experts);
        constexpr double least = std::numeric_limits<Compute>::min();
        const Scalar greatest = (experts / assignments) * max<axis<0, 1>>(counts);
        const Scalar entropy =
            (-1.0 / tokens) * sum<axis<0, 1>>(probabilities * log(max(probabilities, least)));
        const auto dropped = [&]() -> Scalar {
            if (layer.capacity == 0) return Scalar::zeros();
            return (1 / assignments) * sum<axis<0, 1>>(relu(counts - layer.capacity));
        };
        const Scalar found[statistics] = {detach(balance), detach(z), greatest, entropy, dropped()};
        for (int i = 0; i < statistics; ++i)
            put(found[i].data(), 1, sums_.data() + i, is_first_ && noted_ == 0);
        if (!biases_.empty()) put(counts.data(), experts, counts_.at(noted_).data(), is_first_);
        ++noted_;
    }

    static void put(const Compute* from, std::int64_t count, Compute* to, bool is_first) {
        if (is_first)
            Memory<Device>::copy(from, count, to);
        else
            Memory<Device>::add(from, count, to);
    }

    RoutingOptions options_;
    int layers_ = 0;
    std::vector<ParameterBase*> biases_;                            // of the layers, in their order
    std::vector<Tensor<Compute, Shape<dyn, dyn>, Device>> counts_;  // a step's assignments of each
    Tensor<Compute, Shape<statistics>, Device> sums_ = Tensor<Compute, Shape<statistics>, Device>::zeros();
    std::size_t noted_ = 0;  // layers of the pass
    bool is_first_ = true;
    double factor_ = 1;
    Readback<Row, Device> rows_;
};

}  // namespace tenon::detail
