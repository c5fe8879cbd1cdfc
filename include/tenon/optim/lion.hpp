#pragma once

#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// One update's numbers, ready for the kernel.
template <class C>
struct LionStep {
    static constexpr int state_count = 1;

    C beta1, beta2, one_minus_beta1, one_minus_beta2;
    C keep;  ///< 1 - rate · decay
    C rate;

    template <class V>
    TENON_HOST_DEVICE void operator()(V& p, V g, V (&state)[1]) const {
        V& m = state[0];
        const V zero(C(0)), up(rate);
        const V u = fma(V(beta1), m, V(one_minus_beta1) * g);
        // Where u is neither above nor below zero it is itself the step: zero, or NaN.
        const V change = select(u > zero, up, select(u < zero, -up, u));
        p = fma(V(keep), p, -change);
        m = fma(V(beta2), m, V(one_minus_beta2) * g);
    }
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
template <class T, class C, class Device, class Master = T>
class Lion : public Optimizer<T, C, Device, Master> {
    using Base = Optimizer<T, C, Device, Master>;
    using typename Base::Entry;

public:
    /// See AdamW.
    template <TreatmentRule Rule = TreatmentFunction>
    explicit Lion(const ParameterList& parameters, LionOptions options = {}, const Rule& rule = decay_all)
        : Base("Lion", parameters, options.rate, rule), options_(options) {
        for (Entry& entry : this->entries()) this->add_state(entry, "momentum", entry.size());
        pass_ = Pass(this->all_entries());
    }

private:
    using Pass = typename Kernel<ElementwiseUpdate, Device>::template Pass<LionStep<C>, T, C, Master>;

    void prepare() override {
        pass_.prepare(
            [&](const Entry& entry) {
                return LionStep<C>{static_cast<C>(options_.beta1),
                                   static_cast<C>(options_.beta2),
                                   static_cast<C>(1 - options_.beta1),
                                   static_cast<C>(1 - options_.beta2),
                                   static_cast<C>(this->keep_of(entry, options_.decay)),
                                   static_cast<C>(this->rate_of(entry))};
            },
            this->seed);
    }
    void enqueue(const typename Base::GradientScale& scale) override { pass_.run(scale); }

    LionOptions options_;
    Pass pass_;
};

template <class Model, class Rule = TreatmentFunction>
Lion(Model&, LionOptions = {}, Rule = decay_all)
    -> Lion<typename Model::Value, typename Model::Gradient, typename Model::Device, MasterOf<Model>>;

}  // namespace tenon
