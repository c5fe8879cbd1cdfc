#pragma once

#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// Names Lion's update where kernels are declared.
struct LionUpdate {};

/// One update's numbers, ready for the kernel.
template <class C>
struct LionStep {
    C beta1, beta2, one_minus_beta1, one_minus_beta2;
    C keep;  ///< 1 - rate · decay
    C rate;
};

/// Its authors take a tenth to a third of AdamW's rate, and as many times its decay.
struct LionOptions {
    double rate = 1e-4;
    double beta1 = 0.9;   ///< the momentum's share in the step
    double beta2 = 0.99;  ///< decay of the momentum
    double decay = 0.1;   ///< weight decay, times the rate
};

/// Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms"): the step is the sign of
/// beta1 · m + (1 - beta1) · g, then m = beta2 · m + (1 - beta2) · g. One pass, and one array of state.
template <class T, class C, class Device>
class Lion : public Optimizer<T, C, Device> {
    using Base = Optimizer<T, C, Device>;
    using typename Base::Entry;

public:
    /// See AdamW.
    template <TreatmentRule Rule = decltype(decay_all)>
    explicit Lion(const ParameterList& parameters, LionOptions options = {}, const Rule& rule = decay_all)
        : Base("Lion", parameters, options.rate, rule), options_(options) {
        for (Entry& entry : this->entries()) this->add_state(entry, "momentum", entry.size());
    }

    /// Updates each parameter that has a gradient, and forgets the gradients.
    void step() {
        this->update_each([&](Entry& entry) {
            Kernel<LionUpdate, Device>::template run<T, C>(
                entry.values(), entry.gradient(), entry.state(0), entry.size(),
                {static_cast<C>(options_.beta1), static_cast<C>(options_.beta2),
                 static_cast<C>(1 - options_.beta1), static_cast<C>(1 - options_.beta2),
                 static_cast<C>(this->keep_of(entry, options_.decay)), static_cast<C>(this->rate_of(entry))});
        });
    }

private:
    LionOptions options_;
};

template <class Model, class Rule = decltype(decay_all)>
Lion(Model&, LionOptions = {}, Rule = decay_all)
    -> Lion<typename Model::Value, typename Model::Gradient, typename Model::Device>;

}  // namespace tenon
