#pragma once

#include <algorithm>
#include <concepts>
#include <string>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/op/computed.hpp>
#include <tenon/op/embedding/embedding.hpp>

namespace tenon {

template <>
struct Kernel<Embedding, Cpu> {
    /// y is overwritten.
    template <class Weight, class Id, class T>
    static void forward(const Extents& table, const Weight* weight, const Id* ids, std::int64_t count, T* y) {
        const std::int64_t width = table[1];
        for (std::int64_t i = 0; i < count; ++i) {
            if (static_cast<std::uint64_t>(ids[i]) >= static_cast<std::uint64_t>(table[0]))
                throw Error("embedding: expected ids below " + std::to_string(table[0]) + ", got " +
                            std::to_string(ids[i]) + " at position " + std::to_string(i));
            const Weight* row = weight + static_cast<std::int64_t>(ids[i]) * width;
            if constexpr (std::same_as<Weight, T>)
                std::copy_n(row, width, y + i * width);
            else
                kernel::convert_row<ComputeOf<T>>(row, width, y + i * width);
        }
    }
    template <class Id, class T>
    static void forward(const Extents& table, StoredElements weight, const Id* ids, std::int64_t count,
                        T* y) {
        weight.visit([&](const auto* elements) { forward(table, elements, ids, count, y); });
    }

    /// The gradient of the table. Threads share out its columns, so each row adds up in the order of the ids.
    template <class C, class Id>
    static void backward(const Extents& table, const Id* ids, std::int64_t count, const C* upstream,
                         Contribution<C> gradient) {
        const std::int64_t width = table[1];
        if (!gradient.accumulate) std::fill_n(gradient.data, table.count(), C(0));
        parallel_for(width, std::max<std::int64_t>(16, 65536 / (count + 1)),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t i = 0; i < count; ++i) {
                             C* to = gradient.data + static_cast<std::int64_t>(ids[i]) * width;
                             const C* from = upstream + i * width;
                             for (std::int64_t at = first; at < last; ++at) to[at] += from[at];
                         }
                     });
    }
};

}  // namespace tenon
