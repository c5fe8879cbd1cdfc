#pragma once

#include <cmath>
#include <cstdint>

#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// Names Adafactor's update where kernels are declared: Pass<T, C, Master>.
struct AdafactorUpdate {};

/// One update's numbers, ready for the kernel.
template <class C>
struct AdafactorStep {
    C beta, one_minus_beta;  ///< decay of the second moment
    C epsilon;               ///< added to squared gradients
    C keep;                  ///< 1 - rate · decay
    double rate;             ///< before it is scaled by the parameter's size
    double least_scale;      ///< of that scale; negative: it is not scaled
    double threshold;        ///< greatest root mean square of a step, before the rate
};

/// What makes them of the number of a parameter's update, which counts from 1.
template <class C>
struct AdafactorRule {
    double decay_exponent, epsilon, keep, rate, least_scale, threshold;
    bool relative_step;

    TENON_HOST_DEVICE AdafactorStep<C> step(std::int64_t updates) const {
        const auto number = static_cast<double>(updates);
        const double one_minus_beta = std::pow(number, -decay_exponent), most = 1 / std::sqrt(number);
        return {static_cast<C>(1 - one_minus_beta),
                static_cast<C>(one_minus_beta),
                static_cast<C>(epsilon),
                static_cast<C>(keep),
                relative_step && most < rate ? most : rate,
                least_scale,
                threshold};
    }
};

struct AdafactorOptions {
    double rate = 1e-2;
    double decay_exponent = 0.8;     ///< the second moment's decay at update t is 1 - t^(-decay_exponent)
    double epsilon = 1e-30;          ///< added to squared gradients
    double least_scale = 1e-3;       ///< of a parameter, where the rate is scaled by its size
    double threshold = 1;            ///< greatest root mean square of a step, before the rate
    double decay = 0;                ///< weight decay, times the rate as given
    bool scale_by_parameter = true;  ///< steps are relative to a parameter's root mean square
    bool relative_step = false;      ///< the rate at update t is at most 1 / sqrt(t)
};

/// Adafactor without momentum (Shazeer, Stern 2018, "Adafactor: adaptive learning rates with sublinear memory
/// cost"). Of a matrix, the state is one number for each row and each column:
///
///     beta_t = 1 - t^(-0.8)
///     r_i = beta_t · r_i + (1 - beta_t) · mean over j of (g_ij² + epsilon),  c_j in the same way
///     u_ij = g_ij / sqrt(r_i · c_j / mean(r)),  u = u / max(1, rms(u) / threshold)
///     p = (1 - rate · decay) · p - rate · max(least_scale, rms(p)) · u
///
/// What has one axis keeps a second moment v of its own shape, and u = g / sqrt(v). Of what has more than two
/// axes, the last two are factored, and rms is over the whole. With `relative_step` and `scale_by_parameter`
/// it is PyTorch's; with neither, that of Hugging Face's with a rate from outside. Three passes.
template <class T, class C, class Device, class Master = T>
class Adafactor : public Optimizer<T, C, Device, Master> {
    using Base = Optimizer<T, C, Device, Master>;
    using typename Base::Entry;

public:
    /// See AdamW.
    template <TreatmentRule Rule = TreatmentFunction>
    explicit Adafactor(const ParameterList& parameters, AdafactorOptions options = {},
                       const Rule& rule = decay_all)
        : Base("Adafactor", parameters, options.rate, rule), options_(options) {
        for (Entry& entry : this->entries()) {
            if (const Matrices matrices = matrices_of(*entry.parameter); matrices.count > 0) {
                this->add_state(entry, "row_moment", matrices.count * matrices.rows);
                this->add_state(entry, "column_moment", matrices.count * matrices.columns);
            } else {
                this->add_state(entry, "second_moment", entry.size());
            }
        }
        pass_ = Pass(this->all_entries());
    }

private:
    using Pass = typename Kernel<AdafactorUpdate, Device>::template Pass<T, C, Master>;

    void prepare() override {
        pass_.prepare(
            [&](const Entry& entry) {
                return AdafactorRule<C>{options_.decay_exponent,
                                        options_.epsilon,
                                        this->keep_of(entry, options_.decay),
                                        this->rate_of(entry),
                                        options_.scale_by_parameter ? options_.least_scale : -1,
                                        options_.threshold,
                                        options_.relative_step};
            },
            this->seed);
    }
    void enqueue(const typename Base::GradientScale& scale) override { pass_.run(scale); }

    AdafactorOptions options_;
    Pass pass_;
};

template <class Model, class Rule = TreatmentFunction>
Adafactor(Model&, AdafactorOptions = {}, Rule = decay_all)
    -> Adafactor<typename Model::Value, typename Model::Gradient, typename Model::Device, MasterOf<Model>>;

}  // namespace tenon
