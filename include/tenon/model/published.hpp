#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <tenon/model/checkpoint_names.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/model/configuration_table.hpp>
#include <tenon/model/published_rotary.hpp>

/// What configurations of published checkpoints, in Hugging Face's form, have in common.
namespace tenon {

/// A setting that models of an architecture have with these values alone: a boolean, or one of these texts;
/// "null": none at all. A configuration may leave it out.
struct FixedSetting {
    std::string_view key;
    bool value = false;
    std::string_view texts[3] = {};

    constexpr bool fits(const ConfigurationEntry& entry) const {
        if (entry.kind == ConfigurationKind::null) return true;
        if (texts[0].empty())
            return entry.kind == ConfigurationKind::boolean && (entry.integer != 0) == value;
        for (const std::string_view text : texts)
            if (entry.kind == ConfigurationKind::text && !text.empty() && entry.text == text) return true;
        return false;
    }
    std::string expected() const {
        std::string all(texts[0].empty() ? value ? "true" : "false" : texts[0]);
        for (const std::string_view text : {texts[1], texts[2]})
            if (!text.empty()) all += " or " + std::string(text);
        return all;
    }
};

/// The names of most decoders' tensors, those of Llama.
inline constexpr CheckpointNames llama_names{
    .embedding = "embed_tokens",
    .block = "layers.",
    .norm = "norm",
    .head = "lm_head",
    .attention_norm = "input_layernorm",
    .query = "self_attn.q_proj",
    .key = "self_attn.k_proj",
    .value = "self_attn.v_proj",
    .output = "self_attn.o_proj",
    .feed_forward_norm = "post_attention_layernorm",
    .gate = "mlp.gate_proj",
    .up = "mlp.up_proj",
    .down = "mlp.down_proj",
    .query_norm = "self_attn.q_norm",
    .key_norm = "self_attn.k_norm",
    .prefix = "model.",
    .ignored = {"rotary_emb.inv_freq"},
};

/// The names of mixtures of experts, of files that have a tensor for each expert's layers, or of
/// transformers' own, which joins them. Layers that are dense among them are called as others.
inline constexpr CheckpointNames mixture_names = [] {
    CheckpointNames names = llama_names;
    names.router = names.joined_router = "mlp.gate";
    names.experts = "mlp.experts.";
    names.expert_gate = "gate_proj";
    names.expert_up = "up_proj";
    names.expert_down = "down_proj";
    names.joined_gate_up = "mlp.experts.gate_up_proj";
    names.joined_down = "mlp.experts.down_proj";
    return names;
}();

/// The numbers that most decoders' configurations give, under the same keys; `otherwise`: where one may be
/// left out. Throws FileError where a number is missing, or no length.
constexpr TransformerSizes read_decoder_sizes(const ConfigurationTable& table, TransformerSizes otherwise) {
    TransformerSizes sizes = otherwise;
    sizes.vocabulary = table.require_length("vocab_size");
    sizes.context = table.length("max_position_embeddings", otherwise.context);
    sizes.width = table.require_length("hidden_size");
    sizes.depth = table.require_length("num_hidden_layers");
    sizes.heads = table.require_length("num_attention_heads");
    sizes.key_value_heads = table.length("num_key_value_heads", sizes.heads);
    sizes.head_width = table.length("head_dim", otherwise.head_width);
    sizes.hidden = table.require_length("intermediate_size");
    sizes.tied = table.boolean("tie_word_embeddings", otherwise.tied);
    sizes.rotary_pairs = RotaryPairs::half_split;
    sizes.norm_epsilon = table.real("rms_norm_eps", otherwise.norm_epsilon);
    return sizes;
}

/// A window of attention, of layers that have one; null: none.
constexpr int read_window(const ConfigurationTable& table, int otherwise) {
    return table.find("sliding_window") ? table.length("sliding_window", 0) : otherwise;
}

/// Calls f(number, entry) for the elements of an array of settings, one for each layer. Returns whether there
/// is one. Throws FileError where it is shorter than the model is deep.
template <class F>
constexpr bool for_each_layer(const ConfigurationTable& table, std::string_view array, int depth, F&& f) {
    int count = 0;
    for (const ConfigurationEntry& entry : table)
        if (entry.key.size() > array.size() && entry.key.starts_with(array) && entry.key[array.size()] == '.')
            f(count++, entry);
    if (count != 0 && count < depth)
        throw FileError(std::string(table.where()) + ": " + std::string(array) + ": expected " +
                        std::to_string(depth) + " elements, one for each layer, got " +
                        std::to_string(count));
    return count != 0;
}

/// Throws FileError where a set of layers cannot have all layers of a model.
constexpr void require_few_layers(const ConfigurationTable& table, int depth) {
    if (depth > LayerSet::capacity)
        throw FileError(std::string(table.where()) + ": num_hidden_layers: expected at most " +
                        std::to_string(LayerSet::capacity) + ", as layers differ, got " +
                        std::to_string(depth));
}

/// Lets only those layers have the window that `layer_types` says, or without it those for which
/// is_windowed(layer).
template <class F>
constexpr void read_windowed_layers(const ConfigurationTable& table, TransformerSizes& sizes, F is_windowed) {
    require_few_layers(table, sizes.depth);
    bool has_window = false;
    const auto set = [&](int layer, bool windowed) {
        has_window = has_window || windowed;
        if (!windowed && layer < sizes.depth) sizes.windowless_layers.insert(layer);
    };
    const bool is_listed =
        for_each_layer(table, "layer_types", sizes.depth, [&](int layer, const ConfigurationEntry& entry) {
            const bool windowed = entry.text == "sliding_attention";
            if (!windowed && entry.text != "full_attention")
                throw FileError(std::string(table.where()) + ": " + std::string(entry.key) +
                                ": expected full_attention or sliding_attention, got " +
                                std::string(entry.text));
            set(layer, windowed);
        });
    if (!is_listed)
        for (int layer = 0; layer < sizes.depth; ++layer) set(layer, sizes.window > 0 && is_windowed(layer));
    if (is_listed && has_window && sizes.window == 0)
        throw FileError(std::string(table.where()) +
                        ": sliding_window: expected a number, as layer_types names sliding_attention");
    if (!has_window) {
        sizes.window = 0;
        sizes.windowless_layers = {};
    }
}

}  // namespace tenon
