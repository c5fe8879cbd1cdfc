#pragma once

#include <type_traits>

#include <tenon/core/shape.hpp>
#include <tenon/core/stored_elements.hpp>

namespace tenon {

/// Packed, the last axis fastest. Strides follow from the extents.
struct RowMajor {
    static constexpr bool is_packed = true;
};

/// A view with strides of its own: a slice, a transpose, a broadcast (stride 0).
struct Strided {
    static constexpr bool is_packed = false;
    Strides strides;
};

/// Elements of a tensor anywhere in memory, with its shape erased to values: what kernels take.
template <class T>
struct ArrayView {
    PointerTo<T> data = {};
    Extents extents;
    Strides strides;
};

namespace detail {

/// The extents of a tensor: nothing is stored where the type says all.
template <class S, bool = S::is_static>
struct ExtentsOf {
    ExtentsOf() = default;
    explicit ExtentsOf(const Extents&) {}
    static constexpr const Extents& get() { return S::codes; }
};

template <class S>
struct ExtentsOf<S, false> {
    Extents extents = zero_lengths();

    ExtentsOf() = default;
    explicit ExtentsOf(const Extents& lengths) : extents(lengths) {}
    const Extents& get() const { return extents; }

private:
    static constexpr Extents zero_lengths() {
        Extents lengths = S::codes;
        for (int axis = 0; axis < lengths.rank; ++axis)
            if (!is_exact(lengths[axis])) lengths[axis] = 0;
        return lengths;
    }
};

/// Whether strides are those of a packed tensor; axes of length 1 may have any.
constexpr bool is_packed(const Extents& extents, const Strides& strides) {
    std::int64_t step = 1;
    for (int axis = extents.rank - 1; axis >= 0; --axis) {
        if (extents[axis] != 1 && strides[axis] != step) return false;
        step *= extents[axis];
    }
    return true;
}

}  // namespace detail
}  // namespace tenon
