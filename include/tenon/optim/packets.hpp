#pragma once

#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>

namespace tenon::detail {

/// Calls body(at, lanes) for the packets of the elements from `first` to `last`: `lanes` of them from `at`
/// on.
template <class C, class Body>
void for_each_packet_within(std::int64_t first, std::int64_t last, const Body& body) {
    constexpr int size = Packet<C>::size;
    for (; first + size <= last; first += size) body(first, size);
    if (first < last) body(first, static_cast<int>(last - first));
}

/// The same for `count` elements, which the threads share out. Where the packets begin may depend on the
/// number of threads: for what is computed of each element alone, and with `fma` wherever the compiler would
/// have a choice of what to contract, since it may choose otherwise for a last packet.
template <class C, class Body>
void for_each_packet(std::int64_t count, const Body& body) {
    parallel_for(count, 32768, [&](std::int64_t first, std::int64_t last) {
        for_each_packet_within<C>(first, last, body);
    });
}

}  // namespace tenon::detail
