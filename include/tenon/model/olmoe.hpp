#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>
#include <tenon/nn/mixture_of_experts.hpp>

namespace tenon {

/// OLMoE (Muennighoff et al. 2024, "OLMoE: open mixture-of-experts language models"): as Llama, with norms of
/// all queries and keys together, and mixtures of experts.
struct OlmoE {
    static constexpr std::string_view name = "olmoe";

    struct Features : TransformerDefaults {
        static constexpr QueryKeyNorm query_key_norm = QueryKeyNorm::whole;
        static constexpr bool mixture_of_experts = true;
    };

    static constexpr CheckpointNames names = mixture_names;
    static constexpr FixedSetting fixed[] = {
        {"hidden_act", {}, {"silu"}}, {"attention_bias", false}, {"clip_qkv", {}, {"null"}}};
    static constexpr GgufForm gguf{.architecture = "olmoe", .normalized_experts = false};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 4096, .norm_epsilon = 1e-5});
        sizes.experts = table.length("num_experts", 64);
        sizes.experts_per_token = table.length("num_experts_per_tok", 8);
        sizes.normalized_experts = table.boolean("norm_topk_prob", false);
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
