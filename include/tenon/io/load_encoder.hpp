#pragma once

#include <tenon/io/parameters.hpp>
#include <tenon/model/encoder.hpp>

namespace tenon {

/// The heads that a checkpoint of an encoder has.
template <class Source>
EncoderHeads heads_in(const Source& source, const CheckpointNames& given) {
    const CheckpointNames names = detail::names_in(source, given);
    const auto has = [&](std::string_view parameter) {
        return source.find(checkpoint_name(names, parameter)) != nullptr;
    };
    return {has("pooler.weight"), has("head.bias")};
}

/// An encoder of these sizes with the parameters of a checkpoint, and with the heads that this has. Throws
/// like `load_parameters`.
template <class Model, class Source>
Model load_encoder(const TransformerSizes& sizes, const Source& source, const CheckpointNames& names) {
    return load_model<Model>(sizes, source, names, heads_in(source, names));
}

}  // namespace tenon
