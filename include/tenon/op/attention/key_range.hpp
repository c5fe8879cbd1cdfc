#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/host_device.hpp>
#include <tenon/op/attention/options.hpp>
#include <tenon/op/attention/shape.hpp>

namespace tenon::detail {

/// The keys that a query may attend to: [begin, end). All masks but the explicit one come down to such
/// ranges.
struct KeyRange {
    std::int64_t begin, end;

    TENON_HOST_DEVICE bool empty() const { return begin >= end; }

    /// The least range that holds both.
    KeyRange hull(KeyRange other) const {
        if (empty()) return other;
        if (other.empty()) return *this;
        return {std::min(begin, other.begin), std::max(end, other.end)};
    }

    KeyRange intersection(KeyRange other) const {
        return {std::max(begin, other.begin), std::min(end, other.end)};
    }

    /// What lies within [first, first + count), counted from `first`.
    KeyRange within(std::int64_t first, std::int64_t count) const {
        return {std::clamp<std::int64_t>(begin - first, 0, count),
                std::clamp<std::int64_t>(end - first, 0, count)};
    }
};

/// Where a query lies among the keys; negative if there are more queries than keys.
TENON_HOST_DEVICE inline std::int64_t position_of(const kernel::AttentionShape& shape, std::int64_t query) {
    return shape.key_length - shape.query_length + query;
}

TENON_HOST_DEVICE inline KeyRange key_range(const kernel::AttentionShape& shape,
                                            const AttentionOptions& options,
                                            const kernel::AttentionMasks& masks, std::int64_t batch,
                                            std::int64_t query) {
    const std::int64_t position = position_of(shape, query);
    KeyRange range{0, shape.key_length};
    if (options.causal || options.window > 0) range.end = position + 1;
    if (options.window > 0 && position >= options.window) range.begin = position + 1 - options.window;
    if (masks.key_length != nullptr && masks.key_length[batch] < range.end)
        range.end = masks.key_length[batch];
    if (masks.document_start != nullptr) {
        if (position < 0) return {0, 0};
        const int start = masks.document_start[batch * shape.key_length + position];
        if (range.begin < start) range.begin = start;
    }
    return range.empty() ? KeyRange{0, 0} : range;
}

/// The key ranges of the queries of a tile: one by one, of any query, and what all have in common.
template <int size>
struct TileRanges {
    KeyRange queries[size] = {};
    KeyRange any{0, 0}, all{0, 0};

    TileRanges(const kernel::AttentionShape& shape, const AttentionOptions& options,
               const kernel::AttentionMasks& masks, std::int64_t batch, std::int64_t first,
               std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i) {
            const KeyRange range = key_range(shape, options, masks, batch, first + i);
            queries[i] = range;
            any = any.hull(range);
            all = i == 0 ? range : all.intersection(range);
        }
    }

    /// Whether every query attends to all of the keys [begin, end).
    bool cover(std::int64_t begin, std::int64_t end) const { return all.begin <= begin && end <= all.end; }

    /// The keys, counted from `key`, that some query of [first, first + count) attends to.
    KeyRange group(std::int64_t first, std::int64_t count, std::int64_t key, std::int64_t keys) const {
        KeyRange range{0, 0};
        for (std::int64_t i = first; i < first + count; ++i) range = range.hull(queries[i]);
        return range.within(key, keys);
    }
};

}  // namespace tenon::detail
