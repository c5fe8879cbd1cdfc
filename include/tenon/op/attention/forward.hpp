#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <tenon/core/packet.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/attention/key_range.hpp>
#include <tenon/op/attention/score.hpp>
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
    kernel::AttentionMasks masks;
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
    alignas(64) T position[query_tile];
    ScoreRule<T> rule;

    OnlineSoftmax(const ScoreRule<T>& scores, const TileRanges<query_tile>& ranges,
                  std::int64_t first_position)
        : rule(scores) {
        for (int i = 0; i < query_tile; ++i) {
            position[i] = T(first_position + i);
            maximum[i] = -std::numeric_limits<T>::infinity();
            total[i] = T(0);
            range_begin[i] = T(ranges.queries[i].begin);
            range_end[i] = T(ranges.queries[i].end);
        }
    }

    /// Turns the scaled products of one packet of queries into weights relative to the new maximum, for the
    /// keys of `range` counted from `first`, and tells by `rescale` what became of the old ones. `cut`: the
    /// queries' ranges may end among these keys. `allowed`: null, or zero where an explicit mask forbids.
    void advance(T* scores, std::int64_t query, std::int64_t first, KeyRange range, bool cut,
                 const T* allowed) {
        const P infinity(std::numeric_limits<T>::infinity());
        const P begin = P::load(range_begin + query), end = P::load(range_end + query);
        const P old = P::load(maximum + query);
        P greatest = old;
        if (!cut && allowed == nullptr && rule.is_plain()) {
            for (std::int64_t k = range.begin; k < range.end; ++k)
                greatest = max(greatest, P::load(scores + k * query_tile + query));
        } else {
            for (std::int64_t k = range.begin; k < range.end; ++k) {
                T* score = scores + k * query_tile + query;
                const P key(T(first + k));
                P value = rule.biased(rule.capped(P::load(score)), P::load(position + query) - key);
                if (cut) value = select(key < begin, -infinity, select(key < end, value, -infinity));
                if (allowed != nullptr)
                    value = select(P::load(allowed + k * query_tile + query) == P(T(0)), -infinity, value);
                value.store(score);
                greatest = max(greatest, value);
            }
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
    const ScoreRule<T> rule(shape, call.options, head);
    Workspace scratch;
    T* packed_queries = scratch.take<T>(packed_columns_size<T>(count, key_width));
    T* scores = scratch.take<T>(key_tile * query_tile);
    T* sums = scratch.take<T>(count * value_width);
    T* allowed = call.masks.allowed ? scratch.take<T>(key_tile * query_tile) : nullptr;
    pack_columns<T>(count, key_width, {call.queries.at(batch, query, head), 1, call.queries.time_stride},
                    packed_queries);
    std::fill(sums, sums + count * value_width, T(0));
    OnlineSoftmax<T> softmax(rule, ranges, position_of(shape, query));
    for (std::int64_t k = ranges.any.begin / key_tile * key_tile; k < ranges.any.end; k += key_tile) {
        const std::int64_t length = std::min<std::int64_t>(key_tile, ranges.any.end - k);
        const ScoreTile tile{batch, head, query, count, k, length};
        const Allowed explicit_mask = allowed_in(tile, call.masks);
        if (explicit_mask == Allowed::none) continue;
        if (explicit_mask == Allowed::some) spread_allowed<T>(tile, call.masks, allowed, 1, query_tile);
        const bool cut = !ranges.cover(k, k + length);
        const LeftPanels<T> keys = packed.keys_from(k);
        RightPanels<T> values = packed.values_from(k);
        const RightPanels<T> right_queries{packed_queries, count, key_width};
        // Where ranges cut the tile, each group of queries goes only as far as its keys do.
        constexpr int group = std::max(P::size, tile_rows<T>);
        for (std::int64_t q = 0; q < count; q += cut ? group : query_tile) {
            const std::int64_t group_end = std::min<std::int64_t>(count, cut ? q + group : count);
            const KeyRange range = cut ? ranges.group(q, group, k, length) : KeyRange{0, length};
            if (range.empty()) continue;
            const std::int64_t start = range.begin / tile_rows<T> * tile_rows<T>;
            multiply_packed<T>(range.end - start, q, group_end, key_width, keys.from(start), right_queries,
                               scores + start * query_tile, query_tile, {rule.scale, false});
            for (std::int64_t i = q; i < group_end; i += P::size) {
                softmax.advance(scores, i, k, range, cut, explicit_mask == Allowed::some ? allowed : nullptr);
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
        return TileRanges<query_tile>(shape, call.options, call.masks, batch, query,
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
        ranges[i] = key_range(shape, call.options, call.masks, batch, along_heads ? query : query + i);
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
                          {scores, keys, 1}, {ScoreRule<T>(shape, call.options, head).scale, false});
    T maxima[few_rows], totals[few_rows];
    for (std::int64_t i = 0; i < count; ++i) {
        T* row = scores + i * keys;
        const std::int64_t own_head = along_heads ? head + i : head,
                           own_query = along_heads ? query : query + i;
        const ScoreRule<T> rule(shape, call.options, own_head);
        const P position(T(position_of(shape, own_query) - any.begin));
        for (std::int64_t k = 0; k < keys && !rule.is_plain(); k += P::size) {
            const int lanes = static_cast<int>(std::min<std::int64_t>(P::size, keys - k));
            const P key = lane_numbers<P>() + P(T(k));
            rule.biased(rule.capped(P::load_partial(row + k, lanes)), position - key)
                .store_partial(row + k, lanes);
        }
        if (call.masks.allowed != nullptr) {
            const bool* allowed = call.masks.allowed_at(batch, own_head, own_query) + any.begin;
            for (std::int64_t k = 0; k < keys; ++k) row[k] = allowed[k] ? row[k] : -infinity;
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
