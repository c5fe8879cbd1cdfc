#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include <tenon/core/packet.hpp>
#include <tenon/op/attention/score_rule.hpp>
#include <tenon/op/attention/shape.hpp>

namespace tenon::detail {

/// 0, 1, … in the lanes of a packet.
template <class P>
P lane_numbers() {
    typename P::Scalar numbers[P::size];
    for (int lane = 0; lane < P::size; ++lane) numbers[lane] = static_cast<typename P::Scalar>(lane);
    return P::load(numbers);
}

/// How many pairs of a tile an explicit mask allows.
enum class Allowed { none, some, all };

/// A tile of queries and keys, of one head.
struct ScoreTile {
    std::int64_t batch, head, query, queries, key, keys;
};

inline Allowed allowed_in(const ScoreTile& tile, const kernel::AttentionMasks& masks) {
    if (masks.allowed == nullptr) return Allowed::all;
    std::int64_t total = 0;
    for (std::int64_t i = 0; i < tile.queries; ++i) {
        const bool* row = masks.allowed_at(tile.batch, tile.head, tile.query + i) + tile.key;
        std::int64_t k = 0;
        // A bool is a byte of 0 or 1: eight at a time are as many set bits.
        for (std::uint64_t eight; k + 8 <= tile.keys; k += 8) {
            std::memcpy(&eight, row + k, sizeof(eight));
            total += std::popcount(eight);
        }
        for (; k < tile.keys; ++k) total += row[k];
    }
    return total == 0 ? Allowed::none : total == tile.queries * tile.keys ? Allowed::all : Allowed::some;
}

/// An explicit mask as numbers beside the scores: 1 for what may be attended to, 0 for the rest.
template <class T>
void spread_allowed(const ScoreTile& tile, const kernel::AttentionMasks& masks, T* to,
                    std::int64_t query_step, std::int64_t key_step) {
    for (std::int64_t i = 0; i < tile.queries; ++i) {
        const bool* row = masks.allowed_at(tile.batch, tile.head, tile.query + i) + tile.key;
        for (std::int64_t k = 0; k < tile.keys; ++k) to[i * query_step + k * key_step] = row[k] ? T(1) : T(0);
    }
}

}  // namespace tenon::detail
