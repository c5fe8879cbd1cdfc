#pragma once

#include <algorithm>

#include <tenon/op/view/view.hpp>

namespace tenon {

template <>
struct Kernel<View, Cpu> {
    /// Adds a packed array into another through strides; where these are 0, elements add up in order. With `clear` the
    /// whole of the latter, `count` elements, is zeroed first.
    template <class C>
    static void add(const C* from, const Extents& extents, const Strides& strides, C* to, C* clear, std::int64_t count) {
        if (clear) std::fill_n(clear, count, C(0));
        add_axis(from, extents, strides, to, 0);
    }

private:
    template <class C>
    static const C* add_axis(const C* from, const Extents& extents, const Strides& strides, C* to, int axis) {
        if (axis == extents.rank) {
            *to += *from;
            return from + 1;
        }
        const std::int64_t step = strides[axis];
        if (axis == extents.rank - 1) {
            for (int i = 0; i < extents[axis]; ++i) to[i * step] += from[i];
            return from + extents[axis];
        }
        for (int i = 0; i < extents[axis]; ++i) from = add_axis(from, extents, strides, to + i * step, axis + 1);
        return from;
    }
};

}  // namespace tenon
