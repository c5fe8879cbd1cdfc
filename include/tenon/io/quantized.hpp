#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "tenon/core/element.hpp"

namespace tenon {

/// The types that tensors have in GGUF files, by the format's numbers: plain ones, and quantized ones, which
/// lie in blocks of 32 or 256 elements that share scales.
enum class GgmlType : std::uint32_t {
    f32 = 0,
    f16 = 1,
    q4_0 = 2,
    q4_1 = 3,
    q5_0 = 6,
    q5_1 = 7,
    q8_0 = 8,
    q4_k = 12,
    q5_k = 13,
    q6_k = 14,
    bf16 = 30,
};

namespace detail {

// How the elements of a block follow from its bytes. Products of scales and integers have at most 24
// significant bits, so that they are exact, and a result is rounded once at most: the same bits whatever a
// compiler contracts.

inline float f16_at(const std::byte* from) {
    f16 number;
    std::memcpy(&number, from, sizeof number);
    return static_cast<float>(number);
}

inline int byte_at(const std::byte* from, int index) { return std::to_integer<int>(from[index]); }

/// A block of one element.
template <class T>
struct PlainBlock {
    using Element = T;
    static constexpr int elements = 1, bytes = sizeof(T);
};
struct BlockF32 : PlainBlock<float> {
    static constexpr char name[] = "F32";
};
struct BlockF16 : PlainBlock<f16> {
    static constexpr char name[] = "F16";
};
struct BlockBF16 : PlainBlock<bf16> {
    static constexpr char name[] = "BF16";
};

/// Elements d (q - 8) of 4 bits: those of the first half of a block in the low halves of its bytes.
struct BlockQ4_0 {
    static constexpr char name[] = "Q4_0";
    static constexpr int elements = 32, bytes = 18;
    static void read(const std::byte* from, float* to) {
        const float d = f16_at(from);
        for (int i = 0; i < 16; ++i) {
            const int pair = byte_at(from + 2, i);
            to[i] = d * static_cast<float>((pair & 15) - 8);
            to[i + 16] = d * static_cast<float>((pair >> 4) - 8);
        }
    }
};

/// Elements d q + m of 4 bits.
struct BlockQ4_1 {
    static constexpr char name[] = "Q4_1";
    static constexpr int elements = 32, bytes = 20;
    static void read(const std::byte* from, float* to) {
        const float d = f16_at(from), m = f16_at(from + 2);
        for (int i = 0; i < 16; ++i) {
            const int pair = byte_at(from + 4, i);
            to[i] = d * static_cast<float>(pair & 15) + m;
            to[i + 16] = d * static_cast<float>(pair >> 4) + m;
        }
    }
};

/// The integers of a block of 5 bits, the highest of which lie apart, in one number of 32.
template <class F>
void for_each_of_5_bits(const std::byte* from, F&& f) {
    std::uint32_t high;
    std::memcpy(&high, from, sizeof high);
    for (int i = 0; i < 16; ++i) {
        const int pair = byte_at(from + 4, i);
        f(i, (pair & 15) | static_cast<int>(high >> i & 1) << 4);
        f(i + 16, (pair >> 4) | static_cast<int>(high >> (i + 16) & 1) << 4);
    }
}

/// Elements d (q - 16) of 5 bits.
struct BlockQ5_0 {
    static constexpr char name[] = "Q5_0";
    static constexpr int elements = 32, bytes = 22;
    static void read(const std::byte* from, float* to) {
        const float d = f16_at(from);
        for_each_of_5_bits(from + 2, [&](int i, int q) { to[i] = d * static_cast<float>(q - 16); });
    }
};

/// Elements d q + m of 5 bits.
struct BlockQ5_1 {
    static constexpr char name[] = "Q5_1";
    static constexpr int elements = 32, bytes = 24;
    static void read(const std::byte* from, float* to) {
        const float d = f16_at(from), m = f16_at(from + 2);
        for_each_of_5_bits(from + 4, [&](int i, int q) { to[i] = d * static_cast<float>(q) + m; });
    }
};

/// Elements d q of 8 bits.
struct BlockQ8_0 {
    static constexpr char name[] = "Q8_0";
    static constexpr int elements = 32, bytes = 34;
    static void read(const std::byte* from, float* to) {
        const float d = f16_at(from);
        for (int i = 0; i < 32; ++i)
            to[i] = d * static_cast<float>(static_cast<std::int8_t>(byte_at(from + 2, i)));
    }
};

/// The scales of a block of 256 in 8 groups of 32: a group's elements are scale q - minimum, both of which
/// are 6 bits times a number of the block's.
struct GroupScales {
    float scale[8], minimum[8];

