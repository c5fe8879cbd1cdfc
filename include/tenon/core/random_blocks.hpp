#pragma once

#include <cstdint>

#include <tenon/core/random.hpp>

namespace tenon::kernel {

/// Blocks of random words that are computed together. So many that compilers make loops of vectors of them,
/// rather than unroll them.
inline constexpr int philox_blocks = 64;

/// The words of Philox(seed, stream) in blocks first .. first + philox_blocks - 1, in order.
[[gnu::noinline]] inline void philox_words(Seed seed, std::uint64_t stream, std::uint64_t first,
                                           std::uint32_t (&words)[4 * philox_blocks]) {
    std::uint32_t word0[philox_blocks], word1[philox_blocks], word2[philox_blocks], word3[philox_blocks];
    for (int i = 0; i < philox_blocks; ++i) {
        const std::uint64_t index = first + static_cast<std::uint64_t>(i);
        word0[i] = static_cast<std::uint32_t>(index);
        word1[i] = static_cast<std::uint32_t>(index >> 32);
        word2[i] = static_cast<std::uint32_t>(stream);
        word3[i] = static_cast<std::uint32_t>(stream >> 32);
    }
    tenon::detail::PhiloxKeys keys(seed.value);
    for (int round = 0; round < tenon::detail::philox_rounds; ++round, keys.advance())
        for (int i = 0; i < philox_blocks; ++i)
            tenon::detail::philox_round(word0[i], word1[i], word2[i], word3[i], keys);
    for (int i = 0; i < philox_blocks; ++i) {
        words[4 * i] = word0[i];
        words[4 * i + 1] = word1[i];
        words[4 * i + 2] = word2[i];
        words[4 * i + 3] = word3[i];
    }
}

}  // namespace tenon::kernel
