#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/io/atomic_file.hpp>
#include <tenon/io/checkpoint_places.hpp>
#include <tenon/io/file.hpp>
#include <tenon/io/folder.hpp>
#include <tenon/io/json.hpp>
#include <tenon/io/json_text.hpp>
#include <tenon/io/parameters.hpp>
#include <tenon/io/safetensors.hpp>
#include <tenon/io/safetensors_write.hpp>
#include <tenon/model/adapters.hpp>

/// Adapters in the form of Hugging Face's PEFT: a folder of adapter_config.json and
/// adapter_model.safetensors.
namespace tenon {

namespace detail {

/// A tensor's name: PEFT wraps a model twice.
inline std::string adapter_tensor(const std::string& layer, std::string_view matrix) {
    return "base_model.model." + layer + "." + std::string(matrix) + ".weight";
}

/// Throws FileError where a layer is a part of a tensor of the checkpoint, as PEFT's adapters are of whole
/// ones.
template <class Model>
void require_whole_layers(Model& model, const CheckpointNames& names, const std::string& where) {
    for (const CheckpointPlace& place : checkpoint_places(model, names))
        if (place.parameter->role == Role::matrix && place.outputs != place.extents[0])
            throw FileError(where +
                            ": expected an architecture whose linear layers have a tensor each, got " +
                            place.tensor + ", which several share");
}

/// The shortest names that stand for these layers among all: their last parts where all of a name are
/// adapted.
inline std::vector<std::string> shortest_targets(const std::vector<std::string>& adapted,
                                                 const std::vector<std::string>& all) {
    std::vector<std::string> targets;
    for (const std::string& layer : adapted) {
        const std::string last = layer.substr(layer.rfind('.') + 1);
        const auto is_alike = [&](const std::string& other) { return is_layer_called(other, last); };
        const bool is_every = std::count_if(adapted.begin(), adapted.end(), is_alike) ==
                              std::count_if(all.begin(), all.end(), is_alike);
        const std::string& target = is_every ? last : layer;
        if (std::find(targets.begin(), targets.end(), target) == targets.end()) targets.push_back(target);
    }
    return targets;
}

/// What PEFT's configuration says. Throws FileError where it asks for what there is not.
inline AdapterOptions read_adapter_options(const std::string& path) {
    const JsonDocument document = parse_json(read_file(path), path);
    const Json root = document.root();
    if (root.at("peft_type").text() != "LORA") root.at("peft_type").fail("LORA");
    const auto refuse = [&](const char* key, const char* expected, const auto& is_absent) {
        const auto value = root.find(key);
        if (value && !value->is(JsonKind::null) && !is_absent(*value)) value->fail(expected);
    };
    const auto is_false = [](const Json& value) { return value.is(JsonKind::boolean) && !value.boolean(); };
    const auto is_empty = [](const Json& value) { return value.size() == 0; };
    refuse("use_dora", "false: DoRA is not supported", is_false);
    refuse("bias", "none: biases are not trained",
           [](const Json& value) { return value.is(JsonKind::text) && value.text() == "none"; });
    refuse("lora_bias", "false: adapters have no bias", is_false);
    refuse("rank_pattern", "no ranks of single layers", is_empty);
    refuse("alpha_pattern", "no alphas of single layers", is_empty);
    refuse("modules_to_save", "no layers that are saved whole", is_empty);
    AdapterOptions options;
    const std::int64_t rank = root.at("r").integer();
    if (rank < 1 || rank > 1 << 20) root.at("r").fail("a rank of at least 1");
    options.rank = static_cast<int>(rank);
    options.alpha = root.at("lora_alpha").real();
    const auto stabilized = root.find("use_rslora");
    options.rank_stabilized = stabilized && !stabilized->is(JsonKind::null) && stabilized->boolean();
    options.targets.clear();
    return options;
}

inline void write_adapter_options(const std::string& path, const AdapterOptions& options,
                                  const std::vector<std::string>& targets, bool transposed,
                                  std::string_view base_model) {
    std::string text = "{\n  \"base_model_name_or_path\": ";
    append_json_string(text, base_model);
    text += ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": ";
    text += transposed ? "true" : "false";
    text += ",\n  \"inference_mode\": true,\n  \"lora_alpha\": ";
    append_json_number(text, options.alpha);
    text +=
        ",\n  \"lora_dropout\": 0.0,\n  \"peft_type\": \"LORA\",\n  \"r\": " + std::to_string(options.rank) +
        ",\n  \"target_modules\": [";
    for (const std::string& target : targets) {
        if (&target != &targets.front()) text += ", ";
        append_json_string(text, target);
    }
    text += "],\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_rslora\": ";
    text += options.rank_stabilized ? "true" : "false";
    write_file(path, text + "\n}\n");
}

}  // namespace detail

/// Writes adapters into a folder in PEFT's form, of a model whose checkpoints have these names; `base_model`
/// is what PEFT is told to find it by. Throws FileError.
template <class Model>
void save_adapters(Adapters<Model>& adapters, Model& model, const std::string& folder,
                   const CheckpointNames& names, std::string_view base_model = {}) {
    detail::require_whole_layers(model, names, folder);
    create_folder(folder);
    std::vector<std::string> adapted, all;
    detail::for_each_adapter_place(model, [&](std::string_view layer, AdapterPlace&) {
        all.push_back(detail::checkpoint_layer(names, layer));
    });
    std::vector<SafetensorsTensor> tensors;
    std::vector<HostElements<typename Model::Device>> elements;
    elements.reserve(2 * adapters.entries().size());
    for (const auto& entry : adapters.entries()) {
        adapted.push_back(detail::checkpoint_layer(names, entry.layer));
        const auto add = [&](const char* matrix, const ParameterBase& parameter) {
            const std::span<const std::byte> bytes = elements.emplace_back(parameter).bytes();
            tensors.push_back({detail::adapter_tensor(adapted.back(), matrix),
                               parameter.type,
                               {parameter.extents[0], parameter.extents[1]},
                               bytes});
        };
        add("lora_A", entry.adapter->a);
        add("lora_B", entry.adapter->b);
    }
    const std::pair<std::string, std::string> metadata[] = {{"format", "pt"}};
    write_safetensors(folder + "/adapter_model.safetensors", tensors, metadata);
    detail::write_adapter_options(folder + "/adapter_config.json", adapters.options(),
                                  detail::shortest_targets(adapted, all), names.transposed, base_model);
}

/// The adapters that a folder of PEFT's form has for a model. Throws FileError where it asks for what is not
/// supported, and where a tensor is missing, of another shape, left over, or not finite.
template <class Model>
Adapters<Model> load_adapters(Model& model, const std::string& folder, const CheckpointNames& names) {
    detail::require_whole_layers(model, names, folder);
    AdapterOptions options = detail::read_adapter_options(folder + "/adapter_config.json");
    const Safetensors file = Safetensors::open(folder + "/adapter_model.safetensors");
    detail::for_each_adapter_place(model, [&](std::string_view layer, AdapterPlace&) {
        if (file.find(detail::adapter_tensor(detail::checkpoint_layer(names, layer), "lora_A")))
            options.targets.emplace_back(layer);
    });
    Adapters<Model> adapters(model, options, Seed{});
    detail::Differences differences(file.where());
    std::vector<detail::PlacedTensor<SafetensorsEntry>> tensors;
    for (const auto& entry : adapters.entries()) {
        const auto add = [&](const char* matrix, ParameterBase& parameter) {
            const CheckpointPlace place{
                detail::adapter_tensor(detail::checkpoint_layer(names, entry.layer), matrix),
                &parameter,
                false,
                0,
                parameter.extents[0],
                1,
                0,
                parameter.extents};
            tensors.push_back({place, detail::find_of_shape(file, place.tensor, place.shape(), differences)});
        };
        add("lora_A", entry.adapter->a);
        add("lora_B", entry.adapter->b);
    }
    file.for_each([&](const SafetensorsEntry& entry) {
        for (const auto& tensor : tensors)
            if (tensor.place.tensor == entry.name) return;
        differences.add(entry.name, "expected no such tensor in adapters of this model");
    });
    differences.raise();
    detail::read_parameters<Adapters<Model>>(tensors, file.where());
    return adapters;
}

}  // namespace tenon
