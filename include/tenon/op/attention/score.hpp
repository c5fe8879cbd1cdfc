#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <tenon/core/packet.hpp>
#include <tenon/op/attention/alibi.hpp>
#include <tenon/op/attention/options.hpp>
#include <tenon/op/attention/shape.hpp>

namespace tenon::detail {

/// 0, 1, … in the lanes of a packet.
template <class P>
P lane_numbers() {
    typename P::Scalar numbers[P::size];
    for (int lane = 0; lane < P::size; ++lane) numbers[lane] = static_cast<typename P::Scalar>(lane);
    return P::load(numbers);
}

/// What makes a head's scores of the products of its queries and keys: scaled, then capped, then biased by
/// the distance.
template <class T>
struct ScoreRule {
    T scale;
    T soft_cap;  // 0: none
    T slope;     // ALiBi's; 0: none

    ScoreRule(const kernel::AttentionShape& shape, const AttentionOptions& options, std::int64_t head)
        : scale(options.scale != 0 ? T(options.scale) : T(1) / std::sqrt(T(shape.key_width))),
          soft_cap(T(options.soft_cap)),
          slope(options.alibi ? T(alibi_slope(head, shape.heads)) : T(0)) {}

    using P = Packet<T>;

    P capped(P scaled) const {
        return soft_cap > T(0) ? P(soft_cap) * tanh(scaled * P(T(1) / soft_cap)) : scaled;
    }
    /// The gradient of a scaled product, from that of the capped one.
    P through_cap(P gradient, P capped) const {
        if (!(soft_cap > T(0))) return gradient;
        const P part = capped * P(T(1) / soft_cap);
        return gradient * (P(T(1)) - part * part);
    }
    P biased(P capped, P distance) const {
        return slope != T(0) ? fma(P(-slope), abs(distance), capped) : capped;
    }

    /// Whether scores are scaled products and no more.
    bool is_plain() const { return !(soft_cap > T(0)) && slope == T(0); }
};

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
