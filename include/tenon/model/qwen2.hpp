#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// The window of Qwen's models: where it is used at all, the first `max_window_layers` are without it.
constexpr void read_qwen_window(const ConfigurationTable& table, TransformerSizes& sizes) {
    if (table.boolean("use_sliding_window", false)) sizes.window = read_window(table, 4096);
    const std::int64_t first = table.integer("max_window_layers", 28);
    read_windowed_layers(table, sizes, [&](int layer) { return layer >= first; });
}

/// Qwen 2 and 2.5 (Yang et al. 2024): as Llama, with biases of queries, keys and values.
struct Qwen2 {
    static constexpr std::string_view name = "qwen2";

    struct Features : TransformerDefaults {
        static constexpr bool query_key_value_bias = true;
    };

    static constexpr CheckpointNames names = llama_names;
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}}};
    static constexpr GgufForm gguf{.architecture = "qwen2"};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 32'768, .norm_epsilon = 1e-6});
        read_qwen_window(table, sizes);
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
