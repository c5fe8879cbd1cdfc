#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>
#include <tenon/nn/mixture_of_experts.hpp>

namespace tenon {

/// Mixtral (Jiang et al. 2024, "Mixtral of experts"): as Mistral, with a mixture of experts for the
/// feed-forward layer.
struct Mixtral {
    static constexpr std::string_view name = "mixtral";

    struct Features : TransformerDefaults {
        static constexpr bool mixture_of_experts = true;
    };

    static constexpr CheckpointNames names = [] {
        CheckpointNames names = mixture_names;
        names.router = "block_sparse_moe.gate";
        names.experts = "block_sparse_moe.experts.";
        names.expert_gate = "w1";
        names.expert_up = "w3";
        names.expert_down = "w2";
        return names;
    }();
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}}};

    /// GGUF files take it for a Llama that has experts.
    static constexpr GgufForm gguf{.architecture = "llama", .rotary_pairs = RotaryPairs::interleaved};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(
            table, {.context = 4096 * 32, .norm_epsilon = 1e-5, .normalized_experts = true});
        sizes.window = read_window(table, 0);
        sizes.experts = table.length("num_local_experts", 8);
        sizes.experts_per_token = table.length("num_experts_per_tok", 2);
        read_rotary(table, sizes, {.base = 1e6});
        return sizes;
    }
};

}  // namespace tenon
