#pragma once

#include <cmath>
#include <cstdint>

#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// Names AdamW's update where kernels are declared.
struct AdamWUpdate {};

/// One update's numbers, ready for the kernel.
template <class C>
struct AdamWStep {
    C beta1, beta2, one_minus_beta1, one_minus_beta2;
    C keep;                     ///< 1 - rate · decay
    C rate;                     ///< over the first moment's bias correction
    C inverse_root_correction;  ///< of the second moment
    C epsilon;
};

struct AdamWOptions {
    double rate = 1e-3;     ///< learning rate; `AdamW::rate` may change it from step to step
    double beta1 = 0.9;     ///< decay of the first moment
    double beta2 = 0.999;   ///< decay of the second moment
    double epsilon = 1e-8;  ///< added to the root of the second moment
    double decay = 0.01;    ///< weight decay, times the rate
};

/// The numbers of a parameter's update number `number`, which counts from 1.
template <class C>
AdamWStep<C> adamw_step(const AdamWOptions& options, double rate, double keep, std::int64_t number) {
    const double correction1 = 1 - std::pow(options.beta1, static_cast<double>(number));
    const double correction2 = 1 - std::pow(options.beta2, static_cast<double>(number));
    return {static_cast<C>(options.beta1),
            static_cast<C>(options.beta2),
            static_cast<C>(1 - options.beta1),
            static_cast<C>(1 - options.beta2),
            static_cast<C>(keep),
            static_cast<C>(rate / correction1),
            static_cast<C>(1 / std::sqrt(correction2)),
            static_cast<C>(options.epsilon)};
}

/// Adam with decoupled weight decay (Loshchilov, Hutter 2019), as PyTorch computes it: one pass over each
/// parameter, its gradient and its two moments. C is the type of gradients and moments. Each parameter counts
/// its own steps, those in which it had a gradient: what first receives one late in a run has the bias of its
/// moments corrected from its first. A rule says which parameters decay, or have rates of their own:
///
///     AdamW optimizer{model, {.rate = 3e-4, .decay = 0.1}, decay_matrices_only};
template <class T, class C, class Device>
class AdamW : public Optimizer<T, C, Device> {
    using Base = Optimizer<T, C, Device>;
    using typename Base::Entry;

public:
    /// For the parameters of a model, which must stay where it is, or for bare ones. Throws Error where one
    /// is not tracked, not of element type T, or there twice.
    template <TreatmentRule Rule = decltype(decay_all)>
    explicit AdamW(const ParameterList& parameters, AdamWOptions options = {}, const Rule& rule = decay_all)
        : Base("AdamW", parameters, options.rate, rule), options_(options) {
        for (Entry& entry : this->entries()) {
            this->add_state(entry, "first_moment", entry.size());
            this->add_state(entry, "second_moment", entry.size());
        }
    }

    /// Updates each parameter that has a gradient, and forgets the gradients.
    void step() {
        this->update_each([&](Entry& entry) {
            Kernel<AdamWUpdate, Device>::template run<T, C>(
                entry.values(), entry.gradient(), entry.state(0), entry.state(1), entry.size(),
                adamw_step<C>(options_, this->rate_of(entry), this->keep_of(entry, options_.decay),
                              entry.updates));
        });
    }

private:
    AdamWOptions options_;
};

template <class Model, class Rule = decltype(decay_all)>
AdamW(Model&, AdamWOptions = {}, Rule = decay_all)
    -> AdamW<typename Model::Value, typename Model::Gradient, typename Model::Device>;

}  // namespace tenon
