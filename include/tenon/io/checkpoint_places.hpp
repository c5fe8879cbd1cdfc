#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
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

    /// The tensor's shape.
    std::vector<std::int64_t> shape() const {
        if (parameter->extents.rank == 1) return {outputs};
        if (transposed) return {parameter->extents[1], outputs};
        return {outputs, parameter->extents[1]};
    }

    /// Whether the tensor is the parameter, element by element.
    bool is_whole() const { return !transposed && outputs == parameter->extents[0]; }

    /// Calls f(element of the parameter, element of the tensor, count) for all runs of elements that follow
    /// each other in the tensor; those of the parameter are `step()` apart.
    template <class F>
    void for_each_run(F&& f) const {
        const std::int64_t in = parameter->size() / std::max<std::int64_t>(parameter->extents[0], 1),
                           each = parameter->extents[0] / turns;
        for (std::int64_t turn = 0; turn < turns; ++turn) {
            const std::int64_t first = turn * (outputs / turns) + first_output;
            if (!transposed)
                f(turn * each * in, first * in, each * in);
            else
                for (std::int64_t i = 0; i < in; ++i) f(turn * each * in + i, i * outputs + first, each);
        }
    }
    std::int64_t step() const { return transposed ? parameter->extents[1] : 1; }
};

/// The places of all parameters of a model, in its order.
template <class Model>
std::vector<CheckpointPlace> checkpoint_places(Model& model, const CheckpointNames& names) {
    std::vector<CheckpointPlace> places;
    std::map<std::string_view, std::int64_t> outputs;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        places.push_back({checkpoint_name(names, name), &parameter,
                          names.transposed && parameter.role == Role::matrix, 0, 0});
    });
    for (CheckpointPlace& place : places) {
        std::int64_t& all = outputs[place.tensor];
        place.first_output = all;
        all += place.parameter->extents[0];
    }
    for (CheckpointPlace& place : places) {
        place.outputs = outputs[place.tensor];
        if (!names.interleaved_heads || place.outputs == place.parameter->extents[0]) continue;
        place.turns = model.sizes.heads;
        place.first_output /= place.turns;
    }
    return places;
}

}  // namespace tenon
