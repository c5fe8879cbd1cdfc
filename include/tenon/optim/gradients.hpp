#pragma once

#include <string_view>
#include <vector>

#include <tenon/core/host_device.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {

/// Names norms and scalings of gradients where kernels are declared. Beside these, `Scaling<C,
/// has_loss_scale>` is what an optimizer does with the gradients as a whole: `clip(maximum)` returns the norm
/// and sees to it that they are scaled, at once or, by a factor `scale()`, by the update that reads them;
/// `must_skip()`, once in a step, says whether the host knows that they are no use; `begin_step()` and
/// `end_step()` are around the update.
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
/// Returns a double, or on the GPU what reads one when it is asked for.
template <class C, class Device>
auto gradient_norm(const std::vector<ParameterBase*>& parameters) {
    return Kernel<GradientNorm, Device>::template norm<C>(parameters);
}

/// Scales all gradients so that their norm is at most `maximum`: by maximum / (norm + 1e-6), as PyTorch and
/// CS336 do. Returns the norm before; where that is not finite, no scale makes gradients of them, and they
/// stay as they are for the caller to look at. (Pascanu et al. 2013, "On the difficulty of training recurrent
/// neural networks")
template <class C, class Device>
auto clip_gradient_norm(const std::vector<ParameterBase*>& parameters, double maximum) {
    return Kernel<GradientNorm, Device>::template clip<C>(parameters, maximum);
}

/// The factor of gradients that are clipped; 1 where they stay as they are.
TENON_HOST_DEVICE inline double clip_factor(double norm, double maximum) {
    const double factor = maximum / (norm + 1e-6);
    return norm < __builtin_huge_val() && factor < 1 ? factor : 1;
}

}  // namespace tenon
