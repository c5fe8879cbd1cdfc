#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
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

/// The layers of a model that adapters may be at, as its checkpoint calls them, and where the outputs of each
/// lie there: several may share a tensor, and then they share PEFT's adapter.
template <class Model>
std::vector<std::pair<std::string, CheckpointPlace>> adaptable_layers(Model& model,
                                                                      const CheckpointNames& names) {
    const std::vector<CheckpointPlace> places = checkpoint_places(model, names);
    std::vector<std::pair<std::string, CheckpointPlace>> layers;
    for_each_adapter_place(model, [&](std::string_view layer, AdapterPlace& place) {
        for (const CheckpointPlace& each : places)
            if (each.parameter == &place.weight) layers.emplace_back(checkpoint_layer(names, layer), each);
    });
    return layers;
}

/// Where B of a part of a layer lies in that of the whole layer.
inline CheckpointPlace place_of_outputs(const CheckpointPlace& layer, ParameterBase& b,
                                        std::string tensor = {}) {
    return {std::move(tensor), &b, false, layer.first_output, layer.outputs, layer.turns, 0, b.extents};
}

/// A whole layer's adapter, made of those of its parts: their A below each other, their B along the diagonal.
template <class T>
struct JoinedAdapter {
    std::string layer;
    std::int64_t in = 0, outputs = 0, rank = 0;
    double scale = 0;
    std::vector<T> a, b;
};

