#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tenon/core/element.hpp"
#include "tenon/core/element_type.hpp"
#include "tenon/io/gguf.hpp"
#include "tenon/io/quantized.hpp"
#include "tenon/io/safetensors.hpp"

namespace tenon::detail {

/// Elements as T, each `step` after the last. Returns the first that is not finite as a T; -1: none.
template <class From, class T>
std::int64_t convert_elements(const std::byte* from, std::int64_t count, T* to, std::int64_t step) {
    const auto convert = [&](std::int64_t i) {
        From element;  // files may not align
        std::memcpy(&element, from + i * static_cast<std::int64_t>(sizeof(From)), sizeof(From));
        return static_cast<T>(static_cast<ComputeOf<From>>(element));
    };
    const auto is_finite = [](T number) {
        const auto value = static_cast<ComputeOf<T>>(number);
        return value - value == 0;
    };
    bool all_finite = true;
    const auto write_all = [&](std::int64_t distance) {
        for (std::int64_t i = 0; i < count; ++i) {
            const T number = convert(i);
            all_finite &= is_finite(number);
            to[i * distance] = number;
        }
    };
    if (step == 1)
        write_all(1);  // by vectors
    else
        write_all(step);
    if (all_finite) return -1;
    for (std::int64_t i = 0;; ++i)
        if (!is_finite(convert(i))) return i;
}

/// The same for `count` elements from `first` on of blocks.
template <class Block, class T>
std::int64_t dequantize_elements(const std::byte* blocks, std::int64_t first, std::int64_t count, T* to,
                                 std::int64_t step) {
    float elements[Block::elements];
    for (std::int64_t done = 0; done < count;) {
        const std::int64_t block = (first + done) / Block::elements, begin = (first + done) % Block::elements,
                           size = std::min(Block::elements - begin, count - done);
        Block::read(blocks + block * Block::bytes, elements);
        const std::int64_t bad = convert_elements<float>(reinterpret_cast<const std::byte*>(elements + begin),
                                                         size, to + done * step, step);
        if (bad >= 0) return done + bad;
        done += size;
    }
    return -1;
}

inline bool has_reals(const SafetensorsEntry& entry) {
    return entry.type == ElementType::f64 || entry.type == ElementType::f32 ||
           entry.type == ElementType::bf16 || entry.type == ElementType::f16;
}
inline bool has_reals(const GgufEntry&) { return true; }

/// Reads `count` elements from `first` on of a tensor that has reals; they become T, each `step` after the
/// last. Returns the number, counted from `first`, of the first that is not finite as a T; -1: none.
template <class T>
std::int64_t read_elements(const SafetensorsEntry& entry, std::int64_t first, std::int64_t count, T* to,
                           std::int64_t step) {
    const std::byte* const from = entry.bytes.data() + first * static_cast<std::int64_t>(size_of(entry.type));
    switch (entry.type) {
        case ElementType::f64:
            return convert_elements<double>(from, count, to, step);
        case ElementType::bf16:
            return convert_elements<bf16>(from, count, to, step);
        case ElementType::f16:
            return convert_elements<f16>(from, count, to, step);
        default:
            return convert_elements<float>(from, count, to, step);
    }
}

/// The same of a GGUF file's tensor.
template <class T>
std::int64_t read_elements(const GgufEntry& entry, std::int64_t first, std::int64_t count, T* to,
                           std::int64_t step) {
    return visit_block(entry.type, [&]<class Block>(Block) {
        const std::byte* const bytes = entry.bytes.data();
        if constexpr (requires { typename Block::Element; })
            return convert_elements<typename Block::Element>(bytes + first * Block::bytes, count, to, step);
        else
            return dequantize_elements<Block>(bytes, first, count, to, step);
    });
}

}  // namespace tenon::detail
