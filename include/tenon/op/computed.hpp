#pragma once

#include <concepts>
#include <cstdint>

#include <tenon/core/layout.hpp>
#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/stored_elements.hpp>
#include <tenon/core/transfer.hpp>
#include <tenon/core/workspace.hpp>

namespace tenon::kernel {

/// Copies numbers to elements of another type, each rounded once.
template <class C, class From, class To>
void convert_row(const From* from, std::int64_t count, To* to) {
    using V = Packet<C>;
    std::int64_t at = 0;
    for (; at + V::size <= count; at += V::size) store_as(load_as<V>(from + at), to + at);
    for (; at < count; ++at) store_as(load_as<C>(from + at), to + at);
}

template <class C, class From, class To>
void convert_all(const From* from, std::int64_t count, To* to) {
    parallel_for(count, 16384, [&](std::int64_t first, std::int64_t last) {
        convert_row<C>(from + first, last - first, to + first);
    });
}

/// Packed elements in the type of computation: where they lie if they are of it, else converted into scratch.
/// For kernels that read each element often.
template <class C, class T>
const C* computed(const T* from, std::int64_t count, Workspace& scratch) {
    if constexpr (std::same_as<C, T>) {
        return from;
    } else {
        C* to = scratch.take<C>(static_cast<std::size_t>(count));
        convert_all<C>(from, count, to);
        return to;
    }
}

template <class C>
const C* computed(StoredElements from, std::int64_t count, Workspace& scratch) {
    return from.visit([&](const auto* elements) { return computed<C>(elements, count, scratch); });
}

/// The same by way of a buffer of so many elements, for row after row; none is needed where nothing is
/// converted.
template <class C, class T>
const C* computed(const T* from, std::int64_t count, C* buffer) {
    if constexpr (std::same_as<C, T>) {
        return from;
    } else {
        convert_row<C>(from, count, buffer);
        return buffer;
    }
}

/// The same for a view of rank 4 with a dense last axis; what is converted is packed.
template <class C, class T>
ArrayView<C> computed(const ArrayView<T>& x, Workspace& scratch) {
    if constexpr (std::same_as<C, T>) {
        return x;
    } else {
        ArrayView<C> result{scratch.take<C>(static_cast<std::size_t>(x.extents.count())), x.extents,
                            row_major_strides(x.extents)};
        const std::int64_t times = x.extents[1], heads = x.extents[2], width = x.extents[3];
        parallel_for(x.extents.count(0, 2), 1 + 16384 / (heads * width + 1),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t i = first * heads; i < last * heads; ++i)
                             convert_row<C>(x.data + i / heads / times * x.strides[0] +
                                                i / heads % times * x.strides[1] + i % heads * x.strides[2],
                                            width, result.data + i * width);
                     });
        return result;
    }
}

}  // namespace tenon::kernel
