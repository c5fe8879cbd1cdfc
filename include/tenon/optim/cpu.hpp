#pragma once

#include <algorithm>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/optim/adamw.hpp>
#include <tenon/optim/gradients.hpp>

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
                const std::int64_t end = std::min(count, (index + 1) * block);
                V sum(C(0));
                for (std::int64_t at = index * block; at < end; at += V::size) {
                    const V x = V::load_partial(data + at,
                                                static_cast<int>(std::min<std::int64_t>(V::size, end - at)));
                    sum = fma(x, x, sum);
                }
                partial[index] = static_cast<double>(sum.sum());
            }
        });
        double total = 0;
        for (std::int64_t index = 0; index < blocks; ++index) total += partial[index];
        return total;
    }

    template <class C>
    static void scale(C* data, std::int64_t count, C factor) {
        parallel_for(count, 65536, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t at = first; at < last; ++at) data[at] *= factor;
        });
    }
};

template <>
struct Kernel<AdamWUpdate, Cpu> {
    template <class C>
    static void clear(C* data, std::int64_t count) {
        std::fill_n(data, count, C(0));
    }

    template <class T, class C>
    static void run(T* parameter, const C* gradient, C* first_moment, C* second_moment, std::int64_t count,
                    const AdamWStep<C>& step) {
        using V = Packet<C>;
        parallel_for(count, 32768, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t at = first; at < last; at += V::size) {
                const int lanes = static_cast<int>(std::min<std::int64_t>(V::size, last - at));
                const V g = V::load_partial(gradient + at, lanes);
                const V m = fma(V(step.beta1), V::load_partial(first_moment + at, lanes),
                                V(step.one_minus_beta1) * g);
                const V v = fma(V(step.beta2), V::load_partial(second_moment + at, lanes),
                                V(step.one_minus_beta2) * g * g);
                const V root = fma(sqrt(v), V(step.inverse_root_correction), V(step.epsilon));
                const V p = V::load_partial(parameter + at, lanes) * V(step.keep) - V(step.rate) * m / root;
                m.store_partial(first_moment + at, lanes);
                v.store_partial(second_moment + at, lanes);
                p.store_partial(parameter + at, lanes);
            }
        });
    }
};

}  // namespace tenon
