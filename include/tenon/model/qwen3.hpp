#pragma once

#include <tenon/model/qwen2.hpp>

namespace tenon {

/// Qwen 3 (Yang et al. 2025): as Qwen 2, with norms of each head's queries and keys for the biases.
struct Qwen3 {
    static constexpr std::string_view name = "qwen3";

    struct Features : TransformerDefaults {
        static constexpr QueryKeyNorm query_key_norm = QueryKeyNorm::head;
    };

    static constexpr CheckpointNames names = llama_names;
    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"silu"}}, {"attention_bias", false}};
    static constexpr GgufForm gguf{.architecture = "qwen3"};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes =
            read_decoder_sizes(table, {.context = 32'768, .head_width = 128, .norm_epsilon = 1e-6});
        read_qwen_window(table, sizes);
        read_rotary(table, sizes);
        return sizes;
    }
};

}  // namespace tenon
