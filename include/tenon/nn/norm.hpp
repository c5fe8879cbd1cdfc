#pragma once

#include <type_traits>

#include <tenon/nn/features.hpp>
#include <tenon/nn/setting.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/op/layer_norm/layer_norm.hpp>
#include <tenon/op/rms_norm/rms_norm.hpp>

namespace tenon {

/// Normalization over the last axis, [..., Width] -> [..., Width], with what is learned of it, which is of
/// the precision's `master` type.
template <class Setting, auto Width, NormKind Kind = NormKind::rms>
class Norm {
    using Vector = typename Setting::template NormParameter<Shape<Width>>;

public:
    static constexpr bool has_gain = Kind != NormKind::none, has_bias = Kind == NormKind::layer;

    explicit Norm(double epsilon, int width = bound_of(extent_code(Width)))
        : gain(Kind == NormKind::rms_plus_one ? Role::bias : Role::gain, Extents(width)),
          bias(Role::bias, Extents(width)),
          epsilon_(epsilon) {}

    template <Argument X>
    auto operator()(X&& x) const {
        if constexpr (Kind == NormKind::rms)
            return rms_norm(std::forward<X>(x), gain, epsilon_);
        else if constexpr (Kind == NormKind::rms_plus_one)
            return rms_norm(std::forward<X>(x), 1.0 + gain, epsilon_);
        else if constexpr (Kind == NormKind::layer)
            return layer_norm(std::forward<X>(x), gain, bias, epsilon_);
        else if constexpr (Kind == NormKind::layer_without_bias)
            return layer_norm(std::forward<X>(x), gain, epsilon_);
        else
            return evaluate(std::forward<X>(x));
    }

    void visit_parameters(ParameterVisitor& visit) {
        if constexpr (has_gain) visit("gain", gain);
        if constexpr (has_bias) visit("bias", bias);
    }

    [[no_unique_address]] std::conditional_t<has_gain, Vector, Absent> gain;
    [[no_unique_address]] std::conditional_t<has_bias, Vector, Absent> bias;

private:
    double epsilon_;
};

}  // namespace tenon
