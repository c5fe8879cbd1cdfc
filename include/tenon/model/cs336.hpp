#pragma once

#include <tenon/model/checkpoint_names.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/model/configuration_table.hpp>

namespace tenon {

/// The Transformer of Stanford's CS336, first assignment: interleaved rotary pairs, a head of its own.
struct Cs336 {
    static constexpr std::string_view name = "cs336";

    using Features = TransformerDefaults;

    static constexpr CheckpointNames names{
        .embedding = "token_embeddings",
        .block = "layers.",
        .norm = "ln_final",
        .head = "lm_head",
        .attention_norm = "ln1",
        .query = "attn.q_proj",
        .key = "attn.k_proj",
        .value = "attn.v_proj",
        .output = "attn.output_proj",
        .feed_forward_norm = "ln2",
        .gate = "ffn.w1",
        .up = "ffn.w3",
        .down = "ffn.w2",
    };

    /// The assignment's configurations name no model type; its own words tell them.
    static constexpr bool recognizes(const ConfigurationTable& table) {
        return !table.find("model_type") && table.find("d_model") && table.find("d_ff") &&
               table.find("num_heads");
    }

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes;
        sizes.vocabulary = table.require_length("vocab_size");
        sizes.context = table.require_length("context_length");
        sizes.width = table.require_length("d_model");
        sizes.depth = table.require_length("num_layers");
        sizes.heads = table.require_length("num_heads");
        sizes.hidden = table.require_length("d_ff");
        sizes.rotary_base = table.real("rope_theta", 10'000);
        sizes.norm_epsilon = table.real("norm_eps", 1e-5);
        return sizes;
    }
};

}  // namespace tenon
