#pragma once

#include <string>
#include <string_view>

#include <tenon/core/error.hpp>

namespace tenon {

/// How checkpoints of an architecture name the parameters of a Transformer. Names of a block's follow
/// `block`, the block's number and a dot.
struct CheckpointNames {
    std::string_view embedding, block, norm, head;
    std::string_view attention_norm, query, key, value, output;
    std::string_view feed_forward_norm, gate, up, down;
    std::string_view ignored = {};  // tensors whose names end so may stand in a file, and are no parameters
};

/// The checkpoint's name of a parameter, given the name that `for_each_parameter` calls it by.
inline std::string checkpoint_name(const CheckpointNames& names, std::string_view parameter) {
    const struct {
        std::string_view own, checkpoint;
    } whole[] = {{"embedding.weight", names.embedding},
                 {"norm.gain", names.norm},
                 {"head.weight", names.head}},
      of_block[] = {
          {"attention_norm.gain", names.attention_norm}, {"attention.query.weight", names.query},
          {"attention.key.weight", names.key},           {"attention.value.weight", names.value},
          {"attention.output.weight", names.output},     {"feed_forward_norm.gain", names.feed_forward_norm},
          {"feed_forward.gate.weight", names.gate},      {"feed_forward.up.weight", names.up},
          {"feed_forward.down.weight", names.down}};
    for (const auto& entry : whole)
        if (parameter == entry.own) return std::string(entry.checkpoint);
    constexpr std::string_view prefix = "blocks.";
    if (parameter.starts_with(prefix)) {
        const std::size_t dot = parameter.find('.', prefix.size());
        for (const auto& entry : of_block)
            if (dot != std::string_view::npos && parameter.substr(dot + 1) == entry.own)
                return std::string(names.block)
                    .append(parameter.substr(prefix.size(), dot + 1 - prefix.size()))
                    .append(entry.checkpoint);
    }
    throw Error("checkpoint_name: expected a Transformer's parameter, got " + std::string(parameter));
}

}  // namespace tenon
