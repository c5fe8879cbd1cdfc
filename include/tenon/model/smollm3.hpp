#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// SmolLM3 (Bakouch et al. 2025): as Llama, with layers that know nothing of positions.
struct SmolLm3 {
    static constexpr std::string_view name = "smollm3";

    using Features = TransformerDefaults;

    static constexpr CheckpointNames names = llama_names;
    static constexpr FixedSetting fixed[] = {
        {"hidden_act", {}, {"silu"}}, {"attention_bias", false}, {"mlp_bias", false}};
    static constexpr GgufForm gguf{
        .architecture = "smollm3", .rotary_pairs = RotaryPairs::interleaved, .unturned_period = 4};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes =
            read_decoder_sizes(table, {.context = 32'768, .tied = true, .norm_epsilon = 1e-6});
        const int interval = table.length("no_rope_layer_interval", 4);
        require_few_layers(table, sizes.depth);
        const auto set = [&](int layer, bool turned) {
            if (!turned && layer < sizes.depth) sizes.unturned_layers.insert(layer);
        };
        if (!for_each_layer(table, "no_rope_layers", sizes.depth,
                            [&](int layer, const ConfigurationEntry& entry) { set(layer, entry.integer); }))
            for (int layer = 0; layer < sizes.depth; ++layer) set(layer, (layer + 1) % interval != 0);
        if (table.boolean("use_sliding_window", false)) sizes.window = read_window(table, 0);
        read_windowed_layers(table, sizes, [&](int layer) { return sizes.unturned_layers.has(layer); });
        read_rotary(table, sizes, {.base = 2'000'000});
        return sizes;
    }
};

}  // namespace tenon
