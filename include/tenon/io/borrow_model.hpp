#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <tenon/io/parameters.hpp>

namespace tenon {
namespace detail {

/// Whether a parameter's elements are a tensor's, as they lie in it.
template <class Entry>
bool lies_in(const PlacedTensor<Entry>& tensor) {
    const ParameterBase& parameter = *tensor.place.parameter;
    const auto address = reinterpret_cast<std::uintptr_t>(tensor.entry->bytes.data());
    return tensor.place.is_whole() && tensor.place.extents.count() == parameter.size() &&
           plain_type(*tensor.entry) == parameter.type && address % size_of(parameter.type) == 0;
}

}  // namespace detail

/// Whether what a model borrows is looked at.
enum class Borrowed {
    unread,  ///< nothing is read before it is used: what is not finite is not found
    checked  ///< all is read at once, and must be finite
};

/// A model of these sizes with the parameters of a checkpoint, as `load_model` makes it, but those that the
/// checkpoint holds as the model does, whole and of its type, stay where they are: no memory is taken for
/// them. Of a model of StoredWeights these are the matrices of files of f32, bf16 and f16. The checkpoint, or
/// where its files are part of the program their memory, must outlive the model. Throws like
/// `load_parameters`.
template <class Model, Borrowed borrowed = Borrowed::checked, class Source, class... Options>
Model borrow_model(const TransformerSizes& sizes, const Source& source, const CheckpointNames& names,
                   const Options&... options) {
    static_assert(std::same_as<typename Model::Device, Cpu> && !Model::is_tracked,
                  "borrow_model: parameters in a file's memory are the CPU's, and cannot be trained");
    detail::require_tensors_of_blocks(sizes, source);
    Model model(sizes, options..., UnallocatedParameters());
    auto tensors = detail::placed_tensors(model, source, names);
    detail::take_types(tensors);
    for (const auto& tensor : tensors)
        if (detail::lies_in(tensor))
            // Without a storage: the parameter owns nothing. A model that only runs forward does not write.
            tensor.place.parameter->data = const_cast<std::byte*>(tensor.entry->bytes.data());
    allocate_parameters(model);
    if (borrowed == Borrowed::unread)
        std::erase_if(tensors, [](const auto& tensor) { return detail::lies_in(tensor); });
    detail::read_parameters<Model>(tensors, source.where());
    return model;
}

}  // namespace tenon
