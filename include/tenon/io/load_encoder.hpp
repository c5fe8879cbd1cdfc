#pragma once

#include <string>

#include <tenon/io/load_checkpoint.hpp>
#include <tenon/io/parameters.hpp>
#include <tenon/model/encoder.hpp>

namespace tenon {

/// The heads that a checkpoint of an encoder has.
template <class Source>
EncoderHeads heads_in(const Source& source, const CheckpointNames& given) {
    const CheckpointNames names = detail::names_in(source, given);
    const auto has = [&](std::string_view layer, std::string_view parameter) {
        return !layer.empty() && source.find(checkpoint_name(names, parameter)) != nullptr;
    };
    return {has(names.pooler, "pooler.weight"), has(names.head_transform, "head.bias")};
}

/// An encoder of these sizes with the parameters of a checkpoint, and with the heads that this has. Throws
/// like `load_parameters`.
template <class Model, class Source>
Model load_encoder(const TransformerSizes& sizes, const Source& source, const CheckpointNames& names) {
    return load_model<Model>(sizes, source, names, heads_in(source, names));
}

/// The same of a folder or file, whose parameters stay where they are if they are part of the program. Throws
/// like `load_checkpoint`.
template <class Model>
Model load_encoder(const std::string& path) {
    return detail::with_checkpoint<Model>(path, [&](const Architecture& architecture, const auto& source) {
        return detail::load_of_sizes<Model>(architecture.sizes, [&](const TransformerSizes& sizes) {
            return detail::borrow_or_load<Model>(path, sizes, source, architecture.names,
                                                 heads_in(source, architecture.names));
        });
    });
}

}  // namespace tenon
