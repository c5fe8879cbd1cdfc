#pragma once

#include <concepts>
#include <string_view>

#include <tenon/autograd/parameter.hpp>

namespace tenon {

/// What an optimizer does with one parameter: the group it belongs to, written as factors on the optimizer's
/// own rate and decay.
struct Treatment {
    double rate = 1;
    double decay = 1;
    bool frozen = false;  ///< left alone: no state, no update; clipping doesn't count its gradient
};

/// Says how each parameter is treated: a function, or a lambda such as
///
///     [](std::string_view name, const ParameterBase& parameter) -> Treatment {
///         return {.rate = parameter.role == Role::embedding ? 10.0 : 1.0, .frozen = name == "head.weight"};
///     }
template <class R>
concept TreatmentRule = requires(const R& rule, std::string_view name, const ParameterBase& parameter) {
    { rule(name, parameter) } -> std::convertible_to<Treatment>;
};

/// The type of the rules below.
using TreatmentFunction = Treatment(std::string_view, const ParameterBase&);

/// Every parameter decays, as PyTorch and CS336 do it.
inline Treatment decay_all(std::string_view, const ParameterBase&) { return {}; }

/// Matrices of layers, and the head, decay; gains, biases, embeddings and positions don't. (A head that is
/// tied to the embedding is an embedding.)
inline Treatment decay_matrices_only(std::string_view, const ParameterBase& parameter) {
    return {.decay = parameter.role == Role::matrix || parameter.role == Role::head ? 1.0 : 0.0};
}

/// What has two axes or more decays, embeddings among it; gains and biases don't: the recipe of GPT-2's
/// reproductions.
inline Treatment decay_all_but_vectors(std::string_view, const ParameterBase& parameter) {
    return {.decay = parameter.extents.rank >= 2 ? 1.0 : 0.0};
}

}  // namespace tenon