template <class Model>
std::vector<JoinedAdapter<typename Model::Value>> joined_adapters(Adapters<Model>& adapters, Model& model,
                                                                  const CheckpointNames& names) {
    using T = typename Model::Value;
    using Device = typename Model::Device;
    struct Part {
        const typename Adapters<Model>::Entry* entry;
        CheckpointPlace place;
    };
    const auto layers = adaptable_layers(model, names);
    std::vector<std::pair<JoinedAdapter<T>, std::vector<Part>>> groups;
    for (const auto& entry : adapters.entries())
        for (const auto& [layer, place] : layers) {
            if (place.parameter != entry.weight) continue;
            auto group = std::find_if(groups.begin(), groups.end(),
                                      [&](const auto& known) { return known.first.layer == layer; });
            if (group == groups.end())
                group = groups.insert(
                    group,
                    {{layer, entry.adapter->a.extents[1], place.outputs, 0, entry.adapter->scale, {}, {}},
                     {}});
            group->first.rank += entry.adapter->a.extents[0];
            group->second.push_back({&entry, place});
        }
    std::vector<JoinedAdapter<T>> result;
    for (auto& [joined, parts] : groups) {
        joined.b.assign(static_cast<std::size_t>(joined.outputs * joined.rank), T(0.0f));
        std::int64_t first = 0;
        for (const Part& part : parts) {
            auto& own = *part.entry->adapter;
            const std::int64_t rank = own.a.extents[0];
            const HostElements<Device> a(own.a), b(own.b);
            joined.a.insert(joined.a.end(), a.template data<T>(), a.template data<T>() + own.a.size());
            const T* const from = b.template data<T>();
            const double factor = own.scale / joined.scale;
            place_of_outputs(part.place, own.b)
                .for_each_run([&](std::int64_t element, std::int64_t stored, std::int64_t count) {
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

/// What PEFT's configuration says, of single layers, too.
struct AdapterConfiguration {
    AdapterOptions options;
    std::vector<std::pair<std::string, double>> ranks, alphas;  ///< of layers whose names end so

    AdapterForm form_of(const std::string& layer) const {
        AdapterOptions own = options;
        for (const auto& [name, rank] : ranks)
            if (is_layer_called(layer, name)) own.rank = static_cast<int>(rank);
        for (const auto& [name, alpha] : alphas)
            if (is_layer_called(layer, name)) own.alpha = alpha;
        return {own.rank, own.scale()};
    }
};

/// The numbers of single layers. PEFT takes their names for regular expressions, of which there are none
/// here.
inline std::vector<std::pair<std::string, double>> read_adapter_pattern(Json root, const char* key) {
    std::vector<std::pair<std::string, double>> numbers;
    const auto pattern = root.find(key);
    if (!pattern || pattern->is(JsonKind::null)) return numbers;
    if (!pattern->is(JsonKind::object)) pattern->fail("an object");
    for (const Json number : pattern->members()) {
        if (number.key().find_first_of("*+?[](){}|^$\\") != std::string_view::npos)
            number.fail("under the name of a layer, not a regular expression");
        numbers.emplace_back(number.key(), number.real());
    }
    return numbers;
}

inline void require_adapter_rank(Json value) {
    if (!value.is(JsonKind::integer) || value.integer() < 1 || value.integer() > 1 << 20)
        value.fail("a rank of at least 1");
}

/// Throws FileError where it asks for what there is not.
inline AdapterConfiguration read_adapter_configuration(const std::string& path) {
    const JsonDocument document = parse_json(read_file(path), path);
    const Json root = document.root();
    if (root.at("peft_type").text() != "LORA") root.at("peft_type").fail("LORA");
    const auto refuse = [&](const char* key, const char* expected, const auto& is_absent) {
        const auto value = root.find(key);
        if (value && !value->is(JsonKind::null) && !is_absent(*value)) value->fail(expected);
    };
    const auto is_false = [](const Json& value) { return value.is(JsonKind::boolean) && !value.boolean(); };
    refuse("use_dora", "false: DoRA is not supported", is_false);
    refuse("bias", "none: biases are not trained",
           [](const Json& value) { return value.is(JsonKind::text) && value.text() == "none"; });
    refuse("lora_bias", "false: adapters have no bias", is_false);
    refuse("modules_to_save", "no layers that are saved whole",
           [](const Json& value) { return value.size() == 0; });
    AdapterConfiguration result;
    require_adapter_rank(root.at("r"));
    result.options.rank = static_cast<int>(root.at("r").integer());
    result.options.alpha = root.at("lora_alpha").real();
    if (const auto dropout = root.find("lora_dropout"); dropout && !dropout->is(JsonKind::null)) {
        result.options.dropout = dropout->real();
        if (!(result.options.dropout >= 0 && result.options.dropout < 1))
            dropout->fail("a probability of at least 0, below 1");
    }
    const auto stabilized = root.find("use_rslora");
    result.options.rank_stabilized = stabilized && !stabilized->is(JsonKind::null) && stabilized->boolean();
    result.options.targets.clear();
    result.ranks = read_adapter_pattern(root, "rank_pattern");
    if (!result.ranks.empty())
        for (const Json rank : root.at("rank_pattern").members()) require_adapter_rank(rank);
    result.alphas = read_adapter_pattern(root, "alpha_pattern");
    return result;
}

inline void write_adapter_configuration(const std::string& path, const AdapterConfiguration& configuration,
                                        const std::vector<std::string>& targets, bool transposed,
                                        std::string_view base_model) {
    const AdapterOptions& options = configuration.options;
    const auto pattern = [](const auto& numbers) {
        std::string text = "{";
        for (const auto& [name, number] : numbers) {
            if (text.size() > 1) text += ", ";
            append_json_string(text, name);
            text += ": ";
            append_json_number(text, number);
        }
        return text + "}";
    };
    std::string text = "{\n  \"alpha_pattern\": " + pattern(configuration.alphas);
    text += ",\n  \"base_model_name_or_path\": ";
    append_json_string(text, base_model);
    text += ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": ";
    text += transposed ? "true" : "false";
    text += ",\n  \"inference_mode\": true,\n  \"lora_alpha\": ";
    append_json_number(text, options.alpha);
    text += ",\n  \"lora_dropout\": ";
    append_json_number(text, options.dropout);
    text += ",\n  \"peft_type\": \"LORA\",\n  \"r\": " + std::to_string(options.rank) +
            ",\n  \"rank_pattern\": " + pattern(configuration.ranks) + ",\n  \"target_modules\": [";
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
/// is what PEFT is told to find it by. Layers that share a tensor of the checkpoint share an adapter there,
/// whose rank is the sum of theirs. Throws FileError.
template <class Model>
void save_adapters(Adapters<Model>& adapters, Model& model, const std::string& folder,
                   const CheckpointNames& names, std::string_view base_model = {}) {
    using T = typename Model::Value;
    create_folder(folder);
    std::vector<std::string> adapted, all;
    for (const auto& [layer, place] : detail::adaptable_layers(model, names))
        if (std::find(all.begin(), all.end(), layer) == all.end()) all.push_back(layer);
    detail::AdapterConfiguration configuration{adapters.options(), {}, {}};
    const auto joined = detail::joined_adapters(adapters, model, names);
    std::vector<SafetensorsTensor> tensors;
    for (const auto& adapter : joined) {
        adapted.push_back(adapter.layer);
        const auto add = [&](const char* matrix, const std::vector<T>& elements,
                             std::vector<std::int64_t> shape) {
            tensors.push_back({detail::adapter_tensor(adapter.layer, matrix), element_type_of<T>(),
                               std::move(shape), std::as_bytes(std::span(elements))});
        };
        add("lora_A", adapter.a, {adapter.rank, adapter.in});
        add("lora_B", adapter.b, {adapter.outputs, adapter.rank});
        const auto rank = static_cast<double>(adapter.rank);
        if (adapter.rank != adapters.options().rank) configuration.ranks.emplace_back(adapter.layer, rank);
        if (adapter.rank != adapters.options().rank || adapter.scale != adapters.options().scale())
            configuration.alphas.emplace_back(
                adapter.layer, adapter.scale * (adapters.options().rank_stabilized ? std::sqrt(rank) : rank));
    }
    const std::pair<std::string, std::string> metadata[] = {{"format", "pt"}};
    write_safetensors(folder + "/adapter_model.safetensors", tensors, metadata);
    detail::write_adapter_configuration(folder + "/adapter_config.json", configuration,
                                        detail::shortest_targets(adapted, all), names.transposed, base_model);
}

/// The adapters that a folder of PEFT's form has for a model. Where layers share a tensor of the checkpoint,
/// each gets its part of the adapter's B, and all of its A. Throws FileError where it asks for what is not
/// supported, and where a tensor is missing, of another shape, left over, or not finite.
template <class Model>
Adapters<Model> load_adapters(Model& model, const std::string& folder, const CheckpointNames& names) {
    const auto configuration = detail::read_adapter_configuration(folder + "/adapter_config.json");
    const Safetensors file = Safetensors::open(folder + "/adapter_model.safetensors");
    Adapters<Model> adapters(model, configuration.options,
                             [&](std::string_view own) -> std::optional<AdapterForm> {
                                 const std::string layer = detail::checkpoint_layer(names, own);
                                 if (!file.find(detail::adapter_tensor(layer, "lora_A"))) return std::nullopt;
                                 return configuration.form_of(layer);
                             });
    const auto layers = detail::adaptable_layers(model, names);
    detail::Differences differences(file.where());
    std::vector<detail::PlacedTensor<SafetensorsEntry>> tensors;
    for (const auto& entry : adapters.entries())
        for (const auto& [layer, whole] : layers) {
            if (whole.parameter != entry.weight) continue;
            const auto add = [&](const CheckpointPlace& place) {
                tensors.push_back(
                    {place, detail::find_of_shape(file, place.tensor, place.shape(), differences)});
            };
            ParameterBase &a = entry.adapter->a, &b = entry.adapter->b;
            add({detail::adapter_tensor(layer, "lora_A"), &a, false, 0, a.extents[0], 1, 0, a.extents});
            add(detail::place_of_outputs(whole, b, detail::adapter_tensor(layer, "lora_B")));
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
