#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/model/checkpoint_names.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {

/// Where a checkpoint keeps a parameter [out, in] or [out]: these outputs of a tensor that may have more, and
/// may be transposed.
struct CheckpointPlace {
    std::string tensor;
    ParameterBase* parameter;
    bool transposed;
    std::int64_t first_output, outputs;  ///< the parameter's first, and how many the tensor has

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
        const std::int64_t out = parameter->extents[0], in = parameter->size() / (out > 0 ? out : 1);
        if (!transposed) return f(std::int64_t{0}, first_output * in, out * in);
        for (std::int64_t i = 0; i < in; ++i) f(i, i * outputs + first_output, out);
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
    for (CheckpointPlace& place : places) place.outputs = outputs[place.tensor];
    return places;
}

}  // namespace tenon
