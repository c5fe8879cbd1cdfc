#pragma once

#include <cmath>
#include <cstdint>

#include <tenon/core/host_device.hpp>

namespace tenon {

/// How much the scores of a head fall for each position between query and key: score - slope * |query - key|
/// (Press et al. 2022, "Train Short, Test Long", "ALiBi"). For n heads, n a power of two, the slopes are
/// 2^(-8 (head + 1) / n). Otherwise the first heads have those of the power below, and the others every
/// second one of the power above, as in the authors' implementation.
TENON_HOST_DEVICE inline double alibi_slope(std::int64_t head, std::int64_t heads) {
    std::int64_t power = 1;
    while (2 * power <= heads) power *= 2;
    const std::int64_t step = head < power ? 2 * (head + 1) : 2 * (head - power) + 1;
    return std::exp2(-4.0 * static_cast<double>(step) / static_cast<double>(power));
}

}  // namespace tenon
