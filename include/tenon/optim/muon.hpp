#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include <tenon/optim/adamw.hpp>
#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// Names Muon's update of matrices where kernels are declared: Pass<T, C, Master>.
struct MuonUpdate {};

/// One update's numbers, ready for the kernel.
template <class C>
struct MuonStep {
    C momentum, one_minus_momentum;
    C keep;  ///< 1 - rate · decay
    C rate;  ///< times the scale for the matrix's extents
    bool nesterov;
    int iterations;  ///< of Newton and Schulz
};

/// How the step of a matrix [rows, columns], whose singular values are about 1, is scaled.
enum class MuonScale {
    /// 0.2 sqrt(max(rows, columns)): the elements' root mean square is that of AdamW's steps, so rates and
    /// decays that were found for AdamW serve, and one rate serves matrices and the rest alike (Liu et al.
    /// 2025, "Muon is scalable for LLM training").
    like_adamw,
    /// sqrt(max(1, rows / columns)), as Jordan has it: the step's effect on a layer's output is the same at
    /// any width, so a parameter's own scale of the rate is not applied. Rates are some 0.02; what AdamW
    /// updates needs a smaller one.
    spectral,
};

struct MuonOptions {
    double rate = 1e-3;
    double momentum = 0.95;
    bool nesterov = true;
    double decay = 0.1;  ///< weight decay, times the rate, of all
    int iterations = 5;  ///< of Newton and Schulz, at least 1
    MuonScale scale = MuonScale::like_adamw;
    double adamw_rate = 1;  ///< times the rate, for what AdamW updates
    double adamw_beta1 = 0.9, adamw_beta2 = 0.95, adamw_epsilon = 1e-8;
};

/// Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): the step of a matrix
/// is its momentum with all singular values brought close to 1,
///
///     m = momentum · m + (1 - momentum) · g,  u = (1 - momentum) · g + momentum · m with Nesterov's, else m
///     X = u / |u|, then five times X = (a + b X Xᵀ + c (X Xᵀ)²) X, (a, b, c) = (3.4445, -4.7750, 2.0315)
///     p = (1 - rate · decay) · p - rate · scale · X
///
/// for the parameters whose role is Role::matrix, those within blocks; of more than two axes the last two are
/// a matrix. AdamW updates the others: embeddings, head, gains, biases.
template <class T, class C, class Device, class Master = T>
class Muon : public Optimizer<T, C, Device, Master> {
    using Base = Optimizer<T, C, Device, Master>;
    using typename Base::Entry;

public:
    /// See AdamW. Throws Error for less than one iteration, too: the step would not be normalized.
    template <TreatmentRule Rule = TreatmentFunction>
    explicit Muon(const ParameterList& parameters, MuonOptions options = {}, const Rule& rule = decay_all)
        : Base("Muon", parameters, options.rate, rule), options_(options) {
        if (options.iterations < 1)
            throw Error("Muon: expected at least 1 iteration of Newton and Schulz, got " +
                        std::to_string(options.iterations));
        for (Entry& entry : this->entries()) {
            if (is_orthogonalized(entry)) {
                this->add_state(entry, "momentum", entry.size());
            } else {
                this->add_state(entry, "first_moment", entry.size());
                this->add_state(entry, "second_moment", entry.size());
            }
        }
        matrices_ = MatrixPass(this->entries_where(is_orthogonalized));
        others_ =
            OtherPass(this->entries_where([](const Entry& entry) { return !is_orthogonalized(entry); }));
    }

private:
    using MatrixPass = typename Kernel<MuonUpdate, Device>::template Pass<T, C, Master>;
    using OtherPass = typename Kernel<ElementwiseUpdate, Device>::template Pass<AdamWRule<C>, T, C, Master>;

    static bool is_orthogonalized(const Entry& entry) {
        return entry.parameter->role == Role::matrix && matrices_of(*entry.parameter).count > 0;
    }

    void prepare() override {
        matrices_.prepare([&](const Entry& entry) { return matrix_step(entry); }, this->seed);
        others_.prepare(
            [&](const Entry& entry) {
                return AdamWRule<C>{options_.adamw_beta1, options_.adamw_beta2, options_.adamw_epsilon,
                                    options_.adamw_rate * this->rate_of(entry),
                                    this->keep_of(entry, options_.adamw_rate * options_.decay)};
            },
            this->seed);
    }
    void enqueue(const typename Base::GradientScale& scale) override {
        matrices_.run(scale);
        others_.run(scale);
    }

    MuonStep<C> matrix_step(const Entry& entry) const {
        const Matrices matrices = matrices_of(*entry.parameter);
        const auto rows = static_cast<double>(matrices.rows), columns = static_cast<double>(matrices.columns);
        const double rate = options_.scale == MuonScale::like_adamw
                                ? this->rate_of(entry) * 0.2 * std::sqrt(std::max(rows, columns))
                                : this->group_rate_of(entry) * std::sqrt(std::max(1.0, rows / columns));
        return {static_cast<C>(options_.momentum),
                static_cast<C>(1 - options_.momentum),
                static_cast<C>(this->keep_of(entry, options_.decay)),
                static_cast<C>(rate),
                options_.nesterov,
                options_.iterations};
    }

    MuonOptions options_;
    MatrixPass matrices_;
    OtherPass others_;
};

template <class Model, class Rule = TreatmentFunction>
Muon(Model&, MuonOptions = {}, Rule = decay_all)
    -> Muon<typename Model::Value, typename Model::Gradient, typename Model::Device, MasterOf<Model>>;

}  // namespace tenon
