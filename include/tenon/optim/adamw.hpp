#pragma once

#include <cmath>
#include <cstdint>

#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// One update's numbers, ready for the kernel.
template <class C>
struct AdamWStep {
    static constexpr int state_count = 2;

    C beta1, beta2, one_minus_beta1, one_minus_beta2;
    C keep;                     ///< 1 - rate · decay
    C rate;                     ///< over the first moment's bias correction
    C inverse_root_correction;  ///< of the second moment
    C epsilon;

    template <class V>
    TENON_HOST_DEVICE void operator()(V& p, V g, V (&state)[2]) const {
        auto& [m, v] = state;
        m = fma(V(beta1), m, V(one_minus_beta1) * g);
        v = fma(V(beta2), v, V(one_minus_beta2) * g * g);
        const V root = fma(sqrt(v), V(inverse_root_correction), V(epsilon));
        p = fma(V(keep), p, V(-rate) * m / root);
    }
};

struct AdamWOptions {
    double rate = 1e-3;     ///< learning rate; `AdamW::rate` may change it from step to step
    double beta1 = 0.9;     ///< decay of the first moment
    double beta2 = 0.999;   ///< decay of the second moment
    double epsilon = 1e-8;  ///< added to the root of the second moment
    double decay = 0.01;    ///< weight decay, times the rate
};

/// What makes them of the number of a parameter's update, which counts from 1.
template <class C>
struct AdamWRule {
    double beta1, beta2, epsilon;
    double rate, keep;

    TENON_HOST_DEVICE AdamWStep<C> step(std::int64_t number) const {
        const double correction1 = 1 - std::pow(beta1, static_cast<double>(number));
        const double correction2 = 1 - std::pow(beta2, static_cast<double>(number));
        return {static_cast<C>(beta1),
                static_cast<C>(beta2),
                static_cast<C>(1 - beta1),
                static_cast<C>(1 - beta2),
                static_cast<C>(keep),
                static_cast<C>(rate / correction1),
                static_cast<C>(1 / std::sqrt(correction2)),
                static_cast<C>(epsilon)};
    }
};

/// Adam with decoupled weight decay (Loshchilov, Hutter 2019), as PyTorch computes it: one pass over each
/// parameter, its gradient and its two moments. C is the type of gradients and moments. Each parameter counts
/// its own steps, those in which it had a gradient: what first receives one late in a run has the bias of its
/// moments corrected from its first. A rule says which parameters decay, or have rates of their own:
///
///     AdamW optimizer{model, {.rate = 3e-4, .decay = 0.1}, decay_matrices_only};
template <class T, class C, class Device, class Master = T>
class AdamW : public Optimizer<T, C, Device, Master> {
    using Base = Optimizer<T, C, Device, Master>;
    using typename Base::Entry;

public:
    /// For the parameters of a model, which must stay where it is, or for bare ones. Throws Error where one
    /// is not tracked, not of element type T, or there twice.
    template <TreatmentRule Rule = TreatmentFunction>
    explicit AdamW(const ParameterList& parameters, AdamWOptions options = {}, const Rule& rule = decay_all)
        : Base("AdamW", parameters, options.rate, rule), options_(options) {
        for (Entry& entry : this->entries()) {
            this->add_state(entry, "first_moment", entry.size());
            this->add_state(entry, "second_moment", entry.size());
        }
        pass_ = Pass(this->all_entries());
    }

private:
    using Pass = typename Kernel<ElementwiseUpdate, Device>::template Pass<AdamWRule<C>, T, C, Master>;

    void prepare() override {
        pass_.prepare(
            [&](const Entry& entry) {
                return AdamWRule<C>{options_.beta1, options_.beta2, options_.epsilon, this->rate_of(entry),
                                    this->keep_of(entry, options_.decay)};
            },
            this->seed);
    }
    void enqueue(const typename Base::GradientScale& scale) override { pass_.run(scale); }

    AdamWOptions options_;
    Pass pass_;
};

template <class Model, class Rule = TreatmentFunction>
AdamW(Model&, AdamWOptions = {}, Rule = decay_all)
    -> AdamW<typename Model::Value, typename Model::Gradient, typename Model::Device, MasterOf<Model>>;

}  // namespace tenon
