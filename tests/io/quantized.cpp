#include "tenon/io/quantized.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tenon/io/read_elements.hpp"

using namespace tenon;

namespace {

/// Blocks of bytes that look random and are the same on every machine; the scales are finite.
std::vector<std::byte> random_blocks(GgmlType type, const std::vector<int>& scales, int blocks) {
    std::uint64_t state = 7;
    std::vector<std::byte> bytes;
    for (int i = 0; i < blocks * bytes_of_block(type); ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        auto byte = static_cast<std::byte>(state >> 56);
        // Without the highest bit of its exponent, in its second byte, a number of 16 bits is finite.
        if (std::count(scales.begin(), scales.end(), i % bytes_of_block(type) - 1)) byte &= std::byte{0xbf};
        bytes.push_back(byte);
    }
    return bytes;
}

GgufEntry entry_of(GgmlType type, const std::vector<std::byte>& bytes) {
    const auto blocks = static_cast<std::int64_t>(bytes.size()) / bytes_of_block(type);
    return {"w", type, {blocks * elements_of_block(type)}, bytes};
}

/// `count` elements from `first` on.
std::vector<float> read(const GgufEntry& entry, std::int64_t first, std::int64_t count) {
    std::vector<float> elements(static_cast<std::size_t>(count));
    CHECK(detail::read_elements(entry, first, count, elements.data(), 1) == -1);
    return elements;
}

/// FNV-1a of the bits of all elements.
std::uint64_t fingerprint(const std::vector<float>& elements) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const float element : elements) {
        std::uint32_t bits;
        std::memcpy(&bits, &element, sizeof bits);
        for (int i = 0; i < 4; ++i) hash = (hash ^ (bits >> 8 * i & 0xff)) * 0x100000001b3;
    }
    return hash;
}

/// A block whose scale is 2 (and whose second number, if it has one, is 1), and whose other bytes are given.
template <class Byte>
std::vector<std::byte> block_of(GgmlType type, bool has_minimum, Byte byte) {
    std::vector<std::byte> bytes{std::byte{0}, std::byte{0x40}};
    if (has_minimum) bytes.insert(bytes.end(), {std::byte{0}, std::byte{0x3c}});
    while (static_cast<int>(bytes.size()) < bytes_of_block(type))
        bytes.push_back(static_cast<std::byte>(byte(static_cast<int>(bytes.size()))));
    return bytes;
}

}  // namespace

// Expected values are those of `gguf.dequantize` 0.19.0 (PyPI), which is GGML's definition in NumPy.
TEST_CASE("every type's elements, to the last bit") {
    struct Expected {
        GgmlType type;
        std::vector<int> scales;  ///< where in a block its numbers of 16 bits are
        std::uint64_t fingerprint;
    };
    const Expected table[] = {
        {GgmlType::q4_0, {0}, 0x1c1ad7228f903183},    {GgmlType::q4_1, {0, 2}, 0x67bd5a0dd49219f6},
        {GgmlType::q5_0, {0}, 0xba2f84f263e5ad68},    {GgmlType::q5_1, {0, 2}, 0x071bbe2880a932be},
        {GgmlType::q8_0, {0}, 0x50d281b4e41173c1},    {GgmlType::q4_k, {0, 2}, 0x63433422967ba28d},
        {GgmlType::q5_k, {0, 2}, 0x9a9affb95cc1c04d}, {GgmlType::q6_k, {208}, 0x1ac1631f46ab1d66},
        {GgmlType::f16, {0}, 0x068ea78c91a7aebc},     {GgmlType::bf16, {0}, 0xfdba6f9763a4aa3a}};
    for (const Expected& expected : table) {
        CAPTURE(name_of(expected.type));
        const std::vector<std::byte> bytes = random_blocks(expected.type, expected.scales, 64);
        const GgufEntry entry = entry_of(expected.type, bytes);
        const std::vector<float> all = read(entry, 0, entry.shape[0]);
        CHECK(fingerprint(all) == expected.fingerprint);

        // Ranges that begin and end within blocks are parts of the same.
        for (const std::int64_t first : {0, 1, 31, 45})
            for (const std::int64_t count : {1, 17}) {
                const std::vector<float> part = read(entry, first, count);
                CHECK(std::equal(part.begin(), part.end(), all.begin() + first));
            }
    }
}

TEST_CASE("what the integers of a block mean") {
    const auto pair = [](int i) { return (i % 16) | (15 - i % 16) << 4; };
    const auto first_of = [&](GgmlType type, bool has_minimum, auto byte) {
        const std::vector<std::byte> bytes = block_of(type, has_minimum, byte);
        return read(entry_of(type, bytes), 0, 32);
    };
    // The second byte on is 2, 3, …: low halves 2, 3, …, high halves 13, 12, ….
    CHECK(first_of(GgmlType::q4_0, false, pair)[0] == 2.0f * (2 - 8));
    CHECK(first_of(GgmlType::q4_0, false, pair)[16] == 2.0f * (13 - 8));
    CHECK(first_of(GgmlType::q4_1, true, pair)[0] == 2.0f * 4 + 1);
    CHECK(first_of(GgmlType::q4_1, true, pair)[16] == 2.0f * 11 + 1);
    const auto lowest = [](int) { return 1; };  // of 32 bits 0, 8, 16 and 24
    CHECK(first_of(GgmlType::q5_0, false, lowest)[0] == 2.0f * (16 + 1 - 16));
    CHECK(first_of(GgmlType::q5_0, false, lowest)[1] == 2.0f * (1 - 16));
    CHECK(first_of(GgmlType::q5_1, true, lowest)[16] == 2.0f * 16 + 1);
    CHECK(first_of(GgmlType::q8_0, false, [](int i) { return -i; })[0] == 2.0f * -2);
}

TEST_CASE("elements are read as other types, apart, and what is not finite is told") {
    std::vector<std::byte> bytes = random_blocks(GgmlType::q4_1, {0, 2}, 3);
    const GgufEntry entry = entry_of(GgmlType::q4_1, bytes);
    const std::vector<float> all = read(entry, 0, 96);

    std::vector<bf16> apart(96 * 3);
    CHECK(detail::read_elements(entry, 0, 96, apart.data(), 3) == -1);
    std::vector<double> wide(96);
    CHECK(detail::read_elements(entry, 0, 96, wide.data(), 1) == -1);
    for (std::size_t i = 0; i < 96; ++i) {
        CHECK(apart[3 * i] == bf16(all[i]));
        CHECK(wide[i] == static_cast<double>(all[i]));
    }

    bytes[2 * 20 + 1] = std::byte{0x7c};  // the scale of the last block: an infinity, or no number
    std::vector<float> elements(96);
    CHECK(detail::read_elements(entry, 0, 96, elements.data(), 1) == 64);
    CHECK(detail::read_elements(entry, 40, 56, elements.data(), 1) == 24);
    CHECK(detail::read_elements(entry, 0, 64, elements.data(), 1) == -1);
}

TEST_CASE("types by their numbers") {
    CHECK(ggml_type(12) == GgmlType::q4_k);
    CHECK(name_of(GgmlType::q4_k) == "Q4_K");
    CHECK(elements_of_block(GgmlType::q6_k) == 256);
    CHECK(bytes_of_block(GgmlType::q6_k) == 210);
    CHECK(elements_of_block(GgmlType::bf16) == 1);
    for (const std::uint32_t number : {4u, 5u, 9u, 10u, 11u, 15u, 24u, 28u, 31u, 0xffffffffu})
        CHECK_FALSE(ggml_type(number));
}
