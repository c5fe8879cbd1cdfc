#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/io/adapter_configuration.hpp>
#include <tenon/io/checkpoint_places.hpp>
#include <tenon/io/parameters.hpp>
#include <tenon/model/adapters.hpp>

/// Where files of PEFT's form keep adapters of a model.
namespace tenon::detail {

/// A tensor's name: PEFT wraps a model twice.
inline std::string adapter_tensor(const std::string& layer, std::string_view matrix) {
    return "base_model.model." + layer + "." + std::string(matrix);
}

/// A layer of a model that an adapter may be at.
struct AdaptableLayer {
    std::string own;        ///< "blocks.0.attention.query"
    std::string name;       ///< "model.layers.0.self_attn.q_proj"; of experts, that of the tensor of all
    CheckpointPlace place;  ///< of its outputs: several layers may share a tensor, and then PEFT's adapter

    bool is_embedding() const { return own == "embedding"; }
    bool is_router() const { return own.ends_with(".router"); }
    bool is_of_experts() const { return place.parameter->extents.rank == 3; }
    bool has_gates() const { return own.ends_with(".gate_up"); }
    /// Whether PEFT adapts not a layer, but a tensor of what it takes for no layer.
    bool is_parameter() const { return is_router() || is_of_experts(); }
    /// Of experts: "model.layers.0.mlp.experts".
    std::string module() const { return name.substr(0, name.rfind('.')); }
    /// Whether its outputs are but a part of a tensor's.
    bool shares_tensor() const {
        return !is_of_experts() && (place.turns != 1 || place.outputs != place.parameter->extents[0]);
    }
};

template <class Model>
std::vector<AdaptableLayer> adaptable_layers(Model& model, const CheckpointNames& names) {
    const std::vector<CheckpointPlace> places = checkpoint_places(model, names);
    std::vector<AdaptableLayer> layers;
    for_each_adapter_place(model, [&](std::string_view own, AdapterPlace& place) {
        const auto found = std::find_if(places.begin(), places.end(), [&](const CheckpointPlace& each) {
            return each.parameter == &place.weight;
        });
        layers.push_back({std::string(own), checkpoint_layer(names, own), *found});
    });
    return layers;
}

/// A tensor of a file, and where its elements are in an adapter.
struct AdapterTensor {
    CheckpointPlace place;
    std::vector<std::int64_t> shape;
};

/// The tensor that is all of a matrix, or its transpose.
inline AdapterTensor whole_matrix(std::string name, ParameterBase& matrix, bool transposed = false) {
    const CheckpointPlace place{std::move(name),   &matrix, transposed, 0,
                                matrix.extents[0], 1,       0,          matrix.extents};
    return {place, place.shape()};
}

/// The tensors of an adapter that is in a file by itself, under the name of a layer.
inline std::vector<AdapterTensor> tensors_of(const AdaptableLayer& layer, const std::string& base,
                                             ParameterBase& a, ParameterBase& b) {
    if (layer.is_embedding())
        return {whole_matrix(adapter_tensor(base, "lora_embedding_A"), b, true),
                whole_matrix(adapter_tensor(base, "lora_embedding_B"), a, true)};
    const std::string a_name = adapter_tensor(base, "lora_A.weight"),
                      b_name = adapter_tensor(base, "lora_B.weight");
    if (layer.is_of_experts()) {
        // A [experts rank, in]; B [out, rank experts], whose last axis has experts' elements side by side.
        const int experts = b.extents[0], out = b.extents[1], rank = b.extents[2], in = a.extents[2];
        const Extents all_of_a(experts * rank, in), each_of_b(experts, out * rank);
        return {{{a_name, &a, false, 0, experts * rank, 1, 0, all_of_a}, {experts * rank, in}},
                {{b_name, &b, true, 0, experts, 1, 0, each_of_b}, {out, std::int64_t{rank} * experts}}};
    }
    const CheckpointPlace &whole = layer.place, outputs{b_name,        &b,          false, whole.first_output,
                                                        whole.outputs, whole.turns, 0,     b.extents};
    return {whole_matrix(a_name, a), {outputs, outputs.shape()}};
}

/// What a file has of one layer's adapter.
struct FoundAdapter {
    /// A layer of each expert, and its number among those that are joined.
    struct Part {
        std::string_view layer;
        std::int64_t number;
    };

    AdapterForm form;
    std::string base;              ///< the layer that its tensors are called by
    std::vector<Part> parts = {};  ///< of experts that have tensors of their own instead

