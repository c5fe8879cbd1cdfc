#pragma once

#include <tenon/model/gemma2.hpp>

namespace tenon {

/// Gemma 3, of text alone (Gemma Team 2025): as Gemma 2, with norms of each head's queries and keys for the
/// cap of scores; most layers have a window, and rotary positions of their own.
struct Gemma3 {
    static constexpr std::string_view name = "gemma3_text";

    struct Features : GemmaFeatures {
        static constexpr QueryKeyNorm query_key_norm = QueryKeyNorm::head;
    };

    static constexpr CheckpointNames names = gemma_names;
    static constexpr FixedSetting fixed[] = {gemma_fixed[0],
                                             gemma_fixed[1],
                                             gemma_fixed[2],
                                             gemma_fixed[3],
                                             {"attn_logit_softcapping", {}, {"null"}}};
    static constexpr GgufForm gguf{.architecture = "gemma3",
                                   .names = gguf_names_gemma,
                                   .window_period = 6,
                                   .window_rotary_base = 10'000,
                                   .depth_of_wide_scale = 62};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_gemma_sizes(table, 131'072);
        sizes.logit_soft_cap = read_soft_cap(table, "final_logit_softcapping", 0);
        const std::int64_t pattern = table.integer("sliding_window_pattern", 6);
        if (pattern < 1)
            throw FileError(std::string(table.where()) +
                            ": sliding_window_pattern: expected a number from 1 on, got " +
                            std::to_string(pattern));
        read_windowed_layers(table, sizes, [&](int layer) { return (layer + 1) % pattern != 0; });

        TransformerSizes windowed = sizes;
        read_rotary(table, windowed,
                    {.object = "rope_parameters.sliding_attention", .base_key = "rope_local_base_freq"});
        sizes.window_rotary_base = windowed.rotary_base;
        const bool is_nested = has_object(table, "rope_parameters.full_attention");
        read_rotary(
            table, sizes,
            {.base = 1'000'000, .object = is_nested ? "rope_parameters.full_attention" : "rope_scaling"});
        if (windowed.rotary_scaling.kind != RotaryScalingKind::none ||
            windowed.rotary_width != sizes.rotary_width)
            throw FileError(std::string(table.where()) +
                            ": rope_parameters.sliding_attention: expected the type default and the width of "
                            "full_attention, as others are not supported");
        return sizes;
    }
};

}  // namespace tenon
