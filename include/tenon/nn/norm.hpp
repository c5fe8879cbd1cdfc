#pragma once

#include <tenon/nn/setting.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/op/rms_norm/rms_norm.hpp>

namespace tenon {

/// Root mean square normalization with a learned gain: [..., Width] -> [..., Width].
template <class Setting, auto Width>
class Norm {
public:
    explicit Norm(double epsilon, int width = bound_of(extent_code(Width)))
        : gain(Role::gain, Extents(width)), epsilon_(epsilon) {}

    template <Argument X>
    auto operator()(X&& x) const {
        return rms_norm(std::forward<X>(x), gain, epsilon_);
    }

    void visit_parameters(ParameterVisitor& visit) { visit("gain", gain); }

    typename Setting::template Parameter<Shape<Width>> gain;

private:
    double epsilon_;
};

}  // namespace tenon
