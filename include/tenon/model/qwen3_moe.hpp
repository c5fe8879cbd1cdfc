#pragma once

#include <cstdint>

#include <tenon/model/qwen3.hpp>
#include <tenon/nn/mixture_or_dense.hpp>

namespace tenon {

/// Qwen 3's mixtures of experts (Yang et al. 2025): as Qwen 3, with a mixture in every layer, or in some.
struct Qwen3Moe {
    static constexpr std::string_view name = "qwen3_moe";

    struct Features : Qwen3::Features {
        static constexpr bool mixture_of_experts = true, has_dense_layers = true;
    };

    static constexpr CheckpointNames names = mixture_names;
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}}, {"attention_bias", false}};
    static constexpr GgufForm gguf{.architecture = "qwen3moe"};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 32'768, .norm_epsilon = 1e-6});
        sizes.dense_hidden = sizes.hidden;
        sizes.hidden = table.require_length("moe_intermediate_size");
        sizes.experts = table.length("num_experts", table.length("num_local_experts", 128));
        sizes.experts_per_token = table.length("num_experts_per_tok", 8);
        sizes.normalized_experts = table.boolean("norm_topk_prob", false);
        require_few_layers(table, sizes.depth);
        const int each = table.length("decoder_sparse_step", 1);
        for (int layer = 0; layer < sizes.depth; ++layer)
            if ((layer + 1) % each != 0) sizes.dense_layers.insert(layer);
        for_each_layer(table, "mlp_only_layers", 0, [&](int, const ConfigurationEntry& entry) {
            const std::int64_t layer = table.require_integer(entry.key);
            if (layer >= 0 && layer < sizes.depth) sizes.dense_layers.insert(static_cast<int>(layer));
        });
        read_qwen_window(table, sizes);
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
