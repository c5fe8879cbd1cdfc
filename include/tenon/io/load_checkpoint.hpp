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

/// Whether parameters of a model's type mean what those of an architecture do. Throws Error where one is an
/// encoder's, and the other not.
template <class Model>
bool has_features_of(const Architecture& architecture) {
    const auto is_same = []<class A>(A) {
        return same_features<typename A::Features, typename Model::Configuration>;
    };
    if constexpr (requires { requires Model::is_encoder; })
        return visit_encoder(architecture, is_same);
    else
        return visit_architecture(architecture, is_same);
}

/// Opens a checkpoint, a folder or a GGUF file, and returns load(architecture, source). Throws FileError
/// where its features are not those of the model's type.
template <class Model, class Load>
auto with_checkpoint(const std::string& path, const Load& load) {
    return with_place(path, [&] {
        const bool is_gguf = !is_folder(path);
        const OwnedConfiguration configuration = read_configuration(is_gguf ? path : path + "/config.json");
        const Architecture architecture = require_architecture(configuration.table());
        if (!has_features_of<Model>(architecture))
            throw Error("expected a checkpoint with the features of the model's type, got one of " +
                        std::string(architecture.name));
        if (is_gguf) return load(architecture, Gguf::open(path));
        return load(architecture, open_checkpoint(path));
    });
}

/// Returns load(sizes) for those of a checkpoint. Where they are not those of the model's type, the message
/// lists the tensors that have other shapes.
template <class Model, class Load>
Model load_of_sizes(const TransformerSizes& given, const Load& load) {
    constexpr TransformerSizes own = sizes_of<typename Model::Configuration>();
    constexpr bool has_all = own.vocabulary > 0 && own.context > 0 && own.width > 0 && own.depth > 0 &&
                             own.heads > 0 && own.hidden > 0;
    try {
        return load(given);
    } catch (const ShapeError&) {
        if constexpr (has_all) load(own);
        throw;
    }
}

/// A model of these sizes with the parameters of a checkpoint, borrowed if both can.
template <class Model, class Source, class... Options>
Model borrow_or_load(const std::string& path, const TransformerSizes& sizes, const Source& source,
                     const CheckpointNames& names, const Options&... options) {
    if constexpr (std::same_as<typename Model::Device, Cpu> && !Model::is_tracked)
        if (EmbeddedFiles::find(path) || EmbeddedFiles::has_folder(path))
            return borrow_model<Model, Borrowed::unread>(sizes, source, names, options...);
    return load_model<Model>(sizes, source, names, options...);
}

}  // namespace detail

/// A model whose type is known, with the parameters of a checkpoint: of a folder with config.json, or of a
/// GGUF file. Those of a file that is part of the program stay where they are, if they can (see
/// `borrow_model`). Throws FileError where the checkpoint's architecture has other features than the type, or
/// its tensors other names or shapes: all of them, each with both shapes.
template <class Model>
Model load_checkpoint(const std::string& path) {
    return detail::with_checkpoint<Model>(path, [&](const Architecture& architecture, const auto& source) {
        return detail::load_of_sizes<Model>(architecture.sizes, [&](const TransformerSizes& sizes) {
            return detail::borrow_or_load<Model>(path, sizes, source, architecture.names);
        });
    });
}

/// Loads the parameters of a checkpoint into a model, which may be one that trains. Throws likewise.
template <class Model>
void load_checkpoint(Model& model, const std::string& path) {
    detail::with_checkpoint<Model>(path, [&](const Architecture& architecture, const auto& source) {
        load_parameters(model, source, architecture.names);
    });
}

}  // namespace tenon
