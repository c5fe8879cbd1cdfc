#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>
#include <tenon/nn/latent_attention.hpp>
#include <tenon/nn/mixture_or_dense.hpp>

namespace tenon {

/// What DeepSeek's models of versions 2 and 3 have in common: latent attention, and mixtures with experts for
/// all tokens after some dense layers.
struct DeepseekFeatures : TransformerDefaults {
    static constexpr bool latent_attention = true, mixture_of_experts = true, has_dense_layers = true,
                          shared_expert = true;
};

inline constexpr CheckpointNames deepseek_names = [] {
    CheckpointNames names = mixture_names;
    names.shared_gate = "mlp.shared_experts.gate_proj";
    names.shared_up = "mlp.shared_experts.up_proj";
    names.shared_down = "mlp.shared_experts.down_proj";
    names.router_bias = "mlp.gate.e_score_correction_bias";
    names.query_latent = "self_attn.q_a_proj";
    names.query_latent_norm = "self_attn.q_a_layernorm";
    names.latent_query = "self_attn.q_b_proj";
    names.latent = "self_attn.kv_a_proj_with_mqa";
    names.latent_norm = "self_attn.kv_a_layernorm";
    names.key = names.value = "self_attn.kv_b_proj";
    names.interleaved_heads = true;
    names.later_blocks = true;  // that predict tokens after the next
    return names;
}();

/// The same of GGUF files, which have both versions under one name.
inline constexpr CheckpointNames gguf_names_deepseek = [] {
    CheckpointNames names = gguf_names;
    names.latent = "attn_kv_a_mqa";
    names.key = names.value = "attn_kv_b";
    names.key_by_head = "attn_k_b";
    names.value_by_head = "attn_v_b";
    names.interleaved_heads = true;
    names.later_blocks = true;
    return names;
}();

/// A number of both versions' configurations where they leave it out.
struct DeepseekDefaults {
    int context, dense_layers, query_latent_width, experts, experts_per_token, shared_experts;
    double expert_scale;
};

/// The numbers of a DeepSeek but for its groups of experts. Throws FileError where one is missing, or no
/// length.
constexpr TransformerSizes read_deepseek_sizes(const ConfigurationTable& table,
                                               const DeepseekDefaults& otherwise) {
    TransformerSizes sizes = read_decoder_sizes(table, {.context = otherwise.context, .norm_epsilon = 1e-6});
    sizes.key_value_heads = sizes.heads;
    // Rotary settings are those of the turned elements alone.
    sizes.head_width = table.length("qk_rope_head_dim", 64);
    read_rotary(table, sizes);
    const auto length = [&](std::string_view key, std::int64_t value) {
        if (value > 0x7fffffff)
            throw FileError(std::string(table.where()) + ": " + std::string(key) +
                            ": expected widths below 2^31 of it, got " + std::to_string(value));
        return static_cast<int>(value);
    };
    sizes.head_width =
        length("qk_nope_head_dim", std::int64_t{sizes.head_width} + table.length("qk_nope_head_dim", 128));
    sizes.rotary_pairs = RotaryPairs::interleaved;
    sizes.value_width = table.length("v_head_dim", 128);
    sizes.latent_width = table.length("kv_lora_rank", 512);
    sizes.query_latent_width =
        table.find("q_lora_rank") ? table.length("q_lora_rank", 0) : otherwise.query_latent_width;
    sizes.latent_bias = table.boolean("attention_bias", false);

    sizes.dense_hidden = sizes.hidden;
    sizes.hidden = table.require_length("moe_intermediate_size");
    sizes.experts = table.length("n_routed_experts", otherwise.experts);
    sizes.experts_per_token = table.length("num_experts_per_tok", otherwise.experts_per_token);
    sizes.shared_hidden =
        length("n_shared_experts",
               std::int64_t{table.length("n_shared_experts", otherwise.shared_experts)} * sizes.hidden);
    sizes.expert_scale = table.real("routed_scaling_factor", otherwise.expert_scale);
    require_few_layers(table, sizes.depth);
    const std::int64_t first = table.integer("first_k_dense_replace", otherwise.dense_layers);
    const int each = table.length("moe_layer_freq", 1);
    for (int layer = 0; layer < sizes.depth; ++layer)
        if (layer < first || layer % each != 0) sizes.dense_layers.insert(layer);
    return sizes;
}

/// DeepSeek-V2 (DeepSeek-AI 2024, "DeepSeek-V2: a strong, economical, and efficient mixture-of-experts
/// language model"). `norm_topk_prob` is not read: no published model has it, and transformers leaves it out.
struct DeepseekV2 {
    static constexpr std::string_view name = "deepseek_v2";

    using Features = DeepseekFeatures;

    static constexpr CheckpointNames names = deepseek_names;
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}},
                                             {"mlp_bias", false},
                                             {"scoring_func", {}, {"softmax"}},
                                             {"topk_method", {}, {"greedy", "group_limited_greedy"}}};
    static constexpr GgufForm gguf{.architecture = "deepseek2",
                                   .names = gguf_names_deepseek,
                                   .rotary_pairs = RotaryPairs::interleaved,
                                   .normalized_experts = false};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_deepseek_sizes(table, {.context = 2048,
                                                             .dense_layers = 0,
                                                             .query_latent_width = 1536,
                                                             .experts = 64,
                                                             .experts_per_token = 6,
                                                             .shared_experts = 2,
                                                             .expert_scale = 1});
        if (table.text("topk_method", "greedy") == "group_limited_greedy") {
            sizes.expert_groups = table.require_length("n_group");
            sizes.chosen_groups = table.require_length("topk_group");
        }
        return sizes;
    }
};

/// DeepSeek-V3 and R1 (DeepSeek-AI 2024, "DeepSeek-V3 technical report"): experts are scored each by itself,
/// balanced by a bias, and chosen from groups by their best two.
struct DeepseekV3 {
    static constexpr std::string_view name = "deepseek_v3";

    struct Features : DeepseekFeatures {
        static constexpr RouterScore router_score = RouterScore::sigmoid;
        static constexpr bool router_bias = true;
    };

    static constexpr CheckpointNames names = deepseek_names;
    static constexpr FixedSetting fixed[] = {
        {"hidden_act", {}, {"silu"}}, {"scoring_func", {}, {"sigmoid"}}, {"topk_method", {}, {"noaux_tc"}}};
    static constexpr GgufForm gguf{.architecture = "deepseek2",
                                   .names = gguf_names_deepseek,
                                   .rotary_pairs = RotaryPairs::interleaved,
                                   .normalized_experts = false,
                                   .group_score = GroupScore::sum_of_best_two};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_deepseek_sizes(table, {.context = 4096,
                                                             .dense_layers = 3,
                                                             .query_latent_width = 1536,
                                                             .experts = 256,
                                                             .experts_per_token = 8,
                                                             .shared_experts = 1,
                                                             .expert_scale = 2.5});
        if (!table.boolean("rope_interleave", true)) sizes.rotary_pairs = RotaryPairs::half_split;
        sizes.normalized_experts = table.boolean("norm_topk_prob", true);
        sizes.expert_groups = table.length("n_group", 8);
        sizes.chosen_groups = table.length("topk_group", 4);
        sizes.group_score = GroupScore::sum_of_best_two;
        return sizes;
    }
};

}  // namespace tenon
