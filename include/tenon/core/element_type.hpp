#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tenon {

/// The scalar types that tensors are stored in. The order is the one in which the reference implementation of
/// safetensors ranks them: a file lays its tensors out from the last of these types to the first.
enum class ElementType : std::uint8_t {
    boolean,
    u8,
    i8,
    f8_e5m2,
    f8_e4m3,
    i16,
    u16,
    f16,
    bf16,
    i32,
    u32,
    f32,
    f64,
    i64,
    u64,
};

/// The bytes that one element takes.
constexpr std::size_t size_of(ElementType type) {
    switch (type) {
        case ElementType::boolean:
        case ElementType::u8:
        case ElementType::i8:
        case ElementType::f8_e5m2:
        case ElementType::f8_e4m3:
            return 1;
        case ElementType::i16:
        case ElementType::u16:
        case ElementType::f16:
        case ElementType::bf16:
            return 2;
        case ElementType::i32:
        case ElementType::u32:
        case ElementType::f32:
            return 4;
        case ElementType::f64:
        case ElementType::i64:
        case ElementType::u64:
            return 8;
    }
    return 0;
}

/// The name that messages print, spelled as the enumerator is.
constexpr std::string_view name_of(ElementType type) {
    switch (type) {
        case ElementType::boolean:
            return "boolean";
        case ElementType::u8:
            return "u8";
        case ElementType::i8:
            return "i8";
        case ElementType::f8_e5m2:
            return "f8_e5m2";
        case ElementType::f8_e4m3:
            return "f8_e4m3";
        case ElementType::i16:
            return "i16";
        case ElementType::u16:
            return "u16";
        case ElementType::f16:
            return "f16";
        case ElementType::bf16:
            return "bf16";
        case ElementType::i32:
            return "i32";
        case ElementType::u32:
            return "u32";
        case ElementType::f32:
            return "f32";
        case ElementType::f64:
            return "f64";
        case ElementType::i64:
            return "i64";
        case ElementType::u64:
            return "u64";
    }
    return "unknown";
}

}  // namespace tenon
