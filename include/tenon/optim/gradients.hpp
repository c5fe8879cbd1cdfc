#pragma once

#include <cmath>
#include <string_view>
#include <vector>

#include <tenon/nn/visitor.hpp>

namespace tenon {

/// Norms and scalings of gradients, where kernels are declared.
struct GradientNorm {};

/// The parameters of a model, in order.
template <class Model>
std::vector<ParameterBase*> parameters_of(Model& model) {
    std::vector<ParameterBase*> parameters;
    for_each_parameter(model,
                       [&](std::string_view, ParameterBase& parameter) { parameters.push_back(&parameter); });
    return parameters;
}

/// The Euclidean norm of all gradients together. Its sums have a fixed order. C is the gradients' type.
template <class C, class Device>
double gradient_norm(const std::vector<ParameterBase*>& parameters) {
    double total = 0;
    for (const ParameterBase* parameter : parameters)
        if (parameter->gradient && parameter->gradient->written)
            total += Kernel<GradientNorm, Device>::template sum_of_squares<C>(
                static_cast<const C*>(parameter->gradient->storage.data()), parameter->size());
    return std::sqrt(total);
}

/// Scales all gradients so that their norm is at most `maximum`: by maximum / (norm + 1e-6), as PyTorch and
/// CS336 do. Returns the norm before; where that is not finite, no scale makes gradients of them, and they
/// stay as they are for the caller to look at. (Pascanu et al. 2013, "On the difficulty of training recurrent
/// neural networks")
template <class C, class Device>
double clip_gradient_norm(const std::vector<ParameterBase*>& parameters, double maximum) {
    const double norm = gradient_norm<C, Device>(parameters), scale = maximum / (norm + 1e-6);
    if (std::isfinite(norm) && scale < 1)
        for (const ParameterBase* parameter : parameters)
            if (parameter->gradient && parameter->gradient->written)
                Kernel<GradientNorm, Device>::template scale<C>(
                    static_cast<C*>(parameter->gradient->storage.data()), parameter->size(),
                    static_cast<C>(scale));
    return norm;
}

}  // namespace tenon
