#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/random_blocks.hpp>
#include <tenon/op/dropout/dropout.hpp>

namespace tenon {

template <>
struct Kernel<Dropout, Cpu> {
    /// to (+)= from, elements dropped or scaled. A NaN or an infinity that is dropped becomes NaN, not zero.
    template <class T, class To>
    static void run(const T* from, std::int64_t count, const Dropout& options, const Contribution<To>& to) {
        using C = ComputeOf<T>;
        using V = Packet<C>;
        constexpr int chunk = 4 * kernel::philox_blocks;
        const std::uint32_t threshold = options.threshold();
        const std::uint64_t stream = options.stream_now();
        const C scale = static_cast<C>(1 / (1 - options.probability));
        parallel_for((count + chunk - 1) / chunk, 64, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t index = first; index < last; ++index) {
                std::uint32_t words[chunk];
                kernel::philox_words(options.seed, stream,
                                     static_cast<std::uint64_t>(index) * kernel::philox_blocks, words);
                C factor[chunk];
                for (int i = 0; i < chunk; ++i)  // without a branch, which could not be foreseen
                    factor[i] = static_cast<C>(static_cast<int>(words[i] >= threshold)) * scale;
                const T* source = from + index * chunk;
                To* target = to.data + index * chunk;
                const int here = static_cast<int>(std::min<std::int64_t>(chunk, count - index * chunk));
                int at = 0;
                for (; at + V::size <= here; at += V::size) {
                    const V value = load_as<V>(source + at) * V::load(factor + at);
                    store_as(to.accumulate ? load_as<V>(target + at) + value : value, target + at);
                }
                for (; at < here; ++at) {
                    const C value = load_as<C>(source + at) * factor[at];
                    store_as(to.accumulate ? load_as<C>(target + at) + value : value, target + at);
                }
            }
        });
    }
};

}  // namespace tenon
