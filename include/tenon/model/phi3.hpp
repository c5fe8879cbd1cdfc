#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// Phi-3 and Phi-4 mini (Abdin et al. 2024): as Llama, with projections that share tensors, rotary positions
/// of a part of each head, and divisors of their frequencies for long sequences.
struct Phi3 {
    static constexpr std::string_view name = "phi3";

    using Features = TransformerDefaults;

    static constexpr CheckpointNames names = [] {
        CheckpointNames names = llama_names;
        names.query = names.key = names.value = "self_attn.qkv_proj";
        names.gate = names.up = "mlp.gate_up_proj";
        return names;
    }();
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}}, {"attention_bias", false}};
    static constexpr GgufForm gguf{.architecture = "phi3", .names = [] {
                                       CheckpointNames names = gguf_names_fused;
                                       names.gate = names.up;
                                       return names;
                                   }()};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = read_decoder_sizes(table, {.context = 4096, .norm_epsilon = 1e-5});
        sizes.window = read_window(table, 0);
        sizes.dropout = table.real("resid_pdrop", 0);
        read_rotary(table, sizes);
        const RotaryScalingKind kind = sizes.rotary_scaling.kind;
        if (kind != RotaryScalingKind::none && kind != RotaryScalingKind::long_factors)
            throw FileError(std::string(table.where()) +
                            ": rope_scaling: expected the type default or longrope of phi3, got another");
        return sizes;
    }
};

}  // namespace tenon
