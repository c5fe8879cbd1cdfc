#pragma once

#include <cstdint>

#include <tenon/core/parallel.hpp>
#include <tenon/core/random_blocks.hpp>
#include <tenon/nn/initialize.hpp>

namespace tenon {

template <>
struct Kernel<Initialize, Cpu> {
    template <class T>
    static void run(const NormalElements& elements, T* to, std::int64_t count) {
        parallel_for(count, 4096, [&](std::int64_t first, std::int64_t last) {
            std::uint32_t words[4 * kernel::philox_blocks];
            for (std::int64_t i = first; i < last; ++i) {
                const std::int64_t block = (i - first) % kernel::philox_blocks;
                if (block == 0)
                    kernel::philox_words(elements.seed, elements.stream, static_cast<std::uint64_t>(i),
                                         words);
                to[i] = elements.of<T>(words[4 * block], words[4 * block + 1]);
            }
        });
    }
};

}  // namespace tenon
