#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <tenon/io/checkpoint.hpp>
#include <tenon/io/safetensors_write.hpp>
#include <tenon/model/checkpoint_names.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {
namespace detail {

template <class From, class To>
void convert_elements(const std::byte* from, To* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        From element;
        std::memcpy(&element, from + i * static_cast<std::int64_t>(sizeof(From)), sizeof(From));  // files may not align
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

/// Loads all parameters of a model from a Checkpoint or a Safetensors file, converted to the model's type. Throws
/// FileError, naming file and key, where a tensor is missing, has another shape, or is left over, so that nothing is
/// silently wrong.
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
        if (!detail::read_elements(entry, static_cast<typename Model::Value*>(parameter.data), parameter.size()))
            throw FileError(source.where() + ": " + key + ": expected real elements, got " +
                            std::string(name_of(entry.type)));
        ++used;
    });
    // A tied model's file may hold the head, too: the same numbers under a second name.
    if (model.sizes.tied && source.find(names.head)) ++used;
    if (used != source.size())
        throw FileError(source.where() + ": expected " + std::to_string(used) + " tensors for this model, got " +
                        std::to_string(source.size()));
}

/// Writes all parameters of a model as a safetensors file: to a temporary file first, synced and renamed. Throws
/// FileError.
template <class Model>
void save_parameters(Model& model, const std::string& path, const CheckpointNames& names) {
    std::vector<SafetensorsTensor> tensors;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        tensors.push_back({checkpoint_name(names, name), parameter.type, detail::shape_of(parameter.extents),
                           {static_cast<const std::byte*>(parameter.data),
                            static_cast<std::size_t>(parameter.size()) * sizeof(typename Model::Value)}});
    });
    const std::pair<std::string, std::string> metadata[] = {{"format", "pt"}};
    write_safetensors(path, tensors, metadata);
}

}  // namespace tenon
