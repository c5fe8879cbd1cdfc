#pragma once

#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// Names the update of gradient descent where kernels are declared.
struct SGDUpdate {};

/// One update's numbers, ready for the kernel.
template <class C>
struct SGDStep {
    C momentum;
    C keep;  ///< 1 - rate · decay
    C rate;
    bool nesterov;
};

struct SGDOptions {
    double rate = 1e-2;
    double momentum = 0;    ///< 0: none, and no state
    bool nesterov = false;  ///< steps by the gradient that the momentum leads to
    double decay = 0;       ///< weight decay, times the rate
};

/// Stochastic gradient descent with momentum, as PyTorch computes it, and decoupled weight decay:
/// v = momentum · v + g, and the step is v, or g + momentum · v with Nesterov's momentum (Sutskever et al.
/// 2013, "On the importance of initialization and momentum in deep learning"). One pass.
template <class T, class C, class Device>
class SGD : public Optimizer<T, C, Device> {
    using Base = Optimizer<T, C, Device>;
    using typename Base::Entry;

public:
    /// See AdamW. Throws Error, too, for Nesterov's momentum without one.
    template <TreatmentRule Rule = decltype(decay_all)>
    explicit SGD(const ParameterList& parameters, SGDOptions options = {}, const Rule& rule = decay_all)
        : Base("SGD", parameters, options.rate, rule), options_(options) {
        if (options.nesterov && options.momentum == 0)
            throw Error("SGD: expected a momentum with nesterov, got 0");
        if (options.momentum != 0)
            for (Entry& entry : this->entries()) this->add_state(entry, "momentum", entry.size());
    }

    /// Updates each parameter that has a gradient, and forgets the gradients.
    void step() {
        this->update_each([&](Entry& entry) {
            const SGDStep<C> step{static_cast<C>(options_.momentum),
                                  static_cast<C>(this->keep_of(entry, options_.decay)),
                                  static_cast<C>(this->rate_of(entry)), options_.nesterov};
            if (options_.momentum == 0)
                Kernel<SGDUpdate, Device>::template run<T, C>(entry.values(), entry.gradient(), entry.size(),
                                                              step);
            else
                Kernel<SGDUpdate, Device>::template run_with_momentum<T, C>(
                    entry.values(), entry.gradient(), entry.state(0), entry.size(), step);
        });
    }

private:
    SGDOptions options_;
};

template <class Model, class Rule = decltype(decay_all)>
SGD(Model&, SGDOptions = {}, Rule = decay_all)
    -> SGD<typename Model::Value, typename Model::Gradient, typename Model::Device>;

}  // namespace tenon
