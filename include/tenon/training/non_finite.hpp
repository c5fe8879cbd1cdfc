#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/element.hpp>
#include <tenon/io/list_text.hpp>
#include <tenon/nn/host_elements.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {

/// The first number of a tensor that is infinite or no number.
struct NonFinite {
    std::string tensor;               ///< "parameter blocks.2.attention.query.weight"
    std::vector<std::int64_t> index;  ///< of the element
    double value;

    /// "parameter norm.gain at [3] is nan".
    std::string text() const {
        return tensor + " at " + detail::list_text(index) + " is " +
               (std::isnan(value) ? "nan"
                : value > 0       ? "inf"
                                  : "-inf");
    }
};

namespace detail {

/// Looks through a device's packed elements in order; `extents` turn a position into an index.
template <class Device, class T>
std::optional<NonFinite> first_non_finite(const std::string& tensor, const T* data, const Extents& extents) {
    std::vector<T> here;
    if constexpr (!std::same_as<Device, Cpu>) {
        here.resize(static_cast<std::size_t>(extents.count()));
        Memory<Device>::copy(data, extents.count(), here.data());
        data = here.data();
    }
    for (std::int64_t at = 0; at < extents.count(); ++at) {
        const double value = convert<double>(data[at]);
        if (std::isfinite(value)) continue;
        std::vector<std::int64_t> index(static_cast<std::size_t>(extents.rank));
        std::int64_t rest = at;
        for (int axis = extents.rank - 1; axis >= 0; --axis) {
            index[static_cast<std::size_t>(axis)] = rest % extents[axis];
            rest /= extents[axis];
        }
        return NonFinite{tensor, std::move(index), value};
    }
    return std::nullopt;
}

}  // namespace detail

/// The first parameter of a model, in order, that has a number which is not finite.
template <class Model>
std::optional<NonFinite> first_non_finite_parameter(Model& model) {
    std::optional<NonFinite> found;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        if (found) return;
        found = visit_element_type<Model>(parameter, [&]<class T>(std::type_identity<T>) {
            const HostElements<typename Model::Device> here(parameter);
            return detail::first_non_finite<Cpu>("parameter " + std::string(name), here.template data<T>(),
                                                 parameter.extents);
        });
    });
    return found;
}

/// The gradient that went wrong first: a backward pass comes through a model from its end, so it is that of
/// the last parameter that has a number which is not finite.
template <class Model>
std::optional<NonFinite> first_non_finite_gradient(Model& model) {
    std::optional<NonFinite> found;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        if (!parameter.gradient || !parameter.gradient->written) return;
        auto here = detail::first_non_finite<typename Model::Device>(
            "gradient of " + std::string(name),
            static_cast<const typename Model::Gradient*>(parameter.gradient->storage.data()),
            parameter.extents);
        if (here) found = std::move(here);
    });
    return found;
}

/// Runs a model forward, and looks at its hidden states, those that it shows by `observe`: after the
/// embedding, after each block, after the last norm; and at the logits. The first number among them that is
/// not finite.
template <class Model, class Ids>
std::optional<NonFinite> first_non_finite_activation(const Model& model, const Ids& ids) {
    std::optional<NonFinite> found;
    const int depth = model.sizes.depth;
    const auto logits = model.observe(ids, [&](int place, const auto& states) {
        if (found) return;
        const std::string name = place == 0       ? "output of embedding"
                                 : place <= depth ? "output of blocks." + std::to_string(place - 1)
                                                  : "output of norm";
        found = detail::first_non_finite<typename Model::Device>(name, states.data(), states.extents());
    });
    if (found) return found;
    const Tensor all = logits.tensor();
    return detail::first_non_finite<typename Model::Device>("logits", all.data(), all.extents());
}

/// Which tensor went wrong first in a step whose loss or gradients are not finite, before the step changed
/// the parameters: a parameter, a state inside the model for the token ids of one of the step's parts, or a
/// gradient. `model` is the one that is trained, `plain` one on the same parameters that only runs forward.
/// Nothing where no single number is at fault, but a sum that overflows.
template <class Trained, class Plain, class IdsOf>
std::optional<NonFinite> first_non_finite(Trained& model, const Plain& plain, int parts, IdsOf&& ids_of) {
    std::optional<NonFinite> found = first_non_finite_parameter(model);
    for (int part = 0; part < parts && !found; ++part)
        found = first_non_finite_activation(plain, ids_of(part));
    return found ? found : first_non_finite_gradient(model);
}

}  // namespace tenon
