#pragma once

#include <optional>

#include <tenon/nn/mixture_of_experts.hpp>

namespace tenon {

/// The layer that follows attention in a model of which some blocks have a mixture of experts, and some are
/// dense: one of the two, known when it is made.
template <class Setting, auto Width, auto Hidden, class Features>
class MixtureOrDense {
    using Mixture = MixtureOfExperts<Setting, Width, Hidden, Features::experts, Features>;
    using Dense = FeedForward<Setting, Width, dyn, Features::feed_forward, Features::feed_forward_bias>;

public:
    MixtureOrDense(int width, int hidden, const MixtureSizes& sizes) {
        if (sizes.dense_hidden > 0)
            dense.emplace(width, sizes.dense_hidden);
        else
            mixture.emplace(sizes.options, width, hidden, sizes.experts, sizes.shared_hidden);
    }

    /// x [..., width] -> [..., width]. A record is told what a mixture did.
    template <TensorLike X, class Record = NoRoutingRecord>
    X operator()(const X& x, Record&& record = {}) const {
        if (dense) return (*dense)(x);
        return (*mixture)(x, record);
    }

    /// The result plus an addend.
    template <TensorLike X, TensorLike Addend, class Record = NoRoutingRecord>
    X added(const X& x, const Addend& addend, Record&& record = {}) const {
        if (dense) return dense->added(x, addend);
        return mixture->added(x, addend, record);
    }

    void visit_parameters(ParameterVisitor& visit) {
        if (dense)
            visit.part("dense", *dense);
        else
            mixture->visit_parameters(visit);
    }

    std::optional<Mixture> mixture;  ///< of the two there is one
    std::optional<Dense> dense;
};

namespace detail {

template <class Setting, auto Width, auto Hidden, class Features>
    requires(Features::mixture_of_experts&& Features::has_dense_layers)
struct FeedForwardOf<Setting, Width, Hidden, Features> {
    using type = MixtureOrDense<Setting, Width, Hidden, Features>;
    static type make(int width, int hidden, const MixtureSizes& sizes) { return type(width, hidden, sizes); }
};

}  // namespace detail
}  // namespace tenon
