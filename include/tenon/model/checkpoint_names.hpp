#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include <tenon/core/error.hpp>

namespace tenon {

/// How checkpoints of an architecture name the layers of a Transformer: a tensor is called by its layer's
/// name and ".weight" or ".bias". Names of a block's layers follow `block`, the block's number and a dot.
/// Layers of one name share a tensor: their outputs follow each other in it, in the model's order.
struct CheckpointNames {
    std::string_view embedding, positions = {}, block, norm, head;
    std::string_view attention_norm, query, key, value, output;
    std::string_view feed_forward_norm, gate = {}, up, down;
    std::string_view query_norm = {}, key_norm = {}, attention_output_norm = {},
                     feed_forward_output_norm = {};
    /// Of latent attention: queries by what they are made of, and what is made of the states.
    std::string_view latent_query = {}, query_latent = {}, query_latent_norm = {}, latent = {},
                     latent_norm = {};
    /// Of files that keep what makes keys and values of a latent as a matrix for each head: keys' [heads,
    /// latent, width], values' [heads, width, latent].
    std::string_view key_by_head = {}, value_by_head = {};
    /// Of a mixture of experts: an expert's layers are called `experts`, its number, a dot and these names….
    std::string_view router = {}, experts = {}, expert_gate = {}, expert_up = {}, expert_down = {};
    /// …or a dense layer's, a dot and the number…
    bool numbered_experts = false;
    /// …or all experts' matrices are one tensor, [experts, out, in], of this whole name. Where a file has no
    /// `experts`, and none of these, its tensors of all experts have the three names above.
    std::string_view joined_router = {}, joined_gate_up = {}, joined_down = {};
    /// Of the expert that all tokens take; and a router's bias, by its whole name.
    std::string_view shared_gate = {}, shared_up = {}, shared_down = {}, router_bias = {};
    /// Of an Encoder: token types, the norm of the embedding, and what follows the blocks.
    std::string_view types = {}, embedding_norm = {}, pooler = {}, head_transform = {}, head_norm = {};
    /// Matrices of blocks are stored [in, out], not [out, in].
    bool transposed = false;
    /// What norms have is called ".gamma" and ".beta".
    bool greek_norms = false;
    /// Layers of one name follow each other head by head: those of the first, then of the second….
    bool interleaved_heads = false;
    /// Files may hold blocks after the model's, of which nothing is read.
    bool later_blocks = false;
    /// Norms' gains are stored with the 1 that the model adds to them (see NormKind::rms_plus_one).
    bool whole_gains = false;
    /// Begins all names but the head's; files of a model without its head may leave it out.
    std::string_view prefix = {};
    /// What files may call the head instead.
    std::string_view head_otherwise = {};
    /// Tensors whose names end so may stand in a file, and are no parameters.
    std::string_view ignored[5] = {};
};

namespace detail {

/// A parameter's name in a model, taken apart: "blocks.3.feed_forward.up.weight".
struct ParameterName {
    std::string_view block;  ///< "3.", empty outside of blocks
    std::string_view layer;  ///< "feed_forward.up"
    bool is_bias;

    explicit ParameterName(std::string_view name) {
        constexpr std::string_view blocks = "blocks.";
        const std::size_t end = std::min(name.rfind('.'), name.size());
        is_bias = name.substr(end) == ".bias";
        layer = name.substr(0, end);
        if (!layer.starts_with(blocks)) return;
        const std::size_t dot = std::min(layer.find('.', blocks.size()), layer.size() - 1);
        block = layer.substr(blocks.size(), dot + 1 - blocks.size());
        layer.remove_prefix(dot + 1);
    }
};

}  // namespace detail

/// The checkpoint's name, with the prefix, of a parameter that `for_each_parameter` calls by this name.
inline std::string checkpoint_name(const CheckpointNames& names, std::string_view parameter) {
    const struct Entry {
        std::string_view own, checkpoint;
    } whole[] = {{"embedding", names.embedding}, {"positions", names.positions},
                 {"types", names.types},         {"embedding_norm", names.embedding_norm},
                 {"norm", names.norm},           {"pooler", names.pooler},
                 {"head", names.head},           {"head.transform", names.head_transform},
                 {"head.norm", names.head_norm}},
      of_block[] = {{"attention_norm", names.attention_norm},
                    {"attention.query", names.query},
                    {"attention.key", names.key},
                    {"attention.value", names.value},
                    {"attention.turned_query", names.query},
                    {"attention.latent_query", names.latent_query},
                    {"attention.turned_latent_query", names.latent_query},
                    {"attention.query_latent", names.query_latent},
                    {"attention.query_latent_norm", names.query_latent_norm},
                    {"attention.latent", names.latent},
                    {"attention.turned_key", names.latent},
                    {"attention.latent_norm", names.latent_norm},
                    {"attention.output", names.output},
                    {"attention.query_norm", names.query_norm},
                    {"attention.key_norm", names.key_norm},
                    {"attention_output_norm", names.attention_output_norm},
                    {"feed_forward_norm", names.feed_forward_norm},
                    {"feed_forward.gate", names.gate},
                    {"feed_forward.up", names.up},
                    {"feed_forward.down", names.joined_down.empty() ? names.down : names.joined_down},
                    {"feed_forward.dense.gate", names.gate},
                    {"feed_forward.dense.up", names.up},
                    {"feed_forward.dense.down", names.down},
                    {"feed_forward.shared.gate", names.shared_gate},
                    {"feed_forward.shared.up", names.shared_up},
                    {"feed_forward.shared.down", names.shared_down},
                    {"feed_forward.gate_up", names.joined_gate_up},
                    {"feed_forward.router", names.router},
                    {"feed_forward_output_norm", names.feed_forward_output_norm}};
    const auto named = [](const auto& entries, std::string_view own) {
        for (const Entry& entry : entries)
            if (entry.own == own) return entry.checkpoint;
        return std::string_view();
    };
    const detail::ParameterName own(parameter);
    const bool is_router_bias = own.is_bias && own.layer == "feed_forward.router";
    const std::string_view name = own.block.empty() ? named(whole, own.layer)
                                  : is_router_bias  ? names.router_bias
                                                    : named(of_block, own.layer);
    if (name.empty())
        throw Error("checkpoint_name: expected a parameter of this architecture, got " +
                    std::string(parameter));
    std::string result(own.layer.starts_with("head") ? std::string_view() : names.prefix);
    if (!own.block.empty()) result.append(names.block).append(own.block);
    result.append(name);
    if (name == names.joined_gate_up || name == names.joined_down || is_router_bias) return result;
    if (names.greek_norms && own.layer.ends_with("norm"))
        return result.append(own.is_bias ? ".beta" : ".gamma");
    return result.append(own.is_bias ? ".bias" : ".weight");
}

/// The checkpoint's name of a layer of the block that a parameter belongs to.
inline std::string block_name(const CheckpointNames& names, std::string_view parameter,
                              std::string_view layer) {
    std::string result(names.prefix);
    result.append(names.block).append(detail::ParameterName(parameter).block);
    return result.append(layer).append(".weight");
}

/// The checkpoint's name of an expert's layer, of the mixture that a parameter belongs to.
inline std::string expert_name(const CheckpointNames& names, std::string_view parameter, int expert,
                               std::string_view layer) {
    const std::string number = std::to_string(expert);
    std::string within(names.numbered_experts ? layer : names.experts);
    if (names.numbered_experts)
        within.append(".").append(number);
    else
        within.append(number).append(".").append(layer);
    return block_name(names, parameter, within);
}

}  // namespace tenon
