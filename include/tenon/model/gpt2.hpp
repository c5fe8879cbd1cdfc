#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// GPT-2 (Radford et al. 2019, "Language models are unsupervised multitask learners") as Hugging Face's
/// checkpoints hold it: matrices of blocks as [in, out], and those of queries, keys and values in one.
struct Gpt2 {
    static constexpr std::string_view name = "gpt2";

    struct Features : TransformerDefaults {
        static constexpr NormKind norm = NormKind::layer;
        static constexpr Positions positions = Positions::learned;
        static constexpr FeedForwardKind feed_forward = FeedForwardKind::gelu_tanh;
        static constexpr bool query_key_value_bias = true, attention_output_bias = true,
                              feed_forward_bias = true, tied = true;
        static constexpr Initializer initializer = Initializer::gpt2;
    };

    static constexpr CheckpointNames names{
        .embedding = "wte",
        .positions = "wpe",
        .block = "h.",
        .norm = "ln_f",
        .head = "lm_head",
        .attention_norm = "ln_1",
        .query = "attn.c_attn",
        .key = "attn.c_attn",
        .value = "attn.c_attn",
        .output = "attn.c_proj",
        .feed_forward_norm = "ln_2",
        .up = "mlp.c_fc",
        .down = "mlp.c_proj",
        .transposed = true,
        .prefix = "transformer.",
        .ignored = {".attn.bias", ".attn.masked_bias"},  // masks
    };

    static constexpr FixedSetting fixed[] = {{"activation_function", {}, {"gelu_new", "gelu_pytorch_tanh"}},
                                             {"scale_attn_weights", true},
                                             {"scale_attn_by_inverse_layer_idx", false},
                                             {"add_cross_attention", false}};

    /// In GGUF files no matrix is transposed.
    static constexpr GgufForm gguf{.architecture = "gpt2", .names = gguf_names_fused};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes = sizes_of<DynamicTransformer<Features>>();
        sizes.vocabulary = table.require_length("vocab_size");
        sizes.context = table.require_length("n_positions");
        sizes.width = table.require_length("n_embd");
        sizes.depth = table.require_length("n_layer");
        sizes.heads = table.require_length("n_head");
        if (sizes.width > 0x7fffffff / 4)
            throw FileError(std::string(table.where()) + ": n_embd: expected a number below 2^29, got " +
                            std::to_string(sizes.width));
        sizes.hidden = table.length("n_inner", 4 * sizes.width);
        sizes.tied = table.boolean("tie_word_embeddings", true);
        sizes.norm_epsilon = table.real("layer_norm_epsilon", 1e-5);
        sizes.dropout = table.real("resid_pdrop", 0.1);
        return sizes;
    }
};

}  // namespace tenon
