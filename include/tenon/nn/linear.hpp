#pragma once

#include <type_traits>

#include <tenon/core/precision.hpp>
#include <tenon/expression/functions.hpp>
#include <tenon/nn/features.hpp>
#include <tenon/nn/setting.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/op/matmul/linear_float8.hpp>
#include <tenon/op/matmul/matmul_add.hpp>

namespace tenon {

/// y = x Wᵀ, or with a bias x Wᵀ + b: [..., In] -> [..., Out]. The weight is [Out, In], the bias [Out]. The
/// product is of 8 bits where the precision says so.
template <class Setting, auto Out, auto In, bool HasBias = false>
class Linear {
    template <class S>
    using Parameter = typename Setting::template Parameter<S>;
    static constexpr MatmulOptions right{.transpose_right = true};
    static constexpr bool in_float8 = linear_in_float8<typename Setting::Precision>;

public:
    /// Whether `added` is as fast as the product alone.
    static constexpr bool adds = product_adds<typename Setting::Device>;

    /// The lengths are needed where the types leave them open.
    explicit Linear(int out = bound_of(extent_code(Out)), int in = bound_of(extent_code(In)))
        : weight(Role::matrix, Extents(out, in)), bias(Role::bias, Extents(out)) {}

    /// A tensor; with a bias that the product does not add, an expression, so that the addition joins
    /// whatever pass comes next.
    template <Argument X>
    auto operator()(X&& x) const {
        if constexpr (in_float8)
            return linear_float8(std::forward<X>(x), weight, bias_or_nothing());
        else if constexpr (!HasBias)
            return matmul<right>(std::forward<X>(x), weight);
        else if constexpr (adds)
            return matmul_add<right>(std::forward<X>(x), weight, bias);
        else
            return matmul<right>(std::forward<X>(x), weight) + bias;
    }

    /// y + addend, a tensor, for an addend [..., Out].
    template <Argument X, TensorLike Addend>
    auto added(X&& x, const Addend& addend) const {
        if constexpr (in_float8)
            return linear_float8(std::forward<X>(x), weight, bias_or_nothing(), addend);
        else
            return matmul_add<right>(std::forward<X>(x), weight, bias_or_nothing(), addend);
    }

    /// The bias as `matmul_add` takes it.
    decltype(auto) bias_or_nothing() const {
        if constexpr (HasBias)
            return (bias);
        else
            return Nothing();
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit("weight", weight);
        if constexpr (HasBias) visit("bias", bias);
    }

    typename Setting::template Matrix<Shape<Out, In>> weight;
    [[no_unique_address]] std::conditional_t<HasBias, Parameter<Shape<Out>>, Absent> bias;
};

}  // namespace tenon
