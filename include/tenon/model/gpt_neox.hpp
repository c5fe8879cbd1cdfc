#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// GPT-NeoX (Black et al. 2022), and Pythia: branches in parallel, rotary positions of a part of each head,
/// and queries, keys and values that take turns in one tensor, head by head.
struct GptNeoX {
    static constexpr std::string_view name = "gpt_neox";

    struct Features : TransformerDefaults {
        static constexpr NormKind norm = NormKind::layer;
        static constexpr bool parallel = true;
        static constexpr FeedForwardKind feed_forward = FeedForwardKind::gelu;
        static constexpr bool query_key_value_bias = true, attention_output_bias = true,
                              feed_forward_bias = true;
    };

    static constexpr CheckpointNames names{
        .embedding = "embed_in",
        .block = "layers.",
        .norm = "final_layer_norm",
        .head = "embed_out",
        .attention_norm = "input_layernorm",
        .query = "attention.query_key_value",
        .key = "attention.query_key_value",
        .value = "attention.query_key_value",
        .output = "attention.dense",
        .feed_forward_norm = "post_attention_layernorm",
        .up = "mlp.dense_h_to_4h",
        .down = "mlp.dense_4h_to_h",
        .interleaved_heads = true,
        .prefix = "gpt_neox.",
        .head_otherwise = "lm_head",
        .ignored = {".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq"},
    };
    static constexpr FixedSetting fixed[] = {
        {"hidden_act", {}, {"gelu"}}, {"attention_bias", true}, {"use_parallel_residual", true}};
    /// In GGUF files the tensor has all queries, all keys, all values.
    static constexpr GgufForm gguf{.architecture = "gptneox", .names = gguf_names_fused};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 2048});
        sizes.norm_epsilon = table.real("layer_norm_eps", 1e-5);
        sizes.dropout = table.real("hidden_dropout", 0);
        read_rotary(table, sizes, {.share = 0.25, .base_key = "rotary_emb_base", .share_key = "rotary_pct"});
        return sizes;
    }
};

}  // namespace tenon
