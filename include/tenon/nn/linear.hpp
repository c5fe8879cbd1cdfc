#pragma once

#include <tenon/nn/setting.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/op/matmul/matmul.hpp>

namespace tenon {

/// y = x Wᵀ without a bias: [..., In] -> [..., Out]. The weight is [Out, In].
template <class Setting, auto Out, auto In>
class Linear {
public:
    /// The lengths are needed where the types leave them open.
    explicit Linear(int out = bound_of(extent_code(Out)), int in = bound_of(extent_code(In)))
        : weight(Role::matrix, Extents(out, in)) {}

    template <Argument X>
    auto operator()(X&& x) const {
        return matmul<MatmulOptions{.transpose_right = true}>(std::forward<X>(x), weight);
    }

    void visit_parameters(ParameterVisitor& visit) { visit("weight", weight); }

    typename Setting::template Parameter<Shape<Out, In>> weight;
};

}  // namespace tenon
