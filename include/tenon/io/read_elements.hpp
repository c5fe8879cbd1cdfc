#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "tenon/core/element.hpp"
#include "tenon/core/element_type.hpp"
#include "tenon/io/gguf.hpp"
#include "tenon/io/quantized.hpp"
#include "tenon/io/safetensors.hpp"

namespace tenon::detail {

/// The type whose elements a tensor holds one after the other; nothing where they are in blocks.
inline std::optional<ElementType> plain_type(const SafetensorsEntry& entry) { return entry.type; }
inline std::optional<ElementType> plain_type(const GgufEntry& entry) {
    switch (entry.type) {
        case GgmlType::f32:
            return ElementType::f32;
        case GgmlType::f16:
            return ElementType::f16;
        case GgmlType::bf16:
            return ElementType::bf16;
        default:
            return std::nullopt;
    }
}

/// A real number's exponent, in the place that it has among the number's bits. Those of numbers that are not
/// finite are `greatest`, and the maximum of many is found by vectors.
template <class T>
struct Exponent {
    using Bits = std::conditional_t<sizeof(T) == 2, std::uint16_t,
                                    std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>;
    static constexpr int digits = std::same_as<T, double> ? 52
                                  : std::same_as<T, f16>  ? 10
                                  : std::same_as<T, bf16> ? 7
                                                          : 23;
    static constexpr Bits greatest = static_cast<Bits>((Bits(-1) >> 1) >> digits << digits);

    static constexpr Bits of(T number) {
        return static_cast<Bits>(__builtin_bit_cast(Bits, number) & greatest);
    }
};

/// The element i of a file's bytes, which may not be aligned.
template <class T>
T element_at(const std::byte* bytes, std::int64_t i) {
    T element;
    std::memcpy(&element, bytes + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    return element;
}

/// Returns the first of `count` elements of type T that is not finite; -1: none. Where an exponent is the
/// greatest, one more carries into the place of the sign, and no further: so a word tells of all its elements
/// at once.
template <class T>
std::int64_t first_not_finite(const std::byte* elements, std::int64_t count) {
    using E = Exponent<T>;
    using Bits = typename E::Bits;
    constexpr std::uint64_t every = ~std::uint64_t{0} / static_cast<Bits>(-1),  // the lowest bit of each
        exponents = every * E::greatest, one = every << E::digits, signs = every << (8 * sizeof(T) - 1);
    constexpr auto each = static_cast<std::int64_t>(sizeof(std::uint64_t) / sizeof(T));
    const std::int64_t words = count / each;
    std::uint64_t carries = 0;
    for (std::int64_t i = 0; i < words; ++i)
        carries |= (element_at<std::uint64_t>(elements, i) & exponents) + one;
    for (std::int64_t i = (carries & signs) != 0 ? 0 : words * each; i < count; ++i)
        if (E::of(element_at<T>(elements, i)) == E::greatest) return i;
    return -1;
}

/// The same of elements in their place.
template <class T>
std::int64_t first_not_finite(const T* elements, std::int64_t count) {
    return first_not_finite<T>(reinterpret_cast<const std::byte*>(elements), count);
}

/// Elements as T, each `step` after the last. Returns the first that is not finite as a T; -1: none.
template <class From, class T>
std::int64_t convert_elements(const std::byte* from, std::int64_t count, T* to, std::int64_t step) {
    using E = Exponent<T>;
    if (std::same_as<From, T> && step == 1) {
        std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
        return first_not_finite(to, count);
    }
    const auto convert = [&](std::int64_t i) {
        return static_cast<T>(static_cast<ComputeOf<From>>(element_at<From>(from, i)));
    };
    typename E::Bits most = 0;
    const auto write_all = [&](std::int64_t distance) {
        for (std::int64_t i = 0; i < count; ++i) {
            const T number = convert(i);
            most = std::max(most, E::of(number));
            to[i * distance] = number;
        }
    };
    if (step == 1)
        write_all(1);  // by vectors
    else
        write_all(step);
    if (most != E::greatest) return -1;
    for (std::int64_t i = 0;; ++i)
        if (E::of(convert(i)) == E::greatest) return i;
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
