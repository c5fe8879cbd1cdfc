#pragma once

#include <tenon/expression/functions.hpp>
#include <tenon/nn/linear.hpp>

namespace tenon {

/// SwiGLU: down(silu(gate x) · up x) (Shazeer 2020, "GLU variants improve Transformer").
template <class Setting, auto Width, auto Hidden>
class FeedForward {
public:
    explicit FeedForward(int width = bound_of(extent_code(Width)), int hidden = bound_of(extent_code(Hidden)))
        : gate(hidden, width), up(hidden, width), down(width, hidden) {}

    template <TensorLike X>
    auto operator()(const X& x) const {
        return down(silu(gate(x)) * up(x));
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit.part("gate", gate);
        visit.part("up", up);
        visit.part("down", down);
    }

    Linear<Setting, Hidden, Width> gate, up;
    Linear<Setting, Width, Hidden> down;
};

}  // namespace tenon
