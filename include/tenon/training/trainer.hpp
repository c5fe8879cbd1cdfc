#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <tenon/core/readback.hpp>
#include <tenon/core/repeated_work.hpp>
#include <tenon/nn/dropout.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/training/loader.hpp>
#include <tenon/training/step_report.hpp>

namespace tenon {

/// What is added to the loss of a model with mixtures of experts, each on average over its layers, so that
/// their work is balanced: OLMoE has a balance of 0.01 and a z-loss of 0.001, DeepSeek-V3 a balance of
/// sequences of 0.0001 and biases that move by 0.001.
struct RoutingOptions {
    double balance = 0;           ///< weight of `load_balancing_loss`
    double sequence_balance = 0;  ///< weight of the same of each sequence by itself
    double z_loss = 0;            ///< weight of `router_z_loss`
    double bias_rate = 0;  ///< by how much a step moves the routers' biases (see `balance` of a mixture)

    bool operator==(const RoutingOptions&) const = default;
};

struct TrainerOptions {
    int accumulate = 1;       ///< batches whose gradients make one step
    double largest_norm = 1;  ///< that gradients are clipped to
    Seed seed = {};           ///< of dropout
    bool replays = true;      ///< whether a GPU is given steps as graphs
    RoutingOptions routing = {};
};

namespace detail {

template <class Model>
inline constexpr bool has_mixtures = requires {
    requires Model::Configuration::mixture_of_experts;
};

/// What a trainer does beside for a model with mixtures of experts. It is in a header of its own, so that
/// other models do not pay for it.
template <class Model>
class MixtureTraining {
    static_assert(!has_mixtures<Model>,
                  "to train a model with mixtures of experts include <tenon/training/mixture_training.hpp>");

public:
    MixtureTraining(Model&, const RoutingOptions& options) {
        if (options != RoutingOptions{})
            throw Error("trainer: expected a model with mixtures of experts to balance, got one without");
    }
};

}  // namespace detail

/// Steps of training: forward and backward passes of some batches, clipping, and the optimizer's update.
/// Nothing waits for a GPU: it is given a whole step while it works on the one before, from the second step
/// on as graphs that are captured then, so a report comes a step late.
///
///     Trainer trainer(model, optimizer, batches, {.accumulate = 4});
///     for (std::int64_t step = 0; step < 1000; ++step) {
///         optimizer.rate = schedule(step);
///         trainer.step(step);
///         if (const auto report = trainer.report()) print(report->loss);
///     }
///     if (const auto report = trainer.last_report()) print(report->loss);
///
/// All three must outlive it and stay where they are.
template <class Model, class Optimizer, class Batches>
class Trainer {
    using Device = typename Model::Device;
    using Loss = ComputeOf<typename Model::Value>;
    using Mixtures = detail::MixtureTraining<Model>;
    using Norm = decltype(std::declval<Optimizer&>().clip(1.0));
    static constexpr bool is_host = std::same_as<Device, Cpu>, has_adapters = requires {
        requires Model::Setting::is_adapted;
    }
    , drops_out = Model::Configuration::dropout > 0 || has_adapters, records = detail::has_mixtures<Model>;

public:
    /// Throws Error where the options are out of range.
    Trainer(Model& model, Optimizer& optimizer, const Batches& batches, const TrainerOptions& options = {})
        : model_(model),
          optimizer_(optimizer),
          loader_(batches),
          options_(options),
          mixtures_(model, options.routing) {
        if (options.accumulate < 1)
            throw Error("trainer: expected at least one batch a step, got " +
                        std::to_string(options.accumulate));
    }

