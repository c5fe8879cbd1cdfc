#pragma once

#include <concepts>
#include <cstddef>

#include <tenon/core/tensor.hpp>

namespace tenon {

/// A tensor whose elements the host can read: x itself where they lie in its memory, else a copy, with the
/// strides of x, which is outside of differentiation. Waits until all that x is made from has run.
template <TensorLike X>
decltype(auto) on_host(const X& x) {
    using T = typename X::value_type;
    if constexpr (std::same_as<typename X::device_type, Cpu>) {
        return (x);
    } else {
        std::int64_t count = x.size() > 0 ? 1 : 0;  // from the first element to the last
        for (int axis = 0; axis < X::rank && count > 0; ++axis)
            count += (x.extents()[axis] - 1) * x.strides()[axis];
        Storage storage(Memory<Cpu>::allocate(static_cast<std::size_t>(count) * sizeof(T)));
        T* const elements = static_cast<T*>(storage.data());
        Memory<typename X::device_type>::copy(static_cast<const T*>(x.data()), count, elements);
        return Tensor<T, typename X::shape_type, Cpu, Untracked, typename X::layout_type>(
            std::move(storage), x.holds_elements() ? elements : nullptr, x.extents(), x.layout());
    }
}

}  // namespace tenon
