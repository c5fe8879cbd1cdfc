#pragma once

#include <string>

#include <tenon/model/qwen3.hpp>

namespace tenon {

/// Qwen 3's mixtures of experts (Yang et al. 2025): as Qwen 3, every layer a mixture.
struct Qwen3Moe {
    static constexpr std::string_view name = "qwen3_moe";

    struct Features : Qwen3::Features {
        static constexpr bool mixture_of_experts = true;
    };

    static constexpr CheckpointNames names = mixture_names;
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}}, {"attention_bias", false}};
    static constexpr GgufForm gguf{.architecture = "qwen3moe"};

    /// Throws FileError where a number is missing, or no length, or where a layer is no mixture.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 32'768, .norm_epsilon = 1e-6});
        sizes.hidden = table.require_length("moe_intermediate_size");
        sizes.experts = table.length("num_experts", table.length("num_local_experts", 128));
        sizes.experts_per_token = table.length("num_experts_per_tok", 8);
        sizes.normalized_experts = table.boolean("norm_topk_prob", false);
        if (table.find("mlp_only_layers.0") || table.length("decoder_sparse_step", 1) != 1)
            throw FileError(std::string(table.where()) +
                            ": mlp_only_layers, decoder_sparse_step: expected mixtures of experts in every "
                            "layer, as others are not supported");
        read_qwen_window(table, sizes);
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
