#pragma once

#include <string>
#include <string_view>

#include <tenon/core/constant_root.hpp>
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
    .latent_query = "attn_q_b",
    .query_latent = "attn_q_a",
    .query_latent_norm = "attn_q_a_norm",
    .latent_norm = "attn_kv_a_norm",
    .router = "ffn_gate_inp",
    .expert_gate = "ffn_gate_exps",
    .expert_up = "ffn_up_exps",
    .expert_down = "ffn_down_exps",
    .shared_gate = "ffn_gate_shexp",
    .shared_up = "ffn_up_shexp",
    .shared_down = "ffn_down_shexp",
    .router_bias = "exp_probs_b.bias",
    // Settings: see OwnedConfiguration.
    .ignored = {"rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"},
};

/// The same where one tensor holds queries, keys and values.
inline constexpr CheckpointNames gguf_names_fused = [] {
    CheckpointNames names = gguf_names;
    names.query = names.key = names.value = "attn_qkv";
    return names;
}();

/// The same of Gemma: norms' gains are whole.
inline constexpr CheckpointNames gguf_names_gemma = [] {
    CheckpointNames names = gguf_names;
    names.whole_gains = true;
    return names;
}();

/// How GGUF files hold an architecture: what an architecture states as its constant `gguf`. What files do not
/// say is as llama.cpp has it.
struct GgufForm {
    std::string_view architecture;  ///< what the key general.architecture says
    CheckpointNames names = gguf_names;
    RotaryPairs rotary_pairs = RotaryPairs::half_split;
    int window_period = 0;          ///< the last of each so many layers has no window; 0: all have it
    double window_rotary_base = 0;  ///< of layers that have it, unscaled; 0: as others
    int unturned_period = 0;        ///< the last of each so many layers is without rotary positions; 0: none
    bool normalized_experts = true;
    GroupScore group_score = GroupScore::maximum;
    bool is_encoder = false;
    /// The depth of the one model whose scores are divided by the root of width / heads, not of a head's
    /// width.
    int depth_of_wide_scale = 0;
};

/// The architecture that a table of a GGUF file's metadata names (see read_configuration); empty for other
/// tables.
constexpr std::string_view gguf_architecture(const ConfigurationTable& table) {
    return table.text("general.architecture", "");
}

/// Whether the table is of a GGUF file of that form, for a model with these features: mixtures of experts may
/// have the name of the architecture without, or of one that scores them otherwise.
template <class Features>
constexpr bool has_gguf_form(const ConfigurationTable& table, const GgufForm& form) {
    if (gguf_architecture(table) != form.architecture) return false;
    const ConfigurationTable own = table.below(form.architecture);
    constexpr int softmax = 1, sigmoid = 2;
    return (own.integer("expert_count", 0) > 0) == Features::mixture_of_experts &&
           (!Features::mixture_of_experts ||
            own.integer("expert_gating_func", softmax) ==
                (Features::router_score == RouterScore::sigmoid ? sigmoid : softmax));
}

namespace detail {

/// What reading needs to know of features, so that it is compiled once for all.
struct GgufFeatures {
    TransformerSizes sizes;
    bool has_layer_norms, is_parallel, has_latents, has_experts, has_shared_expert;

    template <class Features>
    static constexpr GgufFeatures of() {
        return {sizes_of<DynamicTransformer<Features>>(),
                Features::norm == NormKind::layer,
                Features::parallel,
                Features::latent_attention,
                Features::mixture_of_experts,
                Features::shared_expert};
    }
};

/// Reads the numbers of a GGUF file's metadata. All throw FileError.
class GgufSizes {
public:
    constexpr GgufSizes(const ConfigurationTable& table, const GgufForm& form, const GgufFeatures& features)
        : table_(table), own_(table.below(form.architecture)), form_(form), features_(features) {}

