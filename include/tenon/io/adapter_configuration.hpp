#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/io/atomic_file.hpp>
#include <tenon/io/file.hpp>
#include <tenon/io/json.hpp>
#include <tenon/io/json_text.hpp>
#include <tenon/model/adapters.hpp>

/// PEFT's adapter_config.json.
namespace tenon::detail {

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
    using Numbers = std::vector<std::pair<std::string, double>>;

    AdapterOptions options;
    Numbers ranks = {}, alphas = {};           ///< of layers whose names end so; the first such counts
    std::vector<std::string> parameters = {};  ///< whose adapters are not at layers, but at tensors

    AdapterForm form_of(const std::string& layer) const {
        AdapterOptions own = options;
        own.rank = static_cast<int>(number_of(layer, ranks, own.rank));
        own.alpha = number_of(layer, alphas, own.alpha);
        return {own.rank, own.scale()};
    }
    bool has_parameter(const std::string& tensor) const {
        return std::any_of(parameters.begin(), parameters.end(),
                           [&](const std::string& name) { return is_layer_called(tensor, name); });
    }

private:
    static double number_of(const std::string& layer, const Numbers& numbers, double otherwise) {
        for (const auto& [name, number] : numbers)
            if (is_layer_called(layer, name)) return number;
        return otherwise;
    }
};

/// The name that a regular expression stands for which has but one, after anything and a dot; none for
/// others.
inline std::optional<std::string> name_in_pattern(std::string_view pattern) {
    constexpr std::string_view anything = ".*\\.";
    if (pattern.starts_with(anything)) pattern.remove_prefix(anything.size());
    std::string name;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        constexpr std::string_view special = "*+?[](){}|^$\\";
        if (pattern[i] == '\\' && i + 1 < pattern.size() && (pattern[i + 1] == '.' || pattern[i + 1] == '-'))
            ++i;
        else if (special.find(pattern[i]) != special.npos)
            return std::nullopt;
        name += pattern[i];
    }
    return name;
}

/// The numbers of single layers. PEFT takes their names for regular expressions.
inline std::vector<std::pair<std::string, double>> read_adapter_pattern(Json root, const char* key) {
    std::vector<std::pair<std::string, double>> numbers;
    const auto pattern = root.find(key);
    if (!pattern || pattern->is(JsonKind::null)) return numbers;
    if (!pattern->is(JsonKind::object)) pattern->fail("an object");
    for (const Json number : pattern->members()) {
        std::optional<std::string> name = name_in_pattern(number.key());
        if (!name) number.fail("under the name of a layer, not a regular expression");
        numbers.emplace_back(std::move(*name), number.real());
    }
    return numbers;
}

inline void require_adapter_rank(Json value) {
    if (!value.is(JsonKind::integer) || value.integer() < 1 || value.integer() >= 1 << 30)
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
    if (const auto targets = root.find("target_parameters"); targets && !targets->is(JsonKind::null)) {
        if (!targets->is(JsonKind::array)) targets->fail("a list of names");
        for (const Json target : targets->elements()) result.parameters.emplace_back(target.text());
    }
    return result;
}

inline void write_adapter_configuration(const std::string& path, const AdapterConfiguration& configuration,
                                        bool transposed, std::string_view base_model) {
    const AdapterOptions& options = configuration.options;
    const auto joined = [](const auto& items, const auto& append) {
        std::string text;
        for (const auto& item : items) {
            if (!text.empty()) text += ", ";
            append(text, item);
        }
        return text;
    };
    const auto pattern = [&](const AdapterConfiguration::Numbers& numbers) {
        return "{" +
               joined(numbers,
                      [](std::string& text, const auto& number) {
                          append_json_string(text, number.first);
                          text += ": ";
                          append_json_number(text, number.second);
                      }) +
               "}";
    };
    const auto list = [&](const std::vector<std::string>& names) {
        return "[" +
               joined(names,
                      [](std::string& text, const std::string& name) { append_json_string(text, name); }) +
               "]";
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
            ",\n  \"rank_pattern\": " + pattern(configuration.ranks) +
            ",\n  \"target_modules\": " + list(options.targets) +
            ",\n  \"target_parameters\": " + list(configuration.parameters) +
            ",\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_rslora\": ";
    text += options.rank_stabilized ? "true" : "false";
    write_file(path, text + "\n}\n");
}

}  // namespace tenon::detail
