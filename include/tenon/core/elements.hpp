#pragma once

#include <tenon/core/layout.hpp>

namespace tenon {

/// The elements of a view by their number in row-major order, wherever they lie.
template <class T>
class Elements {
public:
    explicit Elements(const ArrayView<T>& view)
        : view_(view), is_packed_(detail::is_packed(view.extents, view.strides)) {}

    std::int64_t size() const { return view_.extents.count(); }

    T& operator[](std::int64_t number) const {
        if (is_packed_) return view_.data[number];
        std::int64_t offset = 0;
        for (int axis = view_.extents.rank - 1; axis >= 0; --axis) {
            offset += number % view_.extents[axis] * view_.strides[axis];
            number /= view_.extents[axis];
        }
        return view_.data[offset];
    }

private:
    ArrayView<T> view_;
    bool is_packed_;
};

}  // namespace tenon
