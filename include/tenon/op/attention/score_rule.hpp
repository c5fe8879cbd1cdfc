#pragma once

#include <cmath>
#include <cstdint>

#include <tenon/core/host_device.hpp>
#include <tenon/core/math.hpp>
#include <tenon/op/attention/alibi.hpp>
#include <tenon/op/attention/options.hpp>
#include <tenon/op/attention/shape.hpp>

namespace tenon::detail {

/// What makes a head's scores of the products of its queries and keys: scaled, then capped, then biased by
/// the distance. V: a number of type T, or a packet of them.
template <class T>
struct ScoreRule {
    T scale;
    T soft_cap;  // 0: none
    T slope;     // ALiBi's; 0: none

    TENON_HOST_DEVICE ScoreRule(const kernel::AttentionShape& shape, const AttentionOptions& options,
                                std::int64_t head)
        : scale(options.scale != 0 ? T(options.scale) : T(1) / std::sqrt(T(shape.key_width))),
          soft_cap(T(options.soft_cap)),
          slope(options.alibi ? T(alibi_slope(head, shape.heads)) : T(0)) {}

    template <class V>
    TENON_HOST_DEVICE V capped(V scaled) const {
        return soft_cap > T(0) ? V(soft_cap) * tanh(scaled * V(T(1) / soft_cap)) : scaled;
    }
    /// The gradient of a scaled product, from that of the capped one.
    template <class V>
    TENON_HOST_DEVICE V through_cap(V gradient, V capped) const {
        if (!(soft_cap > T(0))) return gradient;
        const V part = capped * V(T(1) / soft_cap);
        return gradient * (V(T(1)) - part * part);
    }
    template <class V>
    TENON_HOST_DEVICE V biased(V capped, V distance) const {
        return slope != T(0) ? fma(V(-slope), abs(distance), capped) : capped;
    }

    /// Whether scores are scaled products and no more.
    TENON_HOST_DEVICE bool is_plain() const { return !(soft_cap > T(0)) && slope == T(0); }
};

}  // namespace tenon::detail
