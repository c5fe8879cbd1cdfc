#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <tenon/op/attention/options.hpp>

namespace tenon::kernel {

/// The extents of attention. The queries are the last `query_length` of the `key_length` positions. Head h
/// reads the keys and values of head h / (heads / key_value_heads).
struct AttentionShape {
    std::int64_t batch, heads, key_value_heads, query_length, key_length, key_width, value_width;

    std::int64_t group() const { return heads / key_value_heads; }
};

/// Queries, keys, values or results: vectors of contiguous numbers, one for each batch, time and head.
template <class T>
struct AttentionOperand {
    T* data;
    std::int64_t batch_stride, time_stride, head_stride;

    T* at(std::int64_t batch, std::int64_t time, std::int64_t head) const {
        return data + batch * batch_stride + time * time_stride + head * head_stride;
    }
};

}  // namespace tenon::kernel

namespace tenon::detail {

/// The keys that a query attends to: [begin, end). All kinds of masks come down to such ranges.
struct KeyRange {
    std::int64_t begin, end;

    bool empty() const { return begin >= end; }

    /// The least range that holds both.
    KeyRange hull(KeyRange other) const {
        if (empty()) return other;
        if (other.empty()) return *this;
        return {std::min(begin, other.begin), std::max(end, other.end)};
    }

    /// What lies within [first, first + count), counted from `first`.
    KeyRange within(std::int64_t first, std::int64_t count) const {
        return {std::clamp<std::int64_t>(begin - first, 0, count),
                std::clamp<std::int64_t>(end - first, 0, count)};
    }
};

inline KeyRange key_range(const kernel::AttentionShape& shape, const AttentionOptions& options,
                          const int* document_start, std::int64_t batch, std::int64_t query) {
    const std::int64_t position = shape.key_length - shape.query_length + query;
    if (position < 0) return {0, 0};
    KeyRange range{0, shape.key_length};
    if (options.causal || options.window > 0) range.end = position + 1;
    if (options.window > 0) range.begin = std::max<std::int64_t>(0, position + 1 - options.window);
    if (document_start != nullptr) {
        range.begin =
            std::max<std::int64_t>(range.begin, document_start[batch * shape.key_length + position]);
    }
    range.begin = std::min(range.begin, range.end);
    return range;
}

template <class T>
T attention_scale(const kernel::AttentionShape& shape, const AttentionOptions& options) {
    return options.scale != 0 ? T(options.scale) : T(1) / std::sqrt(T(shape.key_width));
}

/// The key ranges of the queries of a tile: one by one, of any query, and what all have in common.
template <int size>
struct TileRanges {
    KeyRange queries[size] = {};
    KeyRange any{0, 0}, all{0, 0};

    TileRanges(const kernel::AttentionShape& shape, const AttentionOptions& options,
               const int* document_start, std::int64_t batch, std::int64_t first, std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i) {
            const KeyRange range = key_range(shape, options, document_start, batch, first + i);
            queries[i] = range;
            any = any.hull(range);
            all = i == 0 ? range : KeyRange{std::max(all.begin, range.begin), std::min(all.end, range.end)};
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
