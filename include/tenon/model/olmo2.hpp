#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// OLMo 2 (OLMo Team 2024): as Llama, with norms of what each branch gives, and of all queries and keys
/// together.
struct Olmo2 {
    static constexpr std::string_view name = "olmo2";

    struct Features : TransformerDefaults {
        static constexpr NormPlacement placement = NormPlacement::output;
        static constexpr QueryKeyNorm query_key_norm = QueryKeyNorm::whole;
    };

    static constexpr CheckpointNames names = [] {
        CheckpointNames names = llama_names;
        names.attention_norm = "post_attention_layernorm";
        names.feed_forward_norm = "post_feedforward_layernorm";
        return names;
    }();
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}}, {"attention_bias", false}};
    static constexpr GgufForm gguf{.architecture = "olmo2", .names = [] {
                                       CheckpointNames names = gguf_names;
                                       names.attention_norm = "post_attention_norm";
                                       names.feed_forward_norm = "post_ffw_norm";
                                       return names;
                                   }()};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 2048, .norm_epsilon = 1e-5});
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
