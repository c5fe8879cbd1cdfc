#pragma once

#include <cstdint>
#include <limits>

#include <tenon/core/packet.hpp>

namespace tenon::kernel {

/// The greatest of a row; -infinity of none, NaN if one is.
template <class C>
C row_maximum(const C* row, std::int64_t count) {
    using V = Packet<C>;
    const V none(-std::numeric_limits<C>::infinity());
    V even = none, odd = none;  // two, so that one need not wait for the other
    std::int64_t at = 0;
    for (; at + 2 * V::size <= count; at += 2 * V::size) {
        even = max(even, V::load(row + at));
        odd = max(odd, V::load(row + at + V::size));
    }
    C greatest = max(even, odd).max();
    for (; at < count; ++at) greatest = max(greatest, row[at]);
    return greatest;
}

/// The sum of exp(row[i] - shift). With `writes` these go to out, which may be the row itself.
template <bool writes, class C>
C row_exponentials(const C* row, std::int64_t count, C shift, C* out) {
    using V = Packet<C>;
    V sum(C(0));
    std::int64_t at = 0;
    for (; at + V::size <= count; at += V::size) {
        const V value = exp(V::load(row + at) - V(shift));
        if constexpr (writes) value.store(out + at);
        sum += value;
    }
    C total = sum.sum();
    if (const int rest = static_cast<int>(count - at); rest > 0) {
        const V value = exp(V::load_partial(row + at, rest) - V(shift));
        if constexpr (writes) value.store_partial(out + at, rest);
        C lanes[V::size];
        value.store(lanes);
        for (int lane = 0; lane < rest; ++lane) total += lanes[lane];
    }
    return total;
}

}  // namespace tenon::kernel
