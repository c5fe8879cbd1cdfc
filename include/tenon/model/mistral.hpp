#pragma once

#include <tenon/model/published.hpp>

namespace tenon {

/// Mistral (Jiang et al. 2023): as Llama, with a window of attention.
struct Mistral {
    static constexpr std::string_view name = "mistral";

    using Features = TransformerDefaults;

    static constexpr CheckpointNames names = llama_names;
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}}, {"layer_types.0", {}, {"null"}}};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 131'072, .norm_epsilon = 1e-6});
        sizes.window = read_window(table, 4096);
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
