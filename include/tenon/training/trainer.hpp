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

namespace tenon {

struct TrainerOptions {
    int accumulate = 1;       ///< batches whose gradients make one step
    double largest_norm = 1;  ///< that gradients are clipped to
    Seed seed = {};           ///< of dropout
    bool replays = true;      ///< whether a GPU is given steps as graphs
};

/// What a step found.
struct StepReport {
    std::int64_t step = 0;
    double rate = 0;  ///< the optimizer's
    double loss = 0;  ///< the mean of the step's batches
    double gradient_norm = 0;

    bool is_finite() const { return std::isfinite(loss) && std::isfinite(gradient_norm); }
};

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
    using Norm = decltype(std::declval<Optimizer&>().clip(1.0));
    static constexpr bool is_host = std::same_as<Device, Cpu>, drops_out = Model::Configuration::dropout > 0;

public:
    /// Throws Error where the options are out of range.
    Trainer(Model& model, Optimizer& optimizer, const Batches& batches, const TrainerOptions& options = {})
        : model_(model), optimizer_(optimizer), loader_(batches), options_(options) {
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
            if (Optimizer::has_loss_scale || (std::isfinite(loss_.item()) && std::isfinite(norm)))
                optimizer_.step();
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
            });
            // They find their place anew while the passes are captured, where activations have made room.
            if (steps_ == 0 && options_.replays)
                for_each_parameter(model_, [](std::string_view, ParameterBase& parameter) {
                    if (parameter.gradient) parameter.gradient->storage.reset();
                });
            norms_.send(norm_->data());
        }
        losses_.send(loss_.data());
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
        const auto add = [&](const auto& loss) {
            if (part == 0)
                Memory<Device>::copy(static_cast<const Loss*>(loss.data()), 1, loss_.data());
            else
                Memory<Device>::add(static_cast<const Loss*>(loss.data()), 1, loss_.data());
            optimizer_.backward(loss, 1.0 / options_.accumulate);
        };
        if constexpr (drops_out)
            add(cross_entropy(model_(batch.inputs, DropoutKey{options_.seed, 0, number_.data()}),
                              batch.targets));
        else
            add(cross_entropy(model_(batch.inputs), batch.targets));
    }

    std::optional<StepReport> report_beyond(std::size_t lag) {
        if (losses_.pending() <= lag) return std::nullopt;
        const auto late = static_cast<std::int64_t>(losses_.pending() - 1);
        const auto sum = static_cast<double>(losses_.take());
        return StepReport{step_ - late, rates_[1 - late], sum / options_.accumulate, norms_.take()};
    }

    Model& model_;
    Optimizer& optimizer_;
    Loader<Batches, Device> loader_;
    TrainerOptions options_;
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
