#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tenon/core/to_device.hpp>
#include <tenon/inference/sampling.hpp>
#include <tenon/model/transformer.hpp>
#include <tenon/optim/adamw.hpp>
#include <tenon/optim/lion.hpp>
#include <tenon/optim/muon.hpp>
#include <tenon/optim/sgd.hpp>
#include <tenon/training/evaluate.hpp>
#include <tenon/training/mixed_batches.hpp>
#include <tenon/training/non_finite.hpp>
#include <tenon/training/trainer.hpp>
#include <tenon/training/training_state.hpp>

/// The model that is trained. Change its numbers and compile again.
struct Small : tenon::TransformerDefaults {
    static constexpr int vocabulary = 1024, context = 256, width = 192, depth = 4, heads = 6, hidden = 512;
    static constexpr tenon::RotaryPairs rotary_pairs =
        tenon::RotaryPairs::half_split;  // as its files have it
};
inline constexpr int batch_size = 4;

using Token = std::uint16_t;
using Batches = tenon::MixedBatches<batch_size, Small::context, Token>;

template <class Device, tenon::Precision P>
struct Training;

/// What train_lm needs of a device: the model, its optimizer, and all that runs kernels. The host's program
/// compiles it along; for a GPU a .cu file does, and the rest of the program only calls it.
template <class Device, tenon::Precision P>
class Learner {
public:
    using Model = tenon::Transformer<Small, Device, P>;

    /// `optimizer`: adamw, lion, muon or sgd.
    Learner(tenon::Seed seed, const std::string& optimizer);
    ~Learner();

    /// Says what to train on, `accumulate` batches a step; they must outlive the learner.
    void train_on(const Batches& batches, int accumulate);
    /// Step number `step`. Returns what is known by then: see tenon::Trainer.
    std::optional<tenon::StepReport> step(std::int64_t step, double rate);
    /// What the last step found, if `step` has not said it.
    std::optional<tenon::StepReport> last_report();

    /// Views what training changes: the model and the optimizer.
    void add_to(tenon::TrainingState& state);
    /// Judges the model by tokens that stand for a text of so many bytes.
    tenon::Evaluation evaluate(std::span<const Token> tokens, std::int64_t bytes) const;
    /// Tokens that the model writes after `first`, up to `end`, a function of the random numbers. They are
    /// few: a cache of keys and values would cost more to compile than it saves.
    std::vector<Token> write(Token first, Token end, const tenon::Philox& random) const;

    std::optional<tenon::NonFinite> first_non_finite_parameter();
    /// Which tensor went wrong first in a step.
    std::optional<tenon::NonFinite> first_non_finite(const Batches& batches, std::int64_t step,
                                                     int accumulate);

    tenon::Trainable<Model> model;

private:
    Model plain_;  // only runs forward, on the same parameters
    std::unique_ptr<Training<Device, P>> training_;
};

/// What trains the model. No part of the learner's type, so that who only calls that needs no kernels.
template <class Device, tenon::Precision P>
struct Training {
    using Model = tenon::Trainable<tenon::Transformer<Small, Device, P>>;
    using T = typename P::storage;
    using C = typename P::gradient;
    using Master = typename P::master;
    using Optimizer = tenon::Optimizer<T, C, Device, Master>;  // what all of them share
    using Trainer = tenon::Trainer<Model, Optimizer, Batches>;

    Training(const std::string& name, Model& model) : optimizer(make(name, model)) {}

    static std::unique_ptr<Optimizer> make(const std::string& name, Model& model) {
        if (name == "lion") return std::make_unique<tenon::Lion<T, C, Device, Master>>(model);
        if (name == "muon") return std::make_unique<tenon::Muon<T, C, Device, Master>>(model);
        if (name == "sgd")
            return std::make_unique<tenon::SGD<T, C, Device, Master>>(model,
                                                                      tenon::SGDOptions{.momentum = 0.9});
        return std::make_unique<tenon::AdamW<T, C, Device, Master>>(
            model, tenon::AdamWOptions{.beta2 = 0.95, .decay = 0.1});
    }

    std::unique_ptr<Optimizer> optimizer;
    std::optional<Trainer> trainer;
};

template <class Device, tenon::Precision P>
Learner<Device, P>::Learner(tenon::Seed seed, const std::string& optimizer)
    : model(seed), plain_(model), training_(std::make_unique<Training<Device, P>>(optimizer, model)) {}

template <class Device, tenon::Precision P>
Learner<Device, P>::~Learner() {}

template <class Device, tenon::Precision P>
void Learner<Device, P>::train_on(const Batches& batches, int accumulate) {
    training_->trainer.emplace(model, *training_->optimizer, batches,
                               tenon::TrainerOptions{.accumulate = accumulate});
}

template <class Device, tenon::Precision P>
std::optional<tenon::StepReport> Learner<Device, P>::step(std::int64_t step, double rate) {
    training_->optimizer->rate = rate;
    training_->trainer->step(step);
    return training_->trainer->report();
}

template <class Device, tenon::Precision P>
std::optional<tenon::StepReport> Learner<Device, P>::last_report() {
    return training_->trainer->last_report();
}

template <class Device, tenon::Precision P>
void Learner<Device, P>::add_to(tenon::TrainingState& state) {
    state.add_parameters("model", model);
    state.add_part("optimizer", *training_->optimizer);
}

template <class Device, tenon::Precision P>
tenon::Evaluation Learner<Device, P>::evaluate(std::span<const Token> tokens, std::int64_t bytes) const {
    return tenon::evaluate(plain_, tokens, bytes, batch_size, Small::context);
}

template <class Device, tenon::Precision P>
std::vector<Token> Learner<Device, P>::write(Token first, Token end, const tenon::Philox& random) const {
    using tenon::dyn, tenon::Shape, tenon::Tensor;
    std::vector<Token> ids{first};
    constexpr std::size_t longest = std::min(80, Small::context);
    while (ids.size() < longest && (ids.size() == 1 || ids.back() != end)) {
        const auto batch = Tensor<Token, Shape<dyn, dyn>, Device>::from(ids, 1, static_cast<int>(ids.size()));
        const Tensor logits = tenon::to_device<tenon::Cpu>(plain_(batch).last().tensor());
        ids.push_back(static_cast<Token>(tenon::sample(logits.data(), Small::vocabulary,
                                                       {.temperature = 0.8, .top_p = 0.95},
                                                       random.uniform(ids.size()))));
    }
    return ids;
}

template <class Device, tenon::Precision P>
std::optional<tenon::NonFinite> Learner<Device, P>::first_non_finite_parameter() {
    return tenon::first_non_finite_parameter(model);
}

template <class Device, tenon::Precision P>
std::optional<tenon::NonFinite> Learner<Device, P>::first_non_finite(const Batches& batches,
                                                                     std::int64_t step, int accumulate) {
    // Lengths that are open, as in judging: the passes are compiled already.
    return tenon::first_non_finite(model, plain_, accumulate, [&](int part) {
        using Ids = tenon::Tensor<Token, tenon::Shape<tenon::dyn, tenon::dyn>, Device>;
        return Ids(tenon::to_device<Device>(batches(accumulate * step + part).inputs));
    });
}
