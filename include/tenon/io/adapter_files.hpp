#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/io/adapter_configuration.hpp>
#include <tenon/io/adapter_places.hpp>
#include <tenon/io/folder.hpp>
#include <tenon/io/parameters.hpp>
#include <tenon/io/safetensors.hpp>
#include <tenon/io/safetensors_write.hpp>
#include <tenon/model/adapters.hpp>

/// Adapters in the form of Hugging Face's PEFT: a folder of adapter_config.json and
/// adapter_model.safetensors.
namespace tenon {

namespace detail {

/// The adapter of layers that share a tensor of the checkpoint: their A below each other, their B along the
/// diagonal.
template <class T>
struct JoinedAdapter {
    std::string layer;
    std::int64_t in = 0, outputs = 0, rank = 0;
    double scale = 0;
    std::vector<T> a, b;
};

template <class Model>
std::vector<JoinedAdapter<typename Model::Value>> joined_adapters(const Adapters<Model>& adapters,
                                                                  const std::vector<AdaptableLayer>& layers) {
    using T = typename Model::Value;
    using Device = typename Model::Device;
    struct Part {
        const typename Adapters<Model>::Entry* entry;
        const AdaptableLayer* layer;
    };
    std::vector<std::pair<JoinedAdapter<T>, std::vector<Part>>> groups;
    for (const auto& entry : adapters.entries())
        for (const AdaptableLayer& layer : layers) {
            if (layer.own != entry.layer || !layer.shares_tensor()) continue;
            auto group = std::find_if(groups.begin(), groups.end(),
                                      [&](const auto& known) { return known.first.layer == layer.name; });
            if (group == groups.end())
                group = groups.insert(
                    group,
                    {{layer.name, entry.a->extents[1], layer.place.outputs, 0, entry.adapter->scale, {}, {}},
                     {}});
            group->first.rank += entry.rank();
            group->second.push_back({&entry, &layer});
        }
    std::vector<JoinedAdapter<T>> result;
    for (auto& [joined, parts] : groups) {
        joined.b.assign(static_cast<std::size_t>(joined.outputs * joined.rank), T(0.0f));
        std::int64_t first = 0;
        for (const Part& part : parts) {
            ParameterBase &own_a = *part.entry->a, &own_b = *part.entry->b;
            const std::int64_t rank = part.entry->rank();
            const HostElements<Device> a(own_a), b(own_b);
            joined.a.insert(joined.a.end(), a.template data<T>(), a.template data<T>() + own_a.size());
            const T* const from = b.template data<T>();
            const double factor = part.entry->adapter->scale / joined.scale;
            tensors_of(*part.layer, joined.layer, own_a, own_b)[1].place.for_each_run(
                [&](std::int64_t element, std::int64_t stored, std::int64_t count) {
                    for (std::int64_t i = 0; i < count; ++i) {
                        const std::int64_t row = (stored + i) / rank, column = (stored + i) % rank;
                        joined.b[static_cast<std::size_t>(row * joined.rank + first + column)] =
                            convert<T>(factor * convert<double>(from[element + i]));
                    }
                });
            first += rank;
        }
        result.push_back(std::move(joined));
    }
    return result;
}

/// What a file of adapters says of its layers, as they are added to it.
class AdapterList {
public:
    AdapterList(const AdapterOptions& options, const std::vector<AdaptableLayer>& layers)
        : configuration_{options} {
        for (const AdaptableLayer& layer : layers) {
            auto& all = layer.is_parameter() ? all_parameters_ : all_modules_;
            if (std::find(all.begin(), all.end(), layer.name) == all.end()) all.push_back(layer.name);
        }
    }

    void add(const std::string& layer, bool is_parameter, std::int64_t rank, double scale) {
        (is_parameter ? parameters_ : modules_).push_back(layer);
        const AdapterOptions& options = configuration_.options;
        const auto own = static_cast<double>(rank);
        if (rank != options.rank) configuration_.ranks.emplace_back(layer, own);
        if (rank != options.rank || scale != options.scale())
            configuration_.alphas.emplace_back(layer,
                                               scale * (options.rank_stabilized ? std::sqrt(own) : own));
    }

