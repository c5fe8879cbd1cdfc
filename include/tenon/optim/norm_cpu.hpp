#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/optim/gradients.hpp>
#include <tenon/optim/packets.hpp>

namespace tenon {

template <>
struct Kernel<GradientNorm, Cpu> {
    static constexpr std::int64_t block = 8192;

    /// Blocks of fixed length add up in packets, and the blocks in order.
    template <class C>
    static double sum_of_squares(const C* data, std::int64_t count) {
        using V = Packet<C>;
        const std::int64_t blocks = (count + block - 1) / block;
        Workspace workspace;
        double* partial = workspace.take<double>(static_cast<std::size_t>(blocks));
        parallel_for(blocks, 8, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t index = first; index < last; ++index) {
                V sum(C(0));
                detail::for_each_packet_within<C>(index * block, std::min(count, (index + 1) * block),
                                                  [&](std::int64_t at, int lanes) {
                                                      const V x = V::load_partial(data + at, lanes);
                                                      sum = fma(x, x, sum);
                                                  });
                partial[index] = static_cast<double>(sum.sum());
            }
        });
        double total = 0;
        for (std::int64_t index = 0; index < blocks; ++index) total += partial[index];
        return total;
    }

    template <class C>
    static void scale(C* data, std::int64_t count, C factor) {
        using V = Packet<C>;
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            (V::load_partial(data + at, lanes) * V(factor)).store_partial(data + at, lanes);
        });
    }
};

}  // namespace tenon
