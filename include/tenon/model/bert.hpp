#pragma once

#include <tenon/model/gguf_form.hpp>
#include <tenon/model/published.hpp>

namespace tenon {

/// BERT (Devlin et al. 2018, "BERT: pre-training of deep bidirectional Transformers"), an Encoder, and those
/// with its layers, such as MiniLM (Wang et al. 2020).
struct Bert {
    static constexpr std::string_view name = "bert";

    struct Features : TransformerDefaults {
        static constexpr NormKind norm = NormKind::layer;
        static constexpr NormPlacement placement = NormPlacement::post;
        static constexpr Positions positions = Positions::learned;
        static constexpr FeedForwardKind feed_forward = FeedForwardKind::gelu;
        static constexpr bool query_key_value_bias = true, attention_output_bias = true,
                              feed_forward_bias = true, tied = true;
        static constexpr double norm_epsilon = 1e-12;
        static constexpr Initializer initializer = Initializer::gpt2;
    };

    static constexpr CheckpointNames names{
        .embedding = "embeddings.word_embeddings",
        .positions = "embeddings.position_embeddings",
        .block = "encoder.layer.",
        .norm = {},
        .head = "cls.predictions.decoder",
        .attention_norm = "attention.output.LayerNorm",
        .query = "attention.self.query",
        .key = "attention.self.key",
        .value = "attention.self.value",
        .output = "attention.output.dense",
        .feed_forward_norm = "output.LayerNorm",
        .up = "intermediate.dense",
        .down = "output.dense",
        .types = "embeddings.token_type_embeddings",
        .embedding_norm = "embeddings.LayerNorm",
        .pooler = "pooler.dense",
        .head_transform = "cls.predictions.transform.dense",
        .head_norm = "cls.predictions.transform.LayerNorm",
        .prefix = "bert.",
        .head_otherwise = "cls.predictions",  // of a tied head, which has a bias alone
        .ignored = {"embeddings.position_ids", "cls.predictions.bias", "cls.predictions.decoder.weight",
                    "cls.seq_relationship.weight", "cls.seq_relationship.bias"},
    };

    static constexpr FixedSetting fixed[] = {{"hidden_act", {}, {"gelu"}},
                                             {"position_embedding_type", {}, {"absolute"}},
                                             {"is_decoder", false},
                                             {"add_cross_attention", false}};

    /// GGUF files have no heads.
    static constexpr GgufForm gguf{.architecture = "bert",
                                   .names =
                                       [] {
                                           CheckpointNames names = gguf_names;
                                           names.attention_norm = "attn_output_norm";
                                           names.feed_forward_norm = "layer_output_norm";
                                           names.types = "token_types";
                                           names.embedding_norm = "token_embd_norm";
                                           return names;
                                       }(),
                                   .is_encoder = true};

    /// Throws FileError where a number is missing, or no length.
    static constexpr TransformerSizes sizes(const ConfigurationTable& table) {
        TransformerSizes sizes;
        sizes.vocabulary = table.require_length("vocab_size");
        sizes.context = table.length("max_position_embeddings", 512);
        sizes.width = table.require_length("hidden_size");
        sizes.depth = table.require_length("num_hidden_layers");
        sizes.heads = table.require_length("num_attention_heads");
        sizes.hidden = table.require_length("intermediate_size");
        sizes.tied = table.boolean("tie_word_embeddings", true);
        sizes.norm_epsilon = table.real("layer_norm_eps", 1e-12);
        sizes.dropout = table.real("hidden_dropout_prob", 0.1);
        sizes.token_types = table.length("type_vocab_size", 2);
        return sizes;
    }
};

}  // namespace tenon
