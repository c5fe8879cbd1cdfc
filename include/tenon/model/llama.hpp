#pragma once

#include <tenon/model/checkpoint_names.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/model/configuration_table.hpp>

namespace tenon {

/// Llama (Touvron et al. 2023) as Hugging Face's checkpoints hold it: half-split rotary pairs, grouped queries.
struct Llama {
    static constexpr std::string_view name = "llama";

    static constexpr CheckpointNames names{
        .embedding = "model.embed_tokens.weight",
        .block = "model.layers.",
        .norm = "model.norm.weight",
        .head = "lm_head.weight",
        .attention_norm = "input_layernorm.weight",
        .query = "self_attn.q_proj.weight",
        .key = "self_attn.k_proj.weight",
        .value = "self_attn.v_proj.weight",
        .output = "self_attn.o_proj.weight",
        .feed_forward_norm = "post_attention_layernorm.weight",
        .gate = "mlp.gate_proj.weight",
        .up = "mlp.up_proj.weight",
        .down = "mlp.down_proj.weight",
    };

    /// Biases, other activations and scaled rotary positions are not this model.
    static constexpr bool recognizes(const ConfigurationTable& table) {
        return table.text("model_type", "") == "llama" && !table.boolean("attention_bias", false) &&
               !table.boolean("mlp_bias", false) && table.text("hidden_act", "silu") == "silu" &&
               table.text("rope_parameters.rope_type", "default") == "default" && !table.find("rope_scaling.factor");
    }

    /// Throws FileError where a number is missing.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes;
        sizes.vocabulary = static_cast<int>(table.require_integer("vocab_size"));
        sizes.context = static_cast<int>(table.integer("max_position_embeddings", 2048));
        sizes.width = static_cast<int>(table.require_integer("hidden_size"));
        sizes.depth = static_cast<int>(table.require_integer("num_hidden_layers"));
        sizes.heads = static_cast<int>(table.require_integer("num_attention_heads"));
        sizes.key_value_heads = static_cast<int>(table.integer("num_key_value_heads", sizes.heads));
        sizes.head_width = static_cast<int>(table.integer("head_dim", 0));
        sizes.hidden = static_cast<int>(table.require_integer("intermediate_size"));
        sizes.tied = table.boolean("tie_word_embeddings", false);
        sizes.rotary_pairs = RotaryPairs::half_split;
        sizes.rotary_base = table.real("rope_parameters.rope_theta", table.real("rope_theta", 10'000));
        sizes.norm_epsilon = table.real("rms_norm_eps", 1e-6);
        return sizes;
    }
};

}  // namespace tenon