    constexpr TransformerSizes read() const {
        refuse_unknown_keys();
        TransformerSizes sizes = features_.sizes;
        sizes.vocabulary =
            own_.find("vocab_size") ? own_.require_length("vocab_size") : table_.require_length("vocab_size");
        sizes.context = own_.require_length("context_length");
        sizes.width = own_.require_length("embedding_length");
        sizes.depth = own_.require_length("block_count");
        read_later_blocks(sizes);
        sizes.heads = own_.require_length("attention.head_count");
        sizes.key_value_heads = own_.length("attention.head_count_kv", sizes.heads);
        sizes.head_width = own_.length("attention.key_length", 0);
        sizes.tied = table_.boolean("tie_word_embeddings", false);
        sizes.norm_epsilon = own_.require_real(
            features_.has_layer_norms ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon");
        sizes.attention_soft_cap = own_.real("attn_logit_softcapping", 0);
        sizes.logit_soft_cap = own_.real("final_logit_softcapping", 0);
        if (sizes.depth == form_.depth_of_wide_scale)
            sizes.attention_scale = 1 / constant_root(static_cast<double>(sizes.width) / sizes.heads);
        if (own_.boolean("use_parallel_residual", features_.is_parallel) != features_.is_parallel)
            fail("use_parallel_residual", features_.is_parallel ? "true" : "false", "the opposite");

        if (own_.boolean("attention.causal", !form_.is_encoder) == form_.is_encoder)
            fail("attention.causal", form_.is_encoder ? "false" : "true", "the opposite");
        sizes.token_types = form_.is_encoder ? table_.length("type_vocab_size", 0) : 0;

        if (features_.has_latents) read_latents(sizes);
        const int head_width = sizes.head_width > 0 ? sizes.head_width : sizes.width / sizes.heads;
        if (const int length = own_.length("attention.value_length", head_width);
            length != head_width && !features_.has_latents)
            fail("attention.value_length", "the width of a head, " + std::to_string(head_width),
                 std::to_string(length));
        read_feed_forward(sizes);
        read_windows(sizes);
        read_rotations(sizes, head_width);
        return sizes;
    }

private:
    [[noreturn]] void fail(std::string_view key, const std::string& expected, const std::string& got) const {
        throw FileError(std::string(table_.where()) + ": " + std::string(form_.architecture) + "." +
                        std::string(key) + ": expected " + expected + ", got " + got);
    }

    /// So that nothing is silently wrong.
    constexpr void refuse_unknown_keys() const {
        constexpr std::string_view known[] = {"attention.causal",
                                              "attention.head_count",
                                              "attention.head_count_kv",
                                              "attention.key_length",
                                              "attention.layer_norm_epsilon",
                                              "attention.layer_norm_rms_epsilon",
                                              "attention.sliding_window",
                                              "attention.sliding_window_pattern",
                                              "attention.value_length",
                                              "attn_logit_softcapping",
                                              "block_count",
                                              "context_length",
                                              "embedding_length",
                                              "feed_forward_length",
                                              "final_logit_softcapping",
                                              "rope.dimension_count",
                                              "rope.freq_base",
                                              "rope.freq_base_swa",
                                              "rope.scaling.attn_factor",
                                              "rope.scaling.factor",
                                              "rope.scaling.finetuned",
                                              "rope.scaling.original_context_length",
                                              "rope.scaling.type",
                                              "rope.scaling.yarn_beta_fast",
                                              "rope.scaling.yarn_beta_slow",
                                              "use_parallel_residual",
                                              "vocab_size"};
        constexpr std::string_view of_mixtures[] = {"expert_count", "expert_feed_forward_length",
                                                    "expert_gating_func", "expert_used_count",
                                                    "expert_weights_norm"};
        constexpr std::string_view of_latents[] = {"attention.key_length_mla",
                                                   "attention.kv_lora_rank",
                                                   "attention.q_lora_rank",
                                                   "attention.value_length_mla",
                                                   "expert_group_count",
                                                   "expert_group_used_count",
                                                   "expert_shared_count",
                                                   "expert_weights_scale",
                                                   "leading_dense_block_count",
                                                   "nextn_predict_layers",
                                                   "rope.scaling.yarn_log_multiplier"};
        own_.for_each([&](std::string_view key, const ConfigurationEntry& entry) {
            for (const std::string_view name : known)
                if (key == name) return;
            for (const std::string_view name : of_mixtures)
                if (key == name && (features_.has_experts || entry.integer == 0)) return;
            for (const std::string_view name : of_latents)
                if (key == name && features_.has_latents) return;
            if (key == "pooling_type" && form_.is_encoder) return;  // see read_sentence_options
            if (!key.starts_with("attention.sliding_window_pattern."))
                fail(key, "no such key in a model that is supported", "one");
        });
    }

    constexpr void read_feed_forward(TransformerSizes& sizes) const {
        if (features_.has_experts) {
            sizes.hidden = own_.find("expert_feed_forward_length")
                               ? own_.require_length("expert_feed_forward_length")
                               : own_.require_length("feed_forward_length");
            sizes.experts = own_.require_length("expert_count");
            sizes.experts_per_token = own_.require_length("expert_used_count");
            sizes.normalized_experts = own_.boolean("expert_weights_norm", form_.normalized_experts);
            if (features_.has_shared_expert) read_shared_experts(sizes);
        } else {
            sizes.hidden = own_.require_length("feed_forward_length");
        }
    }

    /// What DeepSeek's mixtures have beside.
    constexpr void read_shared_experts(TransformerSizes& sizes) const {
        const std::int64_t shared = std::int64_t{own_.length("expert_shared_count", 0)} * sizes.hidden;
        if (shared > 0x7fffffff)
            fail("expert_shared_count", "experts of less than 2^31 together", std::to_string(shared));
        sizes.shared_hidden = static_cast<int>(shared);
        sizes.expert_scale = own_.real("expert_weights_scale", 1);
        if (sizes.expert_scale == 0) sizes.expert_scale = 1;  // stands for none
        sizes.expert_groups = own_.length("expert_group_count", 1);
        sizes.chosen_groups = own_.length("expert_group_used_count", sizes.expert_groups);
        sizes.group_score = form_.group_score;
        const std::int64_t dense = own_.integer("leading_dense_block_count", 0);
        if (dense <= 0) return;
        sizes.dense_hidden = own_.require_length("feed_forward_length");
        require_few_layers(sizes.depth);
        for (int layer = 0; layer < sizes.depth && layer < dense; ++layer) sizes.dense_layers.insert(layer);
    }

    /// Files may count the blocks that predict tokens after the next, too.
    constexpr void read_later_blocks(TransformerSizes& sizes) const {
        constexpr std::string_view key = "nextn_predict_layers";
        const std::int64_t later = own_.integer(key, 0);
        if (later < 0 || later >= sizes.depth)
            fail(key, "fewer than all blocks, " + std::to_string(sizes.depth), std::to_string(later));
        sizes.depth -= static_cast<int>(later);
    }

    /// Files of late give the widths of what a cache stores under the keys that were the heads'.
    constexpr void read_latents(TransformerSizes& sizes) const {
        const auto length = [&](std::string_view key, std::string_view older) {
            return own_.require_length(own_.find(key) ? key : older);
        };
        sizes.key_value_heads = sizes.heads;
        sizes.latent_width = own_.require_length("attention.kv_lora_rank");
        sizes.query_latent_width = own_.length("attention.q_lora_rank", 0);
        sizes.head_width = length("attention.key_length_mla", "attention.key_length");
        sizes.value_width = length("attention.value_length_mla", "attention.value_length");
        own_.require_length("rope.dimension_count");
    }

    constexpr void require_few_layers(int depth) const {
        if (depth > LayerSet::capacity)
            fail("block_count", "at most " + std::to_string(LayerSet::capacity) + ", as layers differ",
                 std::to_string(depth));
    }

    constexpr void read_windows(TransformerSizes& sizes) const {
        constexpr std::string_view key = "attention.sliding_window",
                                   pattern = "attention.sliding_window_pattern";
        if (own_.integer(key, 0) == 0) return;
        sizes.window = own_.require_length(key);
        sizes.window_rotary_base = own_.real("rope.freq_base_swa", form_.window_rotary_base);
        const auto entry = own_.find(pattern);
        const int period = entry ? own_.require_length(pattern) : form_.window_period;
        if (period > 0) require_few_layers(sizes.depth);
        for (int layer = 0; period > 0 && layer < sizes.depth; ++layer)
            if ((layer + 1) % period == 0) sizes.windowless_layers.insert(layer);
        int layer = 0;
        own_.for_each([&](std::string_view name, const ConfigurationEntry& windowed) {
            if (!name.starts_with("attention.sliding_window_pattern.")) return;
            if (layer == 0) sizes.windowless_layers = {};
            require_few_layers(layer);
            if (!windowed.integer && layer < sizes.depth) sizes.windowless_layers.insert(layer);
            ++layer;
        });
        if (layer != 0 && layer < sizes.depth)
            fail(pattern, std::to_string(sizes.depth) + " elements, one for each layer",
                 std::to_string(layer));
    }

    constexpr void read_rotations(TransformerSizes& sizes, int head_width) const {
        sizes.rotary_pairs = form_.rotary_pairs;
        sizes.rotary_base = own_.real("rope.freq_base", 10'000);
        sizes.rotary_width = own_.length("rope.dimension_count", head_width);
        if (sizes.rotary_width > head_width)
            fail("rope.dimension_count", "at most the width of a head, " + std::to_string(head_width),
                 std::to_string(sizes.rotary_width));
        if (form_.unturned_period > 0) {
            require_few_layers(sizes.depth);
            for (int layer = 0; layer < sizes.depth; ++layer)
                if ((layer + 1) % form_.unturned_period == 0) sizes.unturned_layers.insert(layer);
        }
        RotaryScaling scaling;
        const std::string_view kind = own_.text("rope.scaling.type", "linear");
        const double factor = own_.real("rope.scaling.factor", 1),
                     amplitude = own_.real("rope.scaling.attn_factor", 0);
        const bool has_one = table_.find("rope_freqs.0").has_value(),
                   has_two = table_.find("rope_factors_long.0").has_value();
        if (has_one || has_two) {
            scaling.kind = RotaryScalingKind::long_factors;
            read_divisors(sizes, has_one ? "rope_freqs" : "rope_factors_short", scaling.short_divisors);
            read_divisors(sizes, has_one ? "rope_freqs" : "rope_factors_long", scaling.long_divisors);
            scaling.original_context = has_one ? sizes.context : original_context(sizes);
            scaling.amplitude = amplitude > 0 ? amplitude : 1;
            if (factor != 1) fail("rope.scaling.factor", "1 beside divisors of frequencies", "another");
        } else if (amplitude != 0 && amplitude != 1) {
            fail("rope.scaling.attn_factor", "1 without divisors of frequencies", "another");
        } else if (kind == "yarn") {
            scaling.kind = RotaryScalingKind::yarn;
            scaling.factor = own_.require_real("rope.scaling.factor");
            scaling.original_context = original_context(sizes);
            scaling.fast_turns = own_.real("rope.scaling.yarn_beta_fast", scaling.fast_turns);
            scaling.slow_turns = own_.real("rope.scaling.yarn_beta_slow", scaling.slow_turns);
            // The factor of the logarithm, which a published configuration leaves out of its number.
            if (features_.has_latents)
                scaling.scale = scaling.scale_of_all = own_.real("rope.scaling.yarn_log_multiplier", 0) / 0.1;
        } else if (kind == "linear" && factor != 1) {
            scaling.kind = RotaryScalingKind::linear;
            scaling.factor = factor;
        } else if (kind != "none" && kind != "linear") {
            fail("rope.scaling.type", "none, linear, yarn, or divisors of frequencies", std::string(kind));
        }
        if (!(scaling.factor > 0 && scaling.factor < 1e9))
            fail("rope.scaling.factor", "a positive number", std::to_string(scaling.factor));
        sizes.rotary_scaling = scaling;
    }

    constexpr double original_context(const TransformerSizes& sizes) const {
        return own_.length("rope.scaling.original_context_length", sizes.context);
    }

    /// The elements of a tensor, one for each pair.
    constexpr void read_divisors(const TransformerSizes& sizes, std::string_view tensor,
                                 double* divisors) const {
        const ConfigurationTable elements = table_.below(tensor);
        const int pairs = (sizes.rotary_width + 1) / 2;
        int count = 0;
        bool are_positive = true;
        elements.for_each([&](std::string_view, const ConfigurationEntry& entry) {
            if (count < RotaryScaling::most_pairs) divisors[count] = entry.real;
            ++count;
            are_positive = are_positive && entry.real > 0 && entry.real < 1e30;
        });
        if (count != pairs || !are_positive || pairs > RotaryScaling::most_pairs)
            throw FileError(std::string(table_.where()) + ": " + std::string(tensor) + ".weight: expected " +
                            std::to_string(pairs) + " positive numbers, one for each pair, at most " +
                            std::to_string(RotaryScaling::most_pairs) + ", got others");
    }

    ConfigurationTable table_, own_;
    const GgufForm& form_;
    const GgufFeatures& features_;
};

}  // namespace detail

/// The numbers of a model with these features, by the metadata that all architectures share. What is left out
/// has the default of llama.cpp. Throws FileError where a number is missing or no length, and for a key of
/// the architecture that no model of these sizes honours, so that nothing is silently wrong.
template <class Features>
constexpr TransformerSizes gguf_sizes(const ConfigurationTable& table, const GgufForm& form) {
    return detail::GgufSizes(table, form, detail::GgufFeatures::of<Features>()).read();
}

}  // namespace tenon
