#pragma once

#include <concepts>

#include <tenon/core/element.hpp>
#include <tenon/core/host_device.hpp>

namespace tenon {

/// How V, a number or a packet of numbers in the type of computation, comes from memory and goes there. What
/// is stored may be of another type; it is converted, and rounded once. `core/packet.hpp` has the packets'
/// part.
template <class V>
struct Transfer;

template <std::floating_point V>
struct Transfer<V> {
    template <class T>
    TENON_HOST_DEVICE static constexpr V load(const T* from) {
        return convert<V>(*from);
    }
    template <class T>
    TENON_HOST_DEVICE static constexpr void store(V value, T* to) {
        *to = convert<T>(value);
    }
};

/// Reads V from elements of any type.
template <class V, class T>
TENON_HOST_DEVICE constexpr V load_as(const T* from) {
    return Transfer<V>::load(from);
}

/// Writes V to elements of any type.
template <class V, class T>
TENON_HOST_DEVICE constexpr void store_as(V value, T* to) {
    Transfer<V>::store(value, to);
}

}  // namespace tenon
