#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <tenon/core/mismatch.hpp>
#include <tenon/model/checkpoint_names.hpp>
#include <tenon/nn/host_elements.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {
namespace detail {

/// Copies a parameter's elements to those of another from this one on.
template <class Device>
void copy_elements(std::string_view name, const ParameterBase& from, const ParameterBase& to,
                   std::int64_t first) {
    if (from.type != to.type)
        throw Error("upcycle: " + std::string(name) + ": expected elements of type " +
                    std::string(name_of(to.type)) + ", got " + std::string(name_of(from.type)));
    const auto each = static_cast<std::int64_t>(size_of(from.type));
    const auto copy = [&](const void* elements) {
        Memory<Device>::copy(static_cast<const char*>(elements), from.size() * each,
                             static_cast<char*>(to.own_data()) + first * each);
    };
    if (from.is_packed())
        copy(from.data);
    else  // of the CPU
        copy(HostElements<Cpu>(from).bytes().data());
}

}  // namespace detail

/// Makes a model whose feed-forward layers are mixtures of experts from a dense one that is otherwise the
/// same, for training to go on from there: each expert begins as the dense layer, layers that stay dense are
/// the same, and the routers stay as they are (Komatsuzaki et al. 2022, "Sparse upcycling"). Where a token's
/// weights add up to 1, the two give the same logits. Throws ShapeError where a parameter of the dense model
/// has another shape than is needed, and Error where there is none.
template <class Dense, class Mixture>
void upcycle(Dense& dense, Mixture& mixture) {
    using Device = typename Mixture::Device;
    static_assert(std::same_as<typename Dense::Value, typename Mixture::Value> &&
                      std::same_as<typename Dense::Device, Device>,
                  "upcycle: both models have parameters of one type, on one device");
    static_assert(Mixture::Configuration::mixture_of_experts && !Dense::Configuration::mixture_of_experts,
                  "upcycle makes a mixture of experts from a dense model");
    std::map<std::string, const ParameterBase*, std::less<>> parameters;
    for_each_parameter(dense, [&](std::string_view name, ParameterBase& parameter) {
        parameters.emplace(name, &parameter);
    });
    const auto dense_at = [&](const std::string& name) -> const ParameterBase& {
        const auto found = parameters.find(name);
        if (found == parameters.end())
            throw Error("upcycle: expected a dense model with a parameter " + name + ", got none");
        return *found->second;
    };
    for_each_parameter(mixture, [&](std::string_view name, ParameterBase& parameter) {
        const std::string_view layer = detail::ParameterName(name).layer;
        const std::string block(name.substr(0, name.find("feed_forward.")));
        if (layer == "feed_forward.router" || layer.starts_with("feed_forward.shared")) return;
        if (parameter.extents.rank < 3) {
            std::string own(name);
            if (layer.starts_with("feed_forward.dense.")) own.erase(own.find("dense."), 6);
            const ParameterBase& same = dense_at(own);
            if (!(same.extents == parameter.extents))
                throw ShapeError("upcycle: " + std::string(name) + ": expected " +
                                 detail::shape_text(parameter.extents) + ", got " +
                                 detail::shape_text(same.extents));
            return detail::copy_elements<Device>(name, same, parameter, 0);
        }
        const std::int64_t each = parameter.size() / parameter.extents[0];
        for (int expert = 0; expert < parameter.extents[0]; ++expert) {
            const bool has_gate = layer.ends_with("gate_up");
            const int parts = has_gate ? 2 : 1;
            for (int part = 0; part < parts; ++part) {
                const char* const own = !has_gate ? "down" : part == 0 ? "gate" : "up";
                const ParameterBase& from = dense_at(block + "feed_forward." + own + ".weight");
                if (from.extents[0] * parts != parameter.extents[1] ||
                    from.extents[1] != parameter.extents[2])
                    throw ShapeError("upcycle: " + std::string(name) +
                                     ": expected a dense layer of an expert's widths, got " +
                                     detail::shape_text(from.extents));
                detail::copy_elements<Device>(name, from, parameter, expert * each + part * from.size());
            }
        }
    });
}

}  // namespace tenon
