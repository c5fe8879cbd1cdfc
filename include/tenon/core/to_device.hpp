#pragma once

#include <concepts>
#include <type_traits>

#include <tenon/core/tensor.hpp>

namespace tenon {

/// A packed tensor's elements in the memory of another device; the tensor itself where it is there already.
/// Outside of differentiation. `to_device<Cpu>(x)` waits until all that x is made from has run.
template <class Device, TensorLike X>
auto to_device(const X& x) {
    static_assert(!X::is_tracked,
                  "to_device carries no gradient: write to_device<…>(detach(x)) where that is meant");
    static_assert(X::is_packed, "to_device takes a packed tensor: pass contiguous(x)");
    using From = typename X::device_type;
    if constexpr (std::same_as<From, Device>) {
        return x;
    } else {
        using Bridge = std::conditional_t<std::same_as<From, Cpu>, Device, From>;
        auto result =
            Tensor<typename X::value_type, typename X::shape_type, Device>::with_extents(x.extents());
        Memory<Bridge>::copy(x.data(), x.size(), result.data());
        return result;
    }
}

}  // namespace tenon