    AdapterConfiguration configuration() const {
        AdapterConfiguration result = configuration_;
        result.options.targets = shortest_targets(modules_, all_modules_);
        result.parameters = shortest_targets(parameters_, all_parameters_);
        for (std::string& name : result.parameters)
            if (name.ends_with("gate")) name += ".weight";           // a router's
        if (!result.parameters.empty()) result.options.dropout = 0;  // which PEFT's adapters of these lack
        return result;
    }

private:
    AdapterConfiguration configuration_;
    std::vector<std::string> all_modules_, all_parameters_, modules_, parameters_;
};

}  // namespace detail

/// Writes adapters into a folder in PEFT's form, of a model whose checkpoints have these names; `base_model`
/// is what PEFT is told to find it by. Layers that share a tensor of the checkpoint share an adapter there,
/// whose rank is the sum of theirs. Experts' matrices and routers are PEFT's `target_parameters`, which have
/// no dropout: where there are such, none is written down. Throws FileError.
template <class Model>
void save_adapters(Adapters<Model>& adapters, Model& model, const std::string& folder,
                   const CheckpointNames& names, std::string_view base_model = {}) {
    using T = typename Model::Value;
    create_folder(folder);
    const std::vector<detail::AdaptableLayer> layers = detail::adaptable_layers(model, names);
    detail::AdapterList list(adapters.options(), layers);
    std::vector<SafetensorsTensor> tensors;
    const auto joined = detail::joined_adapters(adapters, layers);
    for (const auto& adapter : joined) {
        const auto add = [&](const char* matrix, const std::vector<T>& elements,
                             std::vector<std::int64_t> shape) {
            tensors.push_back({detail::adapter_tensor(adapter.layer, matrix), element_type_of<T>(),
                               std::move(shape), std::as_bytes(std::span(elements))});
        };
        add("lora_A.weight", adapter.a, {adapter.rank, adapter.in});
        add("lora_B.weight", adapter.b, {adapter.outputs, adapter.rank});
        list.add(adapter.layer, false, adapter.rank, adapter.scale);
    }
    std::vector<std::vector<std::byte>> elements;
    elements.reserve(2 * adapters.entries().size());
    for (const auto& entry : adapters.entries())
        for (const detail::AdaptableLayer& layer : layers) {
            if (layer.own != entry.layer || layer.shares_tensor()) continue;
            std::string base = layer.name;
            if (layer.is_of_experts()) {
                base = layer.module();
                const std::string other = layer.own.substr(0, layer.own.rfind('.')) + ".down";
                if (layer.has_gates() && adapters.find(other)) base += ".base_layer";
            }
            for (detail::AdapterTensor& tensor : detail::tensors_of(layer, base, *entry.a, *entry.b)) {
                elements.push_back(detail::joined_bytes<Adapters<Model>>({tensor.place}, tensor.place));
                tensors.push_back({tensor.place.tensor, tensor.place.parameter->type, std::move(tensor.shape),
                                   elements.back()});
            }
            list.add(layer.name, layer.is_parameter(), entry.rank(), entry.adapter->scale);
        }
    const std::pair<std::string, std::string> metadata[] = {{"format", "pt"}};
    write_safetensors(folder + "/adapter_model.safetensors", tensors, metadata);
    detail::write_adapter_configuration(folder + "/adapter_config.json", list.configuration(),
                                        names.transposed, base_model);
}

/// The adapters that a folder of PEFT's form has for a model. Where layers share a tensor of the checkpoint,
/// each gets its part of the adapter's B, and all of its A. Experts' adapters may be each expert's own, or of
/// the tensors of all. Throws FileError where it asks for what is not supported, and where a tensor is
/// missing, of another shape, left over, or not finite.
template <class Model>
Adapters<Model> load_adapters(Model& model, const std::string& folder, const CheckpointNames& names) {
    const auto configuration = detail::read_adapter_configuration(folder + "/adapter_config.json");
    const Safetensors file = Safetensors::open(folder + "/adapter_model.safetensors");
    const std::vector<detail::AdaptableLayer> layers = detail::adaptable_layers(model, names);
    detail::Differences differences(file.where());
    std::map<std::string, std::pair<const detail::AdaptableLayer*, detail::FoundAdapter>, std::less<>> found;
    std::set<std::string, std::less<>> known;
    for (const detail::AdaptableLayer& layer : layers)
        if (const auto adapter = detail::find_adapter(file, configuration, layer, names)) {
            detail::check_adapter(file, layer, *adapter, names, known, differences);
            found.emplace(layer.own, std::pair(&layer, *adapter));
            // PEFT writes the weights themselves, too, of an embedding and a head that are adapted.
            known.insert(detail::adapter_tensor(layer.name, "base_layer.weight"));
        }
    file.for_each([&](const SafetensorsEntry& entry) {
        if (!known.contains(entry.name))
            differences.add(entry.name, "expected no such tensor in adapters of this model");
    });
    differences.raise();

    Adapters<Model> adapters(model, configuration.options,
                             [&](std::string_view own) -> std::optional<AdapterForm> {
                                 const auto layer = found.find(own);
                                 if (layer == found.end()) return std::nullopt;
                                 return layer->second.second.form;
                             });
    std::vector<detail::PlacedTensor<SafetensorsEntry>> tensors;
    for (const auto& entry : adapters.entries()) {
        const auto& [layer, adapter] = found.find(entry.layer)->second;
        for (detail::AdapterTensor& tensor : adapter.tensors(*layer, names, *entry.a, *entry.b)) {
            const auto* const elements = file.find(tensor.place.tensor);
            tensors.push_back({std::move(tensor.place), elements});
        }
    }
    detail::read_parameters<Adapters<Model>>(tensors, file.where());
    return adapters;
}

}  // namespace tenon
