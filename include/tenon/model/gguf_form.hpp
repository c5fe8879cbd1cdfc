#pragma once

#include <string>
#include <string_view>

#include <tenon/core/error.hpp>
#include <tenon/model/checkpoint_names.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/model/configuration_table.hpp>

namespace tenon {

/// The names that GGUF files give to tensors, whatever the architecture.
inline constexpr CheckpointNames gguf_names{
    .embedding = "token_embd",
    .positions = "position_embd",
    .block = "blk.",
    .norm = "output_norm",
    .head = "output",
    .attention_norm = "attn_norm",
    .query = "attn_q",
    .key = "attn_k",
    .value = "attn_v",
    .output = "attn_output",
    .feed_forward_norm = "ffn_norm",
    .gate = "ffn_gate",
    .up = "ffn_up",
    .down = "ffn_down",
    .query_norm = "attn_q_norm",
    .key_norm = "attn_k_norm",
    .attention_output_norm = "post_attention_norm",
    .feed_forward_output_norm = "post_ffw_norm",
};

/// The same where one tensor holds queries, keys and values.
inline constexpr CheckpointNames gguf_names_fused = [] {
    CheckpointNames names = gguf_names;
    names.query = names.key = names.value = "attn_qkv";
    return names;
}();

/// How GGUF files hold an architecture: what an architecture states as its constant `gguf`.
struct GgufForm {
    std::string_view architecture;  ///< what the key general.architecture says
    CheckpointNames names = gguf_names;
    RotaryPairs rotary_pairs = RotaryPairs::half_split;
};

/// The architecture that a table of a GGUF file's metadata names (see read_configuration); empty for other
/// tables.
constexpr std::string_view gguf_architecture(const ConfigurationTable& table) {
    return table.text("general.architecture", "");
}

/// The numbers of a model with these features, by the metadata that all architectures share. What is left out
/// has the default of llama.cpp. Throws FileError where a number is missing or no length, and for a key of
/// the architecture that no model of these sizes honours, so that nothing is silently wrong.
template <class Features>
constexpr TransformerSizes gguf_sizes(const ConfigurationTable& table, const GgufForm& form) {
    constexpr bool has_layer_norm = Features::norm == NormKind::layer;
    constexpr std::string_view known[] = {"attention.head_count",
                                          "attention.head_count_kv",
                                          "attention.key_length",
                                          "attention.layer_norm_epsilon",
                                          "attention.layer_norm_rms_epsilon",
                                          "attention.sliding_window",
                                          "attention.value_length",
                                          "attn_logit_softcapping",
                                          "block_count",
                                          "context_length",
                                          "embedding_length",
                                          "feed_forward_length",
                                          "final_logit_softcapping",
                                          "rope.dimension_count",
                                          "rope.freq_base",
                                          "vocab_size"};
    const ConfigurationTable own = table.below(form.architecture);
    const auto fail = [&](std::string_view key, const std::string& expected, const std::string& got) {
        throw FileError(std::string(table.where()) + ": " + std::string(form.architecture) + "." +
                        std::string(key) + ": expected " + expected + ", got " + got);
    };
    own.for_each([&](std::string_view key, const ConfigurationEntry& entry) {
        for (const std::string_view name : known)
            if (key == name) return;
        const bool says_nothing = key == "rope.scaling.type" && entry.text == "none";
        if (!says_nothing) fail(key, "no such key in a model that is supported", "one");
    });

    TransformerSizes sizes = sizes_of<DynamicTransformer<Features>>();
    sizes.vocabulary =
        own.find("vocab_size") ? own.require_length("vocab_size") : table.require_length("vocab_size");
    sizes.context = own.require_length("context_length");
    sizes.width = own.require_length("embedding_length");
    sizes.depth = own.require_length("block_count");
    sizes.heads = own.require_length("attention.head_count");
    sizes.key_value_heads = own.length("attention.head_count_kv", sizes.heads);
    sizes.head_width = own.length("attention.key_length", 0);
    sizes.hidden = own.require_length("feed_forward_length");
    sizes.tied = table.boolean("tie_word_embeddings", false);
    sizes.rotary_pairs = form.rotary_pairs;
    sizes.rotary_base = own.real("rope.freq_base", 10'000);
    sizes.norm_epsilon = own.require_real(has_layer_norm ? "attention.layer_norm_epsilon"
                                                         : "attention.layer_norm_rms_epsilon");
    sizes.window =
        own.integer("attention.sliding_window", 0) == 0 ? 0 : own.require_length("attention.sliding_window");
    sizes.attention_soft_cap = own.real("attn_logit_softcapping", 0);
    sizes.logit_soft_cap = own.real("final_logit_softcapping", 0);

    const int head_width = sizes.head_width > 0 ? sizes.head_width : sizes.width / sizes.heads;
    for (const std::string_view key : {"attention.value_length", "rope.dimension_count"}) {
        const int length = own.length(key, head_width);
        if (length != head_width)
            fail(key, "the width of a head, " + std::to_string(head_width), std::to_string(length));
    }
    return sizes;
}

}  // namespace tenon
