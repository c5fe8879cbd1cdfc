#pragma once

#include <type_traits>

#include <tenon/expression/functions.hpp>
#include <tenon/nn/features.hpp>
#include <tenon/nn/setting.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/op/matmul/matmul.hpp>

namespace tenon {

/// y = x Wᵀ, or with a bias x Wᵀ + b: [..., In] -> [..., Out]. The weight is [Out, In], the bias [Out].
template <class Setting, auto Out, auto In, bool HasBias = false>
class Linear {
    template <class S>
    using Parameter = typename Setting::template Parameter<S>;

public:
    /// The lengths are needed where the types leave them open.
    explicit Linear(int out = bound_of(extent_code(Out)), int in = bound_of(extent_code(In)))
        : weight(Role::matrix, Extents(out, in)), bias(Role::bias, Extents(out)) {}

    /// A tensor; with a bias an expression, so that the addition joins whatever pass comes next.
    template <Argument X>
    auto operator()(X&& x) const {
        if constexpr (HasBias)
            return matmul<MatmulOptions{.transpose_right = true}>(std::forward<X>(x), weight) + bias;
        else
            return matmul<MatmulOptions{.transpose_right = true}>(std::forward<X>(x), weight);
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit("weight", weight);
        if constexpr (HasBias) visit("bias", bias);
    }

    Parameter<Shape<Out, In>> weight;
    [[no_unique_address]] std::conditional_t<HasBias, Parameter<Shape<Out>>, Absent> bias;
};

}  // namespace tenon
