#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// Llama, of all versions up to 3.3 (Touvron et al. 2023; Grattafiori et al. 2024): grouped queries, and
/// rotary positions that may be scaled.
struct Llama {
    static constexpr std::string_view name = "llama";

    using Features = TransformerDefaults;

    static constexpr CheckpointNames names = llama_names;
    static constexpr FixedSetting fixed[] = {
        {"hidden_act", {}, {"silu"}}, {"attention_bias", false}, {"mlp_bias", false}};

    /// In GGUF files the rows of queries and keys lie so that rotary pairs are neighbours.
    static constexpr GgufForm gguf{.architecture = "llama", .rotary_pairs = RotaryPairs::interleaved};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 2048, .norm_epsilon = 1e-6});
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