    /// Step number `step`, of batches from accumulate · step on. On the host a step whose loss or norm is not
    /// finite changes no parameter.
    void step(std::int64_t step) {
        report();  // one that nobody asked for
        for (int part = 0; part < options_.accumulate; ++part) {
            const std::int64_t number = options_.accumulate * step + part;
            const auto& batch = loader_(number);
            if constexpr (drops_out)
                Memory<Device>::fill(number_.data(), 1, static_cast<std::uint64_t>(number));
            const auto work = [&] { add_gradients(batch, part); };
            run(part == 0 ? first_ : others_, work);
        }
        if constexpr (is_host) {
            const double norm = optimizer_.clip(options_.largest_norm);
            if (Optimizer::has_loss_scale || (std::isfinite(loss_.item()) && std::isfinite(norm))) {
                optimizer_.step();
                balance_biases();
            }
            norms_.send(&norm);
        } else {
            if (steps_ > 0) optimizer_.prepare_step();
            if (steps_ == 1) optimizer_.clip(options_.largest_norm);  // notes where gradients are, outside
            run(update_, [&] {
                norm_.emplace(optimizer_.clip(options_.largest_norm));
                if (steps_ == 0)
                    optimizer_.step();
                else
                    optimizer_.enqueue_step();
                balance_biases();
            });
            // They find their place anew while the passes are captured, where activations have made room.
            if (steps_ == 0 && options_.replays)
                for_each_parameter(model_, [](std::string_view, ParameterBase& parameter) {
                    if (parameter.gradient) parameter.gradient->storage.reset();
                });
            norms_.send(norm_->data());
        }
        losses_.send(loss_.data());
        if constexpr (records) mixtures_.send();
        steps_ = std::min(steps_ + 1, 2);
        rates_[0] = std::exchange(rates_[1], optimizer_.rate);
        step_ = step;
    }

    /// What the last step found, on a GPU the one before it; nothing where that was told already.
    std::optional<StepReport> report() { return report_beyond(Readback<Loss, Device>::lag); }
    /// What the last step found, unless that was told already: for the end, and wherever a run must be whole.
    std::optional<StepReport> last_report() { return report_beyond(0); }

private:
    template <class Work>
    void run(RepeatedWork<Device>& repeated, Work&& work) {
        if (options_.replays && steps_ > 0)
            repeated.replay(work);
        else
            work();
    }

    template <class Batch>
    void add_gradients(const Batch& batch, int part) {
        const auto loss_of = [&](auto&... record) {
            if constexpr (drops_out)
                return cross_entropy(
                    model_(batch.inputs, DropoutKey{options_.seed, 0, number_.data()}, record...),
                    batch.targets);
            else
                return cross_entropy(model_(batch.inputs, record...), batch.targets);
        };
        const auto note = [&](const auto& loss) {
            if (part == 0)
                Memory<Device>::copy(static_cast<const Loss*>(loss.data()), 1, loss_.data());
            else
                Memory<Device>::add(static_cast<const Loss*>(loss.data()), 1, loss_.data());
        };
        if constexpr (records) {
            auto record = mixtures_.record(part, 1.0 / options_.accumulate);
            const auto loss = loss_of(record);
            note(loss);
            optimizer_.backward(mixtures_.with_losses(loss, record), 1.0 / options_.accumulate);
        } else {
            const auto loss = loss_of();
            note(loss);
            optimizer_.backward(loss, 1.0 / options_.accumulate);
        }
    }

    void balance_biases() {
        if constexpr (records) mixtures_.balance_biases();
    }

    std::optional<StepReport> report_beyond(std::size_t lag) {
        if (losses_.pending() <= lag) return std::nullopt;
        const auto late = static_cast<std::int64_t>(losses_.pending() - 1);
        const auto sum = static_cast<double>(losses_.take());
        StepReport report{step_ - late, rates_[1 - late], sum / options_.accumulate, norms_.take()};
        if constexpr (records) report.routing = mixtures_.take(options_.accumulate);
        return report;
    }

    Model& model_;
    Optimizer& optimizer_;
    Loader<Batches, Device> loader_;
    TrainerOptions options_;
    [[no_unique_address]] Mixtures mixtures_;
    RepeatedWork<Device> first_, others_ = first_.sibling(), update_ = first_.sibling();
    Tensor<Loss, Shape<>, Device> loss_ = Tensor<Loss, Shape<>, Device>::zeros();
    Tensor<std::uint64_t, Shape<>, Device> number_ =
        Tensor<std::uint64_t, Shape<>, Device>::zeros();  // a batch's
    std::optional<Norm> norm_;                            // of each step in its turn, in the GPU's memory
    int steps_ = 0;                                       // done, of the first two: as it is, and captured
    std::int64_t step_ = 0;
    double rates_[2] = {};  // of the last two steps
    Readback<Loss, Device> losses_;
    Readback<double, Device> norms_;
};

}  // namespace tenon
