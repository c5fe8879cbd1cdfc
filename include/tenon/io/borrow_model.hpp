#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <tenon/io/parameters.hpp>

namespace tenon {
namespace detail {

/// Lets a parameter's elements be a tensor's, if they lie in it as the parameter takes them.
template <class Entry>
void borrow_elements(const PlacedTensor<Entry>& tensor) {
    ParameterBase& parameter = *tensor.place.parameter;
    const auto each = static_cast<std::int64_t>(size_of(parameter.type));
    const std::byte* const bytes = tensor.entry->bytes.data();
    if (tensor.place.extents.count() != parameter.size() || plain_type(*tensor.entry) != parameter.type ||
        reinterpret_cast<std::uintptr_t>(bytes) % static_cast<std::size_t>(each) != 0)
        return;
    const auto view = tensor.place.view();
    const bool is_whole = tensor.place.is_whole();
    if (!is_whole && !(view && parameter.takes_strides)) return;
    // Without a storage: the parameter owns nothing. A model that only runs forward does not write.
    parameter.place({}, const_cast<std::byte*>(bytes + (is_whole ? 0 : view->first * each)));
    if (!is_whole) parameter.strides = view->strides;
}

}  // namespace detail

/// Whether what a model borrows is looked at.
enum class Borrowed {
    unread,  ///< nothing is read before it is used: what is not finite is not found
    checked  ///< all is read at once, and must be finite
};

/// A model of these sizes with the parameters of a checkpoint, as `load_model` makes it, but those that the
/// checkpoint holds whole and of the model's type stay where they are, and so do the matrices of linear
/// layers that are a part of one tensor or transposed in it: no memory is taken for them. Of a model of
/// StoredWeights these are the matrices of files of f32, bf16 and f16. What is put together of several
/// tensors, or taken from one in turns, is copied. The checkpoint, or where its files are part of the program
/// their memory, must outlive the model. Throws like `load_parameters`.
///
/// Where a checkpoint has matrices transposed (GPT-2's), products of few rows, as of one token, read those
/// that stay along the other axis than copies, and add up in another order: last bits of results differ from
/// those of the model that is loaded. Else they are the same, to the last bit.
template <class Model, Borrowed borrowed = Borrowed::checked, class Source, class... Options>
Model borrow_model(const TransformerSizes& sizes, const Source& source, const CheckpointNames& names,
                   const Options&... options) {
    static_assert(std::same_as<typename Model::Device, Cpu> && !Model::is_tracked,
                  "borrow_model: parameters in a file's memory are the CPU's, and cannot be trained");
    detail::require_tensors_of_blocks(sizes, source);
    Model model(sizes, options..., UnallocatedParameters());
    auto tensors = detail::placed_tensors(model, source, names);
    detail::take_types(tensors);
    for (const auto& tensor : tensors) detail::borrow_elements(tensor);
    allocate_parameters(model);
    if (borrowed == Borrowed::unread)
        std::erase_if(tensors, [](const auto& tensor) { return tensor.place.parameter->is_borrowed(); });
    detail::read_parameters<Model>(tensors, source.where());
    return model;
}

}  // namespace tenon
