#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <tenon/core/error.hpp>
#include <tenon/optim/gradients.hpp>

namespace tenon {

/// Names AdamW's update where kernels are declared.
struct AdamWUpdate {};

struct AdamWOptions {
    double rate = 1e-3;     ///< learning rate; `AdamW::rate` may change it from step to step
    double beta1 = 0.9;     ///< decay of the first moment
    double beta2 = 0.999;   ///< decay of the second moment
    double epsilon = 1e-8;  ///< added to the root of the second moment
    double decay = 0.01;    ///< weight decay, times the rate, of every parameter
};

/// Adam with decoupled weight decay (Loshchilov, Hutter 2019), as PyTorch computes it: one pass over each
/// parameter, its gradient and its two moments. C is the type of gradients and moments. Each parameter counts
/// its own steps, those in which it had a gradient: what first receives one late in a run has the bias of its
/// moments corrected from its first.
template <class T, class C, class Device>
class AdamW {
public:
    /// For the parameters of a model, which must stay where it is.
    template <class Model>
        requires(Model::is_tracked)
    explicit AdamW(Model& model, AdamWOptions options = {}) : AdamW(parameters_of(model), options) {}

    /// For these parameters. Throws Error where one is not tracked, or not of element type T.
    explicit AdamW(std::vector<ParameterBase*> parameters, AdamWOptions options = {})
        : rate(options.rate),
          options_(options),
          parameters_(std::move(parameters)),
          updates_(parameters_.size(), 0) {
        for (std::size_t i = 0; i < parameters_.size(); ++i) require_trainable(i);
        for (const ParameterBase* parameter : parameters_) {
            const std::size_t bytes = static_cast<std::size_t>(parameter->size()) * sizeof(C);
            for (std::vector<Storage>* moments : {&first_, &second_}) {
                moments->emplace_back(Memory<Device>::allocate(bytes));
                Kernel<AdamWUpdate, Device>::clear(static_cast<C*>(moments->back().data()),
                                                   parameter->size());
            }
        }
    }

    /// Scales the gradients to a norm of at most `maximum`; returns their norm before.
    double clip(double maximum) { return clip_gradient_norm<C, Device>(parameters_, maximum); }

    /// Updates each parameter that has a gradient, and forgets the gradients.
    void step() {
        ++steps_;
        for (std::size_t i = 0; i < parameters_.size(); ++i) {
            ParameterBase& parameter = *parameters_[i];
            if (!parameter.gradient->written) continue;
            const auto number = static_cast<double>(++updates_[i]);
            const double correction1 = 1 - std::pow(options_.beta1, number);
            const double correction2 = 1 - std::pow(options_.beta2, number);
            Kernel<AdamWUpdate, Device>::template run<T, C>(
                static_cast<T*>(parameter.data), static_cast<const C*>(parameter.gradient->storage.data()),
                static_cast<C*>(first_[i].data()), static_cast<C*>(second_[i].data()), parameter.size(),
                {static_cast<C>(options_.beta1), static_cast<C>(options_.beta2),
                 static_cast<C>(1 - options_.beta1), static_cast<C>(1 - options_.beta2),
                 static_cast<C>(1 - rate * options_.decay), static_cast<C>(rate / correction1),
                 static_cast<C>(1 / std::sqrt(correction2)), static_cast<C>(options_.epsilon)});
            parameter.gradient->written = false;
        }
    }

    /// Number of calls of `step`; a parameter without a gradient sits some of them out.
    std::int64_t steps() const { return steps_; }

    double rate;  ///< of the next step

private:
    void require_trainable(std::size_t number) const {
        const ParameterBase& parameter = *parameters_[number];
        const std::string where = "AdamW: parameter " + std::to_string(number) + ": expected ";
        if (!parameter.gradient) throw Error(where + "a tracked parameter, got one that only runs forward");
        if (parameter.type != element_type_of<T>())
            throw Error(where + "elements of type " + std::string(name_of(element_type_of<T>())) + ", got " +
                        std::string(name_of(parameter.type)));
    }

    AdamWOptions options_;
    std::int64_t steps_ = 0;
    std::vector<ParameterBase*> parameters_;
    std::vector<std::int64_t> updates_;  // of each parameter
    std::vector<Storage> first_, second_;
};

template <class Model>
AdamW(Model&, AdamWOptions) -> AdamW<typename Model::Value, typename Model::Gradient, typename Model::Device>;
template <class Model>
AdamW(Model&) -> AdamW<typename Model::Value, typename Model::Gradient, typename Model::Device>;

/// One update's numbers, ready for the kernel.
template <class C>
struct AdamWStep {
    C beta1, beta2, one_minus_beta1, one_minus_beta2;
    C keep;                     ///< 1 - rate · decay
    C rate;                     ///< over the first moment's bias correction
    C inverse_root_correction;  ///< of the second moment
    C epsilon;
};

}  // namespace tenon
