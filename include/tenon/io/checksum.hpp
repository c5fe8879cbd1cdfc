#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace tenon {

/// 64 bits that tell whether bytes have changed by accident, not whether somebody changed them. Words of
/// eight bytes are mixed in by a multiplication and a rotation, in four lanes so that it keeps up with a
/// disk.
inline std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t start = 0) {
    constexpr std::uint64_t odd = 0x9E3779B97F4A7C15u;  // 2^64 over the golden ratio
    const auto mix = [](std::uint64_t sum, std::uint64_t word) {
        sum = (sum ^ word) * odd;
        return sum << 29 | sum >> 35;
    };
    std::uint64_t lane[4] = {start, start + 1, start + 2, start + 3};
    std::size_t at = 0;
    for (; at + 32 <= bytes.size(); at += 32) {
        std::uint64_t words[4];
        std::memcpy(words, bytes.data() + at, 32);
        for (int i = 0; i < 4; ++i) lane[i] = mix(lane[i], words[i]);
    }
    std::uint64_t sum = bytes.size();
    for (; at < bytes.size(); ++at) sum = mix(sum, static_cast<std::uint64_t>(bytes[at]));
    for (const std::uint64_t part : lane) sum = mix(sum, part);
    return sum ^ sum >> 32;
}

}  // namespace tenon
