#pragma once

#include <concepts>
#include <string>

#include <tenon/core/error.hpp>
#include <tenon/io/borrow_model.hpp>
#include <tenon/io/checkpoint.hpp>
#include <tenon/io/embedded_files.hpp>
#include <tenon/io/gguf.hpp>
#include <tenon/io/parameters.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/model/architectures.hpp>
#include <tenon/model/configuration.hpp>

namespace tenon {
namespace detail {

/// A model with the parameters of an opened checkpoint. Where the extents that its configuration says are not
/// the type's, the message lists its tensors that have other shapes.
template <class Model, class Source>
Model load_opened(const Architecture& architecture, const Source& source, bool is_embedded) {
    using C = typename Model::Configuration;
    const auto load = [&](const TransformerSizes& sizes) {
        if constexpr (std::same_as<typename Model::Device, Cpu> && !Model::is_tracked)
            if (is_embedded) return borrow_model<Model>(sizes, source, architecture.names);
        return load_model<Model>(sizes, source, architecture.names);
    };
    try {
        return load(architecture.sizes);
    } catch (const ShapeError&) {
        if (sizes_of<C>() != resolved(sizes_of<C>(), C::positions)) throw;  // some are open
        load(sizes_of<C>());
        throw;
    }
}

}  // namespace detail

/// A model whose type is known, with the parameters of a checkpoint: of a folder with config.json, or of a
/// GGUF file. Those of a file that is part of the program stay where they are, if they can (see
/// `borrow_model`). Throws FileError where the checkpoint's architecture has other features than the type, or
/// its tensors other names or shapes: all of them, each with both shapes.
template <class Model>
Model load_checkpoint(const std::string& path) {
    const bool is_gguf = !is_folder(path);
    const OwnedConfiguration configuration = read_configuration(is_gguf ? path : path + "/config.json");
    const Architecture architecture = require_architecture(configuration.table());
    const bool fits = visit_architecture(architecture, [&]<class A>(A) {
        return same_features<typename A::Features, typename Model::Configuration>;
    });
    if (!fits)
        throw FileError(path + ": expected a checkpoint with the features of the model's type, got one of " +
                        std::string(architecture.name));
    return detail::with_place(path, [&] {
        if (is_gguf)
            return detail::load_opened<Model>(architecture, Gguf::open(path), EmbeddedFiles::find(path));
        return detail::load_opened<Model>(architecture, open_checkpoint(path),
                                          EmbeddedFiles::has_folder(path));
    });
}

}  // namespace tenon
