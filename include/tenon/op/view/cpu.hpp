#pragma once

#include <algorithm>

#include <tenon/op/view/view.hpp>

namespace tenon {

template <>
struct Kernel<View, Cpu> {
    /// Adds a packed array into a gradient of `count` elements through strides, from `offset` on; where these
    /// are 0, elements add up in order.
    template <class C>
    static void add(const C* from, const Extents& extents, const Strides& strides, std::int64_t offset,
                    std::int64_t count, const Contribution<C>& to) {
        if (!to.accumulate) std::fill_n(to.data, count, C(0));
        add_axis(from, extents, strides, to.data + offset, 0);
    }

    /// Copies elements from one place to another of the same extents.
    template <class T>
    static void copy(const ArrayView<T>& from, const ArrayView<T>& to) {
        copy_axis(from, from.data, to, to.data, 0);
    }

private:
    template <class T>
    static void copy_axis(const ArrayView<T>& from, const T* source, const ArrayView<T>& to, T* target,
                          int axis) {
        const Extents& extents = from.extents;
        const std::int64_t dense = extents.count(axis);
        if (is_dense(from, axis) && is_dense(to, axis)) {
            std::copy_n(source, dense, target);
            return;
        }
        for (int i = 0; i < extents[axis]; ++i)
            copy_axis(from, source + i * from.strides[axis], to, target + i * to.strides[axis], axis + 1);
    }

    /// Whether all from an axis on lie packed.
    template <class T>
    static bool is_dense(const ArrayView<T>& x, int axis) {
        std::int64_t step = 1;
        for (int i = x.extents.rank - 1; i >= axis; --i) {
            if (x.extents[i] != 1 && x.strides[i] != step) return false;
            step *= x.extents[i];
        }
        return true;
    }

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
        for (int i = 0; i < extents[axis]; ++i)
            from = add_axis(from, extents, strides, to + i * step, axis + 1);
        return from;
    }
};

}  // namespace tenon
