#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <tenon/core/packet.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/attention/shape.hpp>
#include <tenon/op/matmul/few_rows.hpp>
#include <tenon/op/matmul/packed.hpp>
#include <tenon/op/softmax/row_cpu.hpp>

namespace tenon::detail {

inline constexpr int query_tile = 64;
inline constexpr int key_tile = 64;

/// What attention reads and writes in the forward direction.
template <class T>
struct AttentionForward {
    kernel::AttentionShape shape;
    AttentionOptions options;
    kernel::AttentionOperand<const T> queries, keys, values;
    const int* document_start;
    kernel::AttentionOperand<T> out;
    T* log_sum_exp;

    void write_log_sum_exp(std::int64_t batch, std::int64_t head, std::int64_t query, T maximum,
                           T total) const {
        if (log_sum_exp == nullptr) return;
        log_sum_exp[(batch * shape.heads + head) * shape.query_length + query] =
            total == T(0) ? -std::numeric_limits<T>::infinity() : maximum + std::log(total);
    }
};

/// The running softmax of a tile of queries (Milakov and Gimelshein, "Online normalizer calculation for
/// softmax", 2018). Scores lie with the keys as rows, so that each lane is a query and no packet needs
/// summing across.
template <class T>
struct OnlineSoftmax {
    using P = Packet<T>;
    alignas(64) T maximum[query_tile];
    alignas(64) T total[query_tile];
    alignas(64) T rescale[query_tile];
    alignas(64) T range_begin[query_tile];
    alignas(64) T range_end[query_tile];

    explicit OnlineSoftmax(const TileRanges<query_tile>& ranges) {
        for (int i = 0; i < query_tile; ++i) {
            maximum[i] = -std::numeric_limits<T>::infinity();
            total[i] = T(0);
            range_begin[i] = T(ranges.queries[i].begin);
            range_end[i] = T(ranges.queries[i].end);
        }
    }

    /// Turns the scores of one packet of queries into weights relative to the new maximum, for the keys of
    /// `range` counted from `first`, and tells by `rescale` what became of the old ones.
    void advance(T* scores, std::int64_t query, std::int64_t first, KeyRange range, bool masked, T soft_cap) {
        const P infinity(std::numeric_limits<T>::infinity());
        const P begin = P::load(range_begin + query), end = P::load(range_end + query);
        const P old = P::load(maximum + query);
        P greatest = old;
        for (std::int64_t k = range.begin; k < range.end; ++k) {
            T* score = scores + k * query_tile + query;
            P value = P::load(score);
            if (soft_cap > T(0)) value = P(soft_cap) * tanh(value * P(T(1) / soft_cap));
            if (masked) {
                const P key(T(first + k));
                value = select(key < begin, -infinity, select(key < end, value, -infinity));
            }
            if (masked || soft_cap > T(0)) value.store(score);
            greatest = max(greatest, value);
        }
        // A query that has met no key yet must not subtract infinity from itself.
        const P shift = select(greatest == -infinity, P(T(0)), greatest);
        P sum(T(0));
        for (std::int64_t k = range.begin; k < range.end; ++k) {
            T* score = scores + k * query_tile + query;
            const P weight = exp(P::load(score) - shift);
            weight.store(score);
            sum += weight;
        }
        const P factor = exp(old - shift);
        factor.store(rescale + query);
        fma(P::load(total + query), factor, sum).store(total + query);
        greatest.store(maximum + query);
    }
};

/// Keys and values of one head in panels, for the tiles of keys that some query attends to.
template <class T>
struct PackedKeysValues {
    std::int64_t first, count, key_width, value_width, packed_width;
    T *keys, *values;

    PackedKeysValues(const AttentionForward<T>& call, std::int64_t batch, std::int64_t head, KeyRange range,
                     Workspace& scratch) {
        const kernel::AttentionShape& shape = call.shape;
        first = range.begin / key_tile * key_tile;
        key_width = shape.key_width;
        value_width = shape.value_width;
        packed_width = round_up(shape.value_width, Packet<T>::size);
        count = std::max<std::int64_t>(range.end - first, 0);
        keys = scratch.take<T>(packed_rows_size<T>(count, shape.key_width));
        values = scratch.take<T>(count * packed_width);
        if (count == 0) return;
        pack_rows<T>(count, shape.key_width, {call.keys.at(batch, first, head), call.keys.time_stride, 1},
                     keys);
        for (std::int64_t k = 0; k < count; k += key_tile) {
            pack_columns<T>(shape.value_width, std::min<std::int64_t>(key_tile, count - k),
                            {call.values.at(batch, first + k, head), call.values.time_stride, 1},
                            values + k * packed_width);
        }
    }