    /// From d, dmin and 12 bytes. The first 8 bytes have the 6 bits of the first four groups, and above them
    /// the highest two of the others, whose lowest four are in the last 4 bytes.
    explicit GroupScales(const std::byte* from) {
        const float d = f16_at(from), dmin = f16_at(from + 2);
        const std::byte* const packed = from + 4;
        for (int i = 0; i < 4; ++i) {
            const int s = byte_at(packed, i), m = byte_at(packed, i + 4), low = byte_at(packed, i + 8);
            scale[i] = d * static_cast<float>(s & 63);
            minimum[i] = dmin * static_cast<float>(m & 63);
            scale[i + 4] = d * static_cast<float>((low & 15) | s >> 6 << 4);
            minimum[i + 4] = dmin * static_cast<float>(low >> 4 | m >> 6 << 4);
        }
    }
};

/// Elements of 4 bits in groups. Two groups share 32 bytes: one has the low halves, the next the high ones.
struct BlockQ4_K {
    static constexpr char name[] = "Q4_K";
    static constexpr int elements = 256, bytes = 144;
    static void read(const std::byte* from, float* to) {
        const GroupScales groups(from);
        for (int group = 0; group < 8; ++group) {
            const std::byte* const pairs = from + 16 + group / 2 * 32;
            const int shift = group % 2 * 4;
            const float scale = groups.scale[group], minimum = groups.minimum[group];
            for (int i = 0; i < 32; ++i)
                to[group * 32 + i] = scale * static_cast<float>(byte_at(pairs, i) >> shift & 15) - minimum;
        }
    }
};

/// The same of 5 bits. The highest lie apart: bit g of 32 bytes is that of the elements of group g.
struct BlockQ5_K {
    static constexpr char name[] = "Q5_K";
    static constexpr int elements = 256, bytes = 176;
    static void read(const std::byte* from, float* to) {
        const GroupScales groups(from);
        const std::byte* const high = from + 16;
        for (int group = 0; group < 8; ++group) {
            const std::byte* const pairs = from + 48 + group / 2 * 32;
            const int shift = group % 2 * 4;
            const float scale = groups.scale[group], minimum = groups.minimum[group];
            for (int i = 0; i < 32; ++i) {
                const int q = (byte_at(pairs, i) >> shift & 15) | (byte_at(high, i) >> group & 1) << 4;
                to[group * 32 + i] = scale * static_cast<float>(q) - minimum;
            }
        }
    }
};

/// Elements d s (q - 32) of 6 bits, in groups of 16 that have an s of 8 bits each. In each half of 128
/// elements, four quarters of 32 share 64 bytes of the lowest four bits and 32 bytes of the highest two.
struct BlockQ6_K {
    static constexpr char name[] = "Q6_K";
    static constexpr int elements = 256, bytes = 210;
    static void read(const std::byte* from, float* to) {
        const float d = f16_at(from + 208);
        for (int half = 0; half < 2; ++half) {
            for (int quarter = 0; quarter < 4; ++quarter) {
                const std::byte* const low = from + half * 64 + quarter % 2 * 32;
                const std::byte* const high = from + 128 + half * 32;
                const std::byte* const s = from + 192 + half * 8 + quarter * 2;
                const int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
                const float scales[] = {d * static_cast<float>(static_cast<std::int8_t>(byte_at(s, 0))),
                                        d * static_cast<float>(static_cast<std::int8_t>(byte_at(s, 1)))};
                float* const elements_of_quarter = to + half * 128 + quarter * 32;
                for (int i = 0; i < 32; ++i) {
                    const int q = (byte_at(low, i) >> low_shift & 15) | (byte_at(high, i) >> high_shift & 3)
                                                                            << 4;
                    elements_of_quarter[i] = scales[i / 16] * static_cast<float>(q - 32);
                }
            }
        }
    }
};

/// Returns f(Block()) for the block of a type: plain ones have the elements' type, `Element`; the others
/// `read` theirs.
template <class F>
constexpr auto visit_block(GgmlType type, F&& f) {
    switch (type) {
        case GgmlType::f16:
            return f(BlockF16());
        case GgmlType::bf16:
            return f(BlockBF16());
        case GgmlType::q4_0:
            return f(BlockQ4_0());
        case GgmlType::q4_1:
            return f(BlockQ4_1());
        case GgmlType::q5_0:
            return f(BlockQ5_0());
        case GgmlType::q5_1:
            return f(BlockQ5_1());
        case GgmlType::q8_0:
            return f(BlockQ8_0());
        case GgmlType::q4_k:
            return f(BlockQ4_K());
        case GgmlType::q5_k:
            return f(BlockQ5_K());
        case GgmlType::q6_k:
            return f(BlockQ6_K());
        case GgmlType::f32:
            break;
    }
    return f(BlockF32());
}

}  // namespace detail

/// The type of a number in a GGUF file, if it is one that can be read.
constexpr std::optional<GgmlType> ggml_type(std::uint32_t number) {
    for (const GgmlType type :
         {GgmlType::f32, GgmlType::f16, GgmlType::q4_0, GgmlType::q4_1, GgmlType::q5_0, GgmlType::q5_1,
          GgmlType::q8_0, GgmlType::q4_k, GgmlType::q5_k, GgmlType::q6_k, GgmlType::bf16})
        if (static_cast<std::uint32_t>(type) == number) return type;
    return std::nullopt;
}

/// The name of a type as GGML spells it.
constexpr std::string_view name_of(GgmlType type) {
    return detail::visit_block(type, [](auto block) { return std::string_view(block.name); });
}

/// The elements of a block: 1 for plain types.
constexpr int elements_of_block(GgmlType type) {
    return detail::visit_block(type, [](auto block) { return block.elements; });
}

/// The bytes of a block.
constexpr int bytes_of_block(GgmlType type) {
    return detail::visit_block(type, [](auto block) { return block.bytes; });
}

}  // namespace tenon