    /// The tensors, of an adapter of this form.
    std::vector<AdapterTensor> tensors(const AdaptableLayer& layer, const CheckpointNames& names,
                                       ParameterBase& a, ParameterBase& b) const {
        if (parts.empty()) return tensors_of(layer, base, a, b);
        std::vector<AdapterTensor> result, of_all_b;  // a matrix is read from tensors that follow each other
        const std::int64_t out = b.extents[1] / (layer.has_gates() ? 2 : 1), in = a.extents[2],
                           joined = b.extents[2], rank = joined / static_cast<std::int64_t>(parts.size());
        const Extents of_a(static_cast<int>(rank), static_cast<int>(in)),
            of_b(static_cast<int>(out), static_cast<int>(rank));
        for (int expert = 0; expert < b.extents[0]; ++expert)
            for (std::size_t i = 0; i < parts.size(); ++i) {
                // A's are below each other, B's along the diagonal.
                const auto number = static_cast<std::int64_t>(i);
                const std::int64_t row = b.extents[1] * expert + parts[i].number * out;
                const std::string name(
                    layer_of(expert_name(names, layer.own + ".weight", expert, parts[i].layer)));
                const CheckpointPlace a_place{adapter_tensor(name, "lora_A.weight"),  &a,  false, 0, rank, 1,
                                              (joined * expert + rank * number) * in, of_a},
                    b_place{adapter_tensor(name, "lora_B.weight"), &b,   false, 0, out, out,
                            row * joined + rank * number,          of_b, joined};
                result.push_back({a_place, a_place.shape()});
                of_all_b.push_back({b_place, b_place.shape()});
            }
        result.insert(result.end(), of_all_b.begin(), of_all_b.end());
        return result;
    }
};

/// The adapter of a layer in a file, if it has one.
template <class Source>
std::optional<FoundAdapter> find_adapter(const Source& file, const AdapterConfiguration& configuration,
                                         const AdaptableLayer& layer, const CheckpointNames& names) {
    const auto has = [&](const std::string& base, std::string_view matrix = "lora_A.weight") {
        return file.find(adapter_tensor(base, matrix)) != nullptr;
    };
    const auto found = [&](const std::string& base) {
        return FoundAdapter{configuration.form_of(layer.name), base};
    };
    if (layer.is_embedding())
        return has(layer.name, "lora_embedding_A") ? std::optional(found(layer.name)) : std::nullopt;
    if (!layer.is_of_experts()) {
        if (has(layer.name)) return found(layer.name);
        // Routers of files whose experts have tensors of their own.
        const std::string otherwise(layer_of(checkpoint_name(names, layer.own + ".weight")));
        if (has(otherwise)) return FoundAdapter{configuration.form_of(otherwise), otherwise};
        return std::nullopt;
    }
    // Of two adapted tensors of a module the first is wrapped by the second.
    const std::string module = layer.module(), inner = module + ".base_layer";
    if (has(inner)) return found(layer.has_gates() ? inner : module);
    if (has(module))
        return configuration.has_parameter(layer.name) ? std::optional(found(module)) : std::nullopt;
    if (names.experts.empty()) return std::nullopt;
    FoundAdapter result;
    const std::vector<std::string_view> parts = expert_layers(names, layer.own + ".weight");
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::string first(layer_of(expert_name(names, layer.own + ".weight", 0, parts[i])));
        if (!has(first)) continue;
        result.form = configuration.form_of(first);
        result.parts.push_back({parts[i], static_cast<std::int64_t>(i)});
    }
    if (result.parts.empty()) return std::nullopt;
    result.form.rank *= static_cast<int>(result.parts.size());
    return result;
}

/// Looks at what a file has of a layer's adapter before that has memory, and adds the tensors to the known
/// ones. Throws FileError where its rank is too great for the layer.
template <class Source>
void check_adapter(const Source& file, const AdaptableLayer& layer, const FoundAdapter& found,
                   const CheckpointNames& names, std::set<std::string, std::less<>>& known,
                   Differences& differences) {
    const ParameterBase& weight = *layer.place.parameter;
    std::int64_t greatest = 1;
    for (int axis = 0; axis < weight.extents.rank; ++axis)
        greatest = std::max<std::int64_t>(greatest, weight.extents[axis]);
    if (found.form.rank > std::numeric_limits<int>::max() / greatest)
        throw FileError(file.where() + ": " + layer.name + ": expected a rank of at most " +
                        std::to_string(std::numeric_limits<int>::max() / greatest) + ", got " +
                        std::to_string(found.form.rank));
    const AdapterExtents extents(weight.extents, found.form.rank);
    ParameterBase a(Role::matrix, weight.type, extents.a), b(Role::matrix, weight.type, extents.b);
    for (const AdapterTensor& tensor : found.tensors(layer, names, a, b)) {
        find_of_shape(file, tensor.place.tensor, tensor.shape, differences);
        known.insert(tensor.place.tensor);
    }
}

}  // namespace tenon::detail