    /// The tile of keys from `key` on.
    LeftPanels<T> keys_from(std::int64_t key) const {
        return LeftPanels<T>::packed(keys + (key - first) * key_width, key_width);
    }
    RightPanels<T> values_from(std::int64_t key) const {
        return {values + (key - first) * packed_width, value_width,
                std::min<std::int64_t>(key_tile, count - (key - first))};
    }
};

/// One tile of queries of one head against all its keys.
template <class T>
void attention_tile(const AttentionForward<T>& call, std::int64_t batch, std::int64_t head,
                    std::int64_t query, std::int64_t count, const TileRanges<query_tile>& ranges,
                    const PackedKeysValues<T>& packed) {
    using P = Packet<T>;
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t key_width = shape.key_width, value_width = shape.value_width;
    const T scale = attention_scale<T>(shape, call.options);
    Workspace scratch;
    T* packed_queries = scratch.take<T>(packed_columns_size<T>(count, key_width));
    T* scores = scratch.take<T>(key_tile * query_tile);
    T* sums = scratch.take<T>(count * value_width);
    pack_columns<T>(count, key_width, {call.queries.at(batch, query, head), 1, call.queries.time_stride},
                    packed_queries);
    std::fill(sums, sums + count * value_width, T(0));
    OnlineSoftmax<T> softmax(ranges);
    for (std::int64_t k = ranges.any.begin / key_tile * key_tile; k < ranges.any.end; k += key_tile) {
        const std::int64_t length = std::min<std::int64_t>(key_tile, ranges.any.end - k);
        const bool masked = !ranges.cover(k, k + length);
        const LeftPanels<T> keys = packed.keys_from(k);
        RightPanels<T> values = packed.values_from(k);
        const RightPanels<T> right_queries{packed_queries, count, key_width};
        // Where a mask cuts the tile, each group of queries goes only as far as its keys do.
        constexpr int group = std::max(P::size, tile_rows<T>);
        for (std::int64_t q = 0; q < count; q += masked ? group : query_tile) {
            const std::int64_t group_end = std::min<std::int64_t>(count, masked ? q + group : count);
            const KeyRange range = masked ? ranges.group(q, group, k, length) : KeyRange{0, length};
            if (range.empty()) continue;
            const std::int64_t start = range.begin / tile_rows<T> * tile_rows<T>;
            multiply_packed<T>(range.end - start, q, group_end, key_width, keys.from(start), right_queries,
                               scores + start * query_tile, query_tile, {scale, false});
            for (std::int64_t i = q; i < group_end; i += P::size) {
                softmax.advance(scores, i, k, range, masked, T(call.options.soft_cap));
            }
            for (std::int64_t i = q; i < group_end; ++i) {
                if (softmax.rescale[i] == T(1)) continue;
                const P factor(softmax.rescale[i]);
                T* row = sums + i * value_width;
                std::int64_t j = 0;
                for (; j + P::size <= value_width; j += P::size) (P::load(row + j) * factor).store(row + j);
                for (; j < value_width; ++j) row[j] *= softmax.rescale[i];
            }
            values.first = range.begin;
            multiply_packed<T>(group_end - q, 0, value_width, range.end - range.begin,
                               LeftPanels<T>::transposed(scores + range.begin * query_tile + q, query_tile),
                               values, sums + q * value_width, value_width, {T(1), true});
        }
    }
    for (std::int64_t i = 0; i < count; ++i) {
        T* out = call.out.at(batch, query + i, head);
        const T total = softmax.total[i];
        // Without keys zeros; the total of a NaN is none.
        for (std::int64_t j = 0; j < value_width; ++j)
            out[j] = total == T(0) ? T(0) : sums[i * value_width + j] * (T(1) / total);
        call.write_log_sum_exp(batch, head, query + i, softmax.maximum[i], total);
    }
}

/// Tiles [begin, end) of a key and value head: those of its first query head, then those of the next.
template <class T>
void attention_tiles(const AttentionForward<T>& call, std::int64_t batch, std::int64_t key_value_head,
                     std::int64_t begin, std::int64_t end) {
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t tiles = (shape.query_length + query_tile - 1) / query_tile;
    const auto ranges_of = [&](std::int64_t item) {
        const std::int64_t query = item % tiles * query_tile;
        return TileRanges<query_tile>(shape, call.options, call.document_start, batch, query,
                                      std::min<std::int64_t>(query_tile, shape.query_length - query));
    };
    KeyRange needed{0, 0};
    for (std::int64_t item = begin; item < std::min(end, begin + tiles); ++item) {
        needed = needed.hull(ranges_of(item).any);
    }
    Workspace scratch;
    const PackedKeysValues<T> packed(call, batch, key_value_head, needed, scratch);
    for (std::int64_t item = begin; item < end; ++item) {
        const std::int64_t query = item % tiles * query_tile;
        attention_tile(call, batch, key_value_head * shape.group() + item / tiles, query,
                       std::min<std::int64_t>(query_tile, shape.query_length - query), ranges_of(item),
                       packed);
    }
}

/// Few queries that read the same keys and values in place: heads of a group, or times of a head.
template <class T>
void attention_few(const AttentionForward<T>& call, std::int64_t batch, std::int64_t head, std::int64_t query,
                   std::int64_t count, bool along_heads) {
    using P = Packet<T>;
    const kernel::AttentionShape& shape = call.shape;
    const T infinity = std::numeric_limits<T>::infinity();
    const std::int64_t key_value_head = head / shape.group();
    KeyRange ranges[few_rows], any{0, 0};
    for (std::int64_t i = 0; i < count; ++i) {
        ranges[i] =
            key_range(shape, call.options, call.document_start, batch, along_heads ? query : query + i);
        any = any.hull(ranges[i]);
    }
    const std::int64_t keys = any.end - any.begin, width = shape.value_width;
    Workspace scratch;
    T* scores = scratch.take<T>(count * keys);
    T* sums = scratch.take<T>(count * width);
    const std::int64_t query_stride = along_heads ? call.queries.head_stride : call.queries.time_stride;
    few_rows_dot_range<T>(count, keys, shape.key_width,
                          {call.queries.at(batch, query, head), query_stride, 1},
                          {call.keys.at(batch, any.begin, key_value_head), 1, call.keys.time_stride},
                          {scores, keys, 1}, {attention_scale<T>(shape, call.options), false});
    T maxima[few_rows], totals[few_rows];
    for (std::int64_t i = 0; i < count; ++i) {
        T* row = scores + i * keys;
        const T soft_cap = T(call.options.soft_cap);
        for (std::int64_t k = 0; k < keys && soft_cap > T(0); k += P::size) {
            const int lanes = static_cast<int>(std::min<std::int64_t>(P::size, keys - k));
            const P score = P::load_partial(row + k, lanes);
            (P(soft_cap) * tanh(score * P(T(1) / soft_cap))).store_partial(row + k, lanes);
        }
        const KeyRange seen = ranges[i].within(any.begin, keys);
        std::fill(row, row + seen.begin, -infinity);
        std::fill(row + seen.end, row + keys, -infinity);
        maxima[i] = kernel::row_maximum(row, keys);
        totals[i] = kernel::row_exponentials<true>(row, keys, maxima[i] == -infinity ? T(0) : maxima[i], row);
    }
    std::fill(sums, sums + count * width, T(0));
    few_rows_sum_range<T>(count, width, keys, {scores, keys, 1},
                          {call.values.at(batch, any.begin, key_value_head), call.values.time_stride, 1},
                          {sums, width, 1}, {T(1), true});
    for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t own_head = along_heads ? head + i : head,
                           own_query = along_heads ? query : query + i;
        T* out = call.out.at(batch, own_query, own_head);
        for (std::int64_t j = 0; j < width; ++j)
            out[j] = totals[i] == T(0) ? T(0) : sums[i * width + j] / totals[i];
        call.write_log_sum_exp(batch, own_head, own_query, maxima[i], totals[i]);
    }
}

}  // namespace tenon::detail
