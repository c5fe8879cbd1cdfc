#pragma once

#include <tenon/core/constant_root.hpp>
#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// What all versions of Gemma share: norms on both sides of each branch, whose gains are stored as distances
/// from 1, a scaled embedding, and a gate of tanh-GELU. The logits' soft cap is a number of the checkpoint's.
struct GemmaFeatures : TransformerDefaults {
    static constexpr NormKind norm = NormKind::rms_plus_one;
    static constexpr NormPlacement placement = NormPlacement::both;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::geglu_tanh;
    static constexpr bool scaled_embedding = true, tied = true;
    static constexpr double logit_soft_cap = 30;
};

inline constexpr CheckpointNames gemma_names = [] {
    CheckpointNames names = llama_names;
    names.attention_output_norm = "post_attention_layernorm";
    names.feed_forward_norm = "pre_feedforward_layernorm";
    names.feed_forward_output_norm = "post_feedforward_layernorm";
    return names;
}();

inline constexpr FixedSetting gemma_fixed[] = {{"hidden_activation", {}, {"gelu_pytorch_tanh"}},
                                               {"hidden_act", {}, {"gelu_pytorch_tanh", "gelu"}},  // older
                                               {"attention_bias", false},
                                               {"use_bidirectional_attention", false}};

/// The numbers of a Gemma but for the layers' windows and rotary positions.
constexpr TransformerSizes read_gemma_sizes(const ConfigurationTable& table, int context) {
    TransformerSizes sizes = read_decoder_sizes(
        table, {.context = context, .head_width = 256, .tied = true, .norm_epsilon = 1e-6});
    sizes.window = read_window(table, 4096);
    const double scalar = table.real("query_pre_attn_scalar", 256);
    if (!(scalar > 0 && scalar < 1e9))
        throw FileError(std::string(table.where()) +
                        ": query_pre_attn_scalar: expected a positive number below 1e9, got " +
                        std::to_string(scalar));
    sizes.attention_scale = 1 / constant_root(scalar);
    return sizes;
}

/// A soft cap; null: none.
constexpr double read_soft_cap(const ConfigurationTable& table, std::string_view key, double otherwise) {
    return table.find(key) ? table.real(key, 0) : otherwise;
}

/// Gemma 2 (Gemma Team 2024): scores and logits are capped, and every other layer has a window.
struct Gemma2 {
    static constexpr std::string_view name = "gemma2";

    using Features = GemmaFeatures;

    static constexpr CheckpointNames names = gemma_names;
    static constexpr auto& fixed = gemma_fixed;
    static constexpr GgufForm gguf{
        .architecture = "gemma2", .names = gguf_names_gemma, .window_period = 2, .depth_of_wide_scale = 46};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_gemma_sizes(table, 8192);
        sizes.attention_soft_cap = read_soft_cap(table, "attn_logit_softcapping", 50);
        sizes.logit_soft_cap = read_soft_cap(table, "final_logit_softcapping", 30);
        read_windowed_layers(table, sizes, [](int layer) { return layer % 2 == 0; });
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
