#pragma once

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/op/rotary/rotary.hpp>

namespace tenon {

template <>
struct Kernel<Rotary, Cpu> {
    /// y (+)= x turned by its positions' angles, or back. y is packed.
    template <class T, class C>
    static void run(const ArrayView<T>& x, const RotaryTable<C, Cpu>& table, const RotaryPositions& positions,
                    RotaryPairs pairs, bool back, const Contribution<T>& y) {
        if (positions.each && !back) require_in_table(x.extents, positions, table.positions());
        const int time = x.extents[1], heads = x.extents[2], width = x.extents[3], half = table.pairs();
        const std::int64_t apart = pairs == RotaryPairs::interleaved ? 1 : half;  // of a pair's two elements
        const std::int64_t next = pairs == RotaryPairs::interleaved ? 2 : 1;      // from pair to pair
        const C direction = back ? C(-1) : C(1);
        parallel_for(std::int64_t(x.extents[0]) * time, 1 + 8192 / (heads * width + 1),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t at = first; at < last; ++at) {
                             const std::int64_t b = at / time, t = at % time;
                             const C* cosine = table.cosine.data() + positions.at(b, t) * half;
                             const C* sine = table.sine.data() + positions.at(b, t) * half;
                             for (int head = 0; head < heads; ++head) {
                                 const T* from =
                                     x.data + b * x.strides[0] + t * x.strides[1] + head * x.strides[2];
                                 const std::int64_t step = x.strides[3];
                                 T* to = y.data + (at * heads + head) * width;
                                 for (int i = 0; i < half; ++i) {
                                     const C u = load_as<C>(from + i * next * step),
                                             v = load_as<C>(from + (i * next + apart) * step);
                                     const C s = direction * sine[i];
                                     C p = u * cosine[i] - v * s, q = u * s + v * cosine[i];
                                     if (y.accumulate) {
                                         p += load_as<C>(to + i * next);
                                         q += load_as<C>(to + i * next + apart);
                                     }
                                     store_as(p, to + i * next);
                                     store_as(q, to + i * next + apart);
                                 }
                                 for (int i = 2 * half; i < width; ++i) {
                                     const C kept = load_as<C>(from + i * step);
                                     store_as(y.accumulate ? load_as<C>(to + i) + kept : kept, to + i);
                                 }
                             }
                         }
                     });
    }

private:
    static void require_in_table(const Extents& x, const RotaryPositions& positions, int count) {
        for (int b = 0; b < (positions.batch_stride > 0 ? x[0] : 1); ++b)
            for (int t = 0; t < x[1]; ++t)
                if (const std::int64_t position = positions.at(b, t); position < 0 || position >= count)
                    throw Error("rotary: expected positions below " + std::to_string(count) + ", got " +
                                std::to_string(position) + " at position " +
                                std::to_string(b * positions.batch_stride + t));
    }
};

}  // namespace tenon
