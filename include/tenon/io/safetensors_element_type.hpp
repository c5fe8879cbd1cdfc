#pragma once

#include <optional>
#include <string_view>

#include "tenon/core/element_type.hpp"

namespace tenon::detail {

/// The dtype that safetensors headers write.
constexpr std::string_view safetensors_name_of(ElementType type) {
    switch (type) {
        case ElementType::boolean:
            return "BOOL";
        case ElementType::u8:
            return "U8";
        case ElementType::i8:
            return "I8";
        case ElementType::f8_e5m2:
            return "F8_E5M2";
        case ElementType::f8_e4m3:
            return "F8_E4M3";
        case ElementType::i16:
            return "I16";
        case ElementType::u16:
            return "U16";
        case ElementType::f16:
            return "F16";
        case ElementType::bf16:
            return "BF16";
        case ElementType::i32:
            return "I32";
        case ElementType::u32:
            return "U32";
        case ElementType::f32:
            return "F32";
        case ElementType::f64:
            return "F64";
        case ElementType::i64:
            return "I64";
        case ElementType::u64:
            return "U64";
    }
    return "";
}

/// The type that a header's dtype means, if it is one we know.
constexpr std::optional<ElementType> element_type_of_safetensors(std::string_view dtype) {
    for (int i = 0; i <= static_cast<int>(ElementType::u64); ++i) {
        if (safetensors_name_of(static_cast<ElementType>(i)) == dtype) return static_cast<ElementType>(i);
    }
    return std::nullopt;
}

}  // namespace tenon::detail
