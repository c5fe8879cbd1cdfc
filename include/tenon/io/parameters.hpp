#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <tenon/io/checkpoint.hpp>
#include <tenon/io/safetensors_write.hpp>
#include <tenon/model/checkpoint_names.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {
namespace detail {

template <class From, class To>
void convert_elements(const std::byte* from, To* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        From element;
        std::memcpy(&element, from + i * static_cast<std::int64_t>(sizeof(From)),
                    sizeof(From));  // files may not align
        to[i] = static_cast<To>(static_cast<ComputeOf<From>>(element));
    }
}

/// Elements of a file's type as T. False where the type holds no reals.
template <class T>
bool read_elements(const SafetensorsEntry& entry, T* to, std::int64_t count) {
    switch (entry.type) {
        case ElementType::f64:
            return convert_elements<double>(entry.bytes.data(), to, count), true;
        case ElementType::f32:
            return convert_elements<float>(entry.bytes.data(), to, count), true;
        case ElementType::bf16:
            return convert_elements<bf16>(entry.bytes.data(), to, count), true;
        case ElementType::f16:
            return convert_elements<f16>(entry.bytes.data(), to, count), true;
        default:
            return false;
    }
}

inline std::string shape_text(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
    return text + "]";
}

inline std::vector<std::int64_t> shape_of(const Extents& extents) {
    return {extents.size, extents.size + extents.rank};
}

}  // namespace detail

/// Loads all parameters of a model from a Checkpoint or a Safetensors file, converted to the model's type.
/// Throws FileError, naming file and key, where a tensor is missing, has another shape, or is left over, so
/// that nothing is silently wrong.
template <class Model, class Source>
void load_parameters(Model& model, const Source& source, const CheckpointNames& names) {
    std::size_t used = 0;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        const std::string key = checkpoint_name(names, name);
        const SafetensorsEntry& entry = source.at(key);
        const std::vector<std::int64_t> expected = detail::shape_of(parameter.extents);
        if (entry.shape != expected)
            throw FileError(source.where() + ": " + key + ": expected shape " + detail::shape_text(expected) +
                            ", got " + detail::shape_text(entry.shape));
        if (!detail::read_elements(entry, static_cast<typename Model::Value*>(parameter.data),
                                   parameter.size()))
            throw FileError(source.where() + ": " + key + ": expected real elements, got " +
                            std::string(name_of(entry.type)));
        ++used;
    });
    if (used == source.size()) return;
    // Something is left over: which?
    std::vector<std::string> expected;
    for_each_parameter(model, [&](std::string_view name, ParameterBase&) {
        expected.push_back(checkpoint_name(names, name));
    });
    source.for_each([&](const SafetensorsEntry& entry) {
        if (std::find(expected.begin(), expected.end(), entry.name) != expected.end()) return;
        if (!names.ignored.empty() && entry.name.ends_with(names.ignored)) return;
        // A tied model's file may hold the head, too: the same numbers under a second name.
        if (model.sizes.tied && entry.name == names.head) {
            const SafetensorsEntry& embedding = source.at(names.embedding);
            if (embedding.bytes.size() == entry.bytes.size() &&
                std::equal(entry.bytes.begin(), entry.bytes.end(), embedding.bytes.begin()))
                return;
            throw FileError(source.where() + ": " + entry.name + ": expected the elements of " +
                            std::string(names.embedding) + ", to which the head is tied, got others");
        }
        throw FileError(source.where() + ": " + entry.name + ": expected no such tensor in this model");
    });
}

/// A model of these sizes with the parameters of a checkpoint. Whether the checkpoint has that many is looked
/// at first, so that a wrong configuration does not ask for memory without bounds. Throws like
/// `load_parameters`.
template <class Model, class Source>
Model load_model(const TransformerSizes& sizes, const Source& source, const CheckpointNames& names) {
    const auto expect = [&](const std::string& key, std::vector<std::int64_t> shape) {
        const SafetensorsEntry& entry = source.at(key);
        if (entry.shape != shape)
            throw FileError(source.where() + ": " + key + ": expected shape " + detail::shape_text(shape) +
                            ", got " + detail::shape_text(entry.shape));
    };
    expect(std::string(names.embedding), {sizes.vocabulary, sizes.width});
    const std::string block = std::string(names.block) + std::to_string(sizes.depth - 1) + ".";
    expect(block + std::string(names.query), {std::int64_t{sizes.heads} * sizes.head_width, sizes.width});
    expect(block + std::string(names.down), {sizes.width, sizes.hidden});
    Model model(sizes);
    load_parameters(model, source, names);
    return model;
}

/// Writes all parameters of a model as a safetensors file: to a temporary file first, synced and renamed.
/// Throws FileError.
template <class Model>
void save_parameters(Model& model, const std::string& path, const CheckpointNames& names) {
    std::vector<SafetensorsTensor> tensors;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        tensors.push_back({checkpoint_name(names, name),
                           parameter.type,
                           detail::shape_of(parameter.extents),
                           {static_cast<const std::byte*>(parameter.data),
                            static_cast<std::size_t>(parameter.size()) * sizeof(typename Model::Value)}});
    });
    const std::pair<std::string, std::string> metadata[] = {{"format", "pt"}};
    write_safetensors(path, tensors, metadata);
}

}  // namespace tenon
