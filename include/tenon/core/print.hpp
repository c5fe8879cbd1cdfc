#pragma once

#include <cstdio>
#include <ostream>
#include <string>

#include <tenon/core/on_host.hpp>
#include <tenon/core/tensor.hpp>

namespace tenon {
namespace detail {

template <Element T>
std::string number_text(T value) {
    if constexpr (std::integral<T>) {
        return std::to_string(value);
    } else {
        char text[32];
        std::snprintf(text, sizeof(text), "%.6g", convert<double>(value));
        return text;
    }
}

/// Appends all elements from an axis on.
template <class T>
void append_text(const ArrayView<T>& x, const T* at, int axis, std::string& text) {
    if (axis == x.extents.rank) {
        text += number_text(*at);
        return;
    }
    constexpr int longest = 8, shown = 3;  // longer axes show this many elements at either end
    const int length = x.extents[axis];
    std::string separator(1, ',');
    if (axis + 1 == x.extents.rank) {
        separator += ' ';
    } else {  // rows on lines of their own, below each other
        separator.append(static_cast<std::size_t>(x.extents.rank - 1 - axis), '\n');
        separator.append(static_cast<std::size_t>(axis + 1), ' ');
    }
    text += '[';
    for (int i = 0; i < length; ++i) {
        if (i > 0) text += separator;
        if (length > longest && i == shown) {
            text += "...";
            text += separator;
            i = length - shown;
        }
        append_text(x, at + i * x.strides[axis], axis + 1, text);
    }
    text += ']';
}

}  // namespace detail

/// A tensor's shape and elements, the middle of long axes left out:
///
///     Shape<2, 3>
///     [[1, 2, 3],
///      [4, 5, 6]]
template <TensorLike X>
std::string to_string(const X& x) {
    std::string text = detail::shape_text(x.extents()) + '\n';
    if (!x.holds_elements()) return text + "(holds nothing)";
    const auto& here = on_host(x);
    detail::append_text(here.view(), static_cast<const typename X::value_type*>(here.data()), 0, text);
    return text;
}

template <TensorLike X>
std::ostream& operator<<(std::ostream& stream, const X& x) {
    return stream << to_string(x);
}

}  // namespace tenon
