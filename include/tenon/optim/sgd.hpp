#pragma once

#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// One update's numbers without momentum, ready for the kernel.
template <class C>
struct SGDStep {
    static constexpr int state_count = 0;

    C keep;  ///< 1 - rate · decay
    C rate;

    template <class V>
    TENON_HOST_DEVICE void operator()(V& p, V g, V (&)[1]) const {
        p = fma(V(-rate), g, p * V(keep));
    }
};

/// The same with momentum.
template <class C>
struct MomentumStep {
    static constexpr int state_count = 1;

    C momentum;
    C keep;  ///< 1 - rate · decay
    C rate;
    bool nesterov;

    template <class V>
    TENON_HOST_DEVICE void operator()(V& p, V g, V (&state)[1]) const {
        V& v = state[0];
        v = fma(V(momentum), v, g);
        const V u = nesterov ? fma(V(momentum), v, g) : v;
        p = fma(V(-rate), u, p * V(keep));
    }
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
template <class T, class C, class Device, class Master = T>
class SGD : public Optimizer<T, C, Device, Master> {
    using Base = Optimizer<T, C, Device, Master>;
    using typename Base::Entry;

public:
    /// See AdamW. Throws Error, too, for Nesterov's momentum without one.
    template <TreatmentRule Rule = TreatmentFunction>
    explicit SGD(const ParameterList& parameters, SGDOptions options = {}, const Rule& rule = decay_all)
        : Base("SGD", parameters, options.rate, rule), options_(options) {
        if (options.nesterov && options.momentum == 0)
            throw Error("SGD: expected a momentum with nesterov, got 0");
        if (options.momentum == 0) {
            plain_ = Pass<SGDStep<C>>(this->all_entries());
            return;
        }
        for (Entry& entry : this->entries()) this->add_state(entry, "momentum", entry.size());
        with_momentum_ = Pass<MomentumStep<C>>(this->all_entries());
    }

private:
    template <class Step>
    using Pass = typename Kernel<ElementwiseUpdate, Device>::template Pass<Step, T, C, Master>;

    void prepare() override {
        const auto keep = [&](const Entry& entry) {
            return static_cast<C>(this->keep_of(entry, options_.decay));
        };
        const auto rate = [&](const Entry& entry) { return static_cast<C>(this->rate_of(entry)); };
        plain_.prepare([&](const Entry& entry) { return SGDStep<C>{keep(entry), rate(entry)}; }, this->seed);
        with_momentum_.prepare(
            [&](const Entry& entry) {
                return MomentumStep<C>{static_cast<C>(options_.momentum), keep(entry), rate(entry),
                                       options_.nesterov};
            },
            this->seed);
    }
    void enqueue(const typename Base::GradientScale& scale) override {
        plain_.run(scale);
        with_momentum_.run(scale);
    }

    SGDOptions options_;
    Pass<SGDStep<C>> plain_;
    Pass<MomentumStep<C>> with_momentum_;
};

template <class Model, class Rule = TreatmentFunction>
SGD(Model&, SGDOptions = {}, Rule = decay_all)
    -> SGD<typename Model::Value, typename Model::Gradient, typename Model::Device, MasterOf<Model>>;

}  // namespace tenon
