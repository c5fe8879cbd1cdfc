#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <tenon/core/element.hpp>
#include <tenon/core/element_type.hpp>

namespace tenon {

/// Where numbers of a type that is known at run time alone lie, one after the other: a pointer to StoredReal.
class StoredElements {
public:
    StoredElements() = default;
    StoredElements(const void* data, ElementType type) : data_(data), type_(type) {}

    /// Returns f(pointer), a pointer to const float, bf16 or f16.
    template <class F>
    decltype(auto) visit(F&& f) const {
        switch (type_) {
            case ElementType::bf16:
                return f(static_cast<const bf16*>(data_));
            case ElementType::f16:
                return f(static_cast<const f16*>(data_));
            default:
                return f(static_cast<const float*>(data_));
        }
    }

    /// Those from the one of this number on.
    friend StoredElements operator+(StoredElements elements, std::int64_t number) {
        const auto bytes = number * static_cast<std::int64_t>(size_of(elements.type_));
        return {static_cast<const std::byte*>(elements.data_) + bytes, elements.type_};
    }
    friend bool operator==(StoredElements elements, std::nullptr_t) { return elements.data_ == nullptr; }

private:
    const void* data_ = nullptr;
    ElementType type_ = ElementType::f32;
};

/// Whether elements of T may be of this type.
template <class T>
constexpr bool may_be_stored_as(ElementType type) {
    return std::is_same_v<T, StoredReal> &&
           (type == ElementType::f32 || type == ElementType::bf16 || type == ElementType::f16);
}

/// A pointer to elements of T.
template <class T>
using PointerTo = std::conditional_t<std::is_same_v<T, StoredReal>, StoredElements, T*>;

}  // namespace tenon
