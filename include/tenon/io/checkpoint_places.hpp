#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/model/checkpoint_names.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {

/// Where a checkpoint keeps a parameter [out, in] or [out]: these outputs of a tensor that may have more, and
/// may be transposed. Parameters that share a tensor may take turns in it, each with an equal part of theirs.
struct CheckpointPlace {
    std::string tensor;
    ParameterBase* parameter;
    bool transposed;
    std::int64_t first_output, outputs;  ///< the parameter's first, and how many the tensor has
    std::int64_t turns = 1;
    std::int64_t first_element = 0;  ///< of the parameter, where it is more than what is kept here
    Extents extents = {};            ///< of what is kept here
    std::int64_t turn_elements = 0;  ///< of the parameter, from one turn to the next; 0: those of a turn
    float addend = 0;                ///< what the file has added to the parameter's elements
    bool is_stacked = false;         ///< each turn is a matrix of its own, all along one more axis

    /// The tensor's shape.
    std::vector<std::int64_t> shape() const {
        if (extents.rank == 1) return {outputs};
        if (extents.rank == 3) return {outputs, extents[1], extents[2]};
        if (is_stacked && transposed) return {turns, extents[1], outputs / turns};
        if (is_stacked) return {turns, outputs / turns, extents[1]};
        if (transposed) return {extents[1], outputs};
        return {outputs, extents[1]};
    }

    /// Where a matrix lies in the tensor.
    struct View {
        std::int64_t first;  ///< element
        Strides strides;
    };
    /// That of all that is kept here, if it steps evenly through one tensor, and is what the parameter has.
    std::optional<View> view() const {
        if (extents.rank != 2 || turns != 1 || addend != 0) return std::nullopt;
        View view{first_output, {}};
        view.strides[0] = transposed ? 1 : extents[1];
        view.strides[1] = transposed ? outputs : 1;
        if (!transposed) view.first *= extents[1];
        return view;
    }

    /// Whether the tensor is what is kept here, element by element.
    bool is_whole() const {
        return !transposed && outputs == extents[0] && turn_elements == 0 && addend == 0;
    }

    /// Calls f(element of the parameter, element of the tensor, count) for all runs of elements that follow
    /// each other in the tensor; those of the parameter are `step()` apart.
    template <class F>
    void for_each_run(F&& f) const {
        const std::int64_t in = extents.count() / std::max<std::int64_t>(extents[0], 1),
                           each = extents[0] / turns;
        for (std::int64_t turn = 0; turn < turns; ++turn) {
            const std::int64_t first = turn * (outputs / turns) + first_output,
                               element =
                                   first_element + turn * (turn_elements > 0 ? turn_elements : each * in);
            if (!transposed)
                f(element, first * in, each * in);
            else
                for (std::int64_t i = 0; i < in; ++i)
                    f(element + i, is_stacked ? first * in + i * each : i * outputs + first, each);
        }
    }
    std::int64_t step() const { return transposed ? extents[1] : 1; }
};

namespace detail {

/// What an expert's layers are called that a parameter [experts, out, in] has below each other.
inline std::vector<std::string_view> expert_layers(const CheckpointNames& names, std::string_view name) {
    if (ParameterName(name).layer.ends_with("gate_up")) return {names.expert_gate, names.expert_up};
    return {names.expert_down};
}

/// The places of a parameter [experts, out, in] whose experts have tensors of their own, or two each.
inline void add_expert_places(const CheckpointNames& names, std::string_view name, ParameterBase& parameter,
                              std::vector<CheckpointPlace>& places) {
    const std::vector<std::string_view> layers = expert_layers(names, name);
    const Extents extents(parameter.extents[1] / static_cast<int>(layers.size()), parameter.extents[2]);
    std::int64_t first = 0;
    for (int expert = 0; expert < parameter.extents[0]; ++expert)
        for (const std::string_view layer : layers) {
            places.push_back(
                {expert_name(names, name, expert, layer), &parameter, false, 0, 0, 1, first, extents});
            first += extents.count();
        }
}

/// The places of a parameter [experts, out, in] in one tensor of all experts, or in two: of gates, and of
/// what they are multiplied with.
inline void add_stacked_places(const CheckpointNames& names, std::string_view name, ParameterBase& parameter,
                               std::vector<CheckpointPlace>& places) {
    const std::vector<std::string_view> layers = expert_layers(names, name);
    const Extents& all = parameter.extents;
    const Extents extents(all[0], all[1] / static_cast<int>(layers.size()), all[2]);
    for (const std::string_view layer : layers) {
        CheckpointPlace place{block_name(names, name, layer), &parameter, false, 0, 0, all[0]};
        place.extents = extents;
        if (layers.size() > 1) {
            place.turn_elements = std::int64_t{all[1]} * all[2];
            if (layer == layers[1]) place.first_element = place.turn_elements / 2;
        }
        places.push_back(std::move(place));
    }
}

}  // namespace detail

/// The places of all parameters of a model, in its order.
template <class Model>
std::vector<CheckpointPlace> checkpoint_places(Model& model, const CheckpointNames& names) {
    std::vector<CheckpointPlace> places;
    std::map<std::string_view, std::int64_t> outputs;
    // The latent is one for all heads.
    const auto is_of_latent = [&](const CheckpointPlace& place) {
        return !names.latent.empty() && place.tensor.find(names.latent) != place.tensor.npos;
    };
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        if (parameter.extents.rank == 3 && (!names.experts.empty() || names.numbered_experts))
            return detail::add_expert_places(names, name, parameter, places);
        if (parameter.extents.rank == 3 && names.joined_gate_up.empty() && !names.expert_gate.empty())
            return detail::add_stacked_places(names, name, parameter, places);
        places.push_back({checkpoint_name(names, name), &parameter,
                          names.transposed && parameter.role == Role::matrix, 0, 0, 1, 0, parameter.extents});
        if (names.whole_gains && name.ends_with(".gain")) places.back().addend = 1;
        const std::string_view layer = detail::ParameterName(name).layer;
        const bool is_key = layer == "attention.key";
        if (names.key == names.key_by_head && (is_key || layer == "attention.value")) {
            places.back().is_stacked = true;
            places.back().transposed = is_key;
            places.back().turns = model.sizes.heads;
        }
    });
    for (CheckpointPlace& place : places) {
        std::int64_t& all = outputs[place.tensor];
        place.first_output = all;
        all += place.extents[0];
    }
    for (CheckpointPlace& place : places) {
        place.outputs = outputs[place.tensor];
        const bool is_interleaved = names.interleaved_heads && !is_of_latent(place);
        if (!is_interleaved || place.outputs == place.extents[0]) continue;
        place.turns = model.sizes.heads;
        place.first_output /= place.turns;
    }
    return places;
}

}  // namespace tenon
