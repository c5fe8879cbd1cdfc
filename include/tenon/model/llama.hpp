#pragma once

#include <tenon/model/checkpoint_names.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/model/configuration_table.hpp>

namespace tenon {

/// Llama (Touvron et al. 2023) as Hugging Face's checkpoints hold it: half-split rotary pairs, grouped
/// queries.
struct Llama {
    static constexpr std::string_view name = "llama";

    using Features = TransformerDefaults;

    static constexpr CheckpointNames names{
        .embedding = "embed_tokens",
        .block = "layers.",
        .norm = "norm",
        .head = "lm_head",
        .attention_norm = "input_layernorm",
        .query = "self_attn.q_proj",
        .key = "self_attn.k_proj",
        .value = "self_attn.v_proj",
        .output = "self_attn.o_proj",
        .feed_forward_norm = "post_attention_layernorm",
        .gate = "mlp.gate_proj",
        .up = "mlp.up_proj",
        .down = "mlp.down_proj",
        .prefix = "model.",
        .ignored = {"rotary_emb.inv_freq"},
    };

    /// Biases, other activations and scaled rotary positions are not this model.
    static constexpr bool recognizes(const ConfigurationTable& table) {
        if (table.text("model_type", "") != "llama") return false;
        for (const ConfigurationEntry& entry : table) {
            const bool is_kind = entry.key == "rope_scaling.rope_type" || entry.key == "rope_scaling.type" ||
                                 entry.key == "rope_parameters.rope_type";
            if (is_kind && entry.text != "default") return false;
            if (!is_kind && entry.key.starts_with("rope_scaling.")) return false;
        }
        return !table.boolean("attention_bias", false) && !table.boolean("mlp_bias", false) &&
               table.text("hidden_act", "silu") == "silu";
    }

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes;
        sizes.vocabulary = table.require_length("vocab_size");
        sizes.context = table.length("max_position_embeddings", 2048);
        sizes.width = table.require_length("hidden_size");
        sizes.depth = table.require_length("num_hidden_layers");
        sizes.heads = table.require_length("num_attention_heads");
        sizes.key_value_heads = table.length("num_key_value_heads", sizes.heads);
        sizes.head_width = table.length("head_dim", 0);
        sizes.hidden = table.require_length("intermediate_size");
        sizes.tied = table.boolean("tie_word_embeddings", false);
        sizes.rotary_pairs = RotaryPairs::half_split;
        sizes.rotary_base = table.real("rope_parameters.rope_theta", table.real("rope_theta", 10'000));
        sizes.norm_epsilon = table.real("rms_norm_eps", 1e-6);
        return sizes;
    }
};

}  // namespace tenon
