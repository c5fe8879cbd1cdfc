#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <tenon/core/packet.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/attention/forward.hpp>
#include <tenon/op/attention/key_range.hpp>
#include <tenon/op/attention/score.hpp>
#include <tenon/op/attention/shape.hpp>
#include <tenon/op/matmul/packed.hpp>

namespace tenon::detail {

/// What attention reads and writes in the backward direction.
template <class T>
struct AttentionBackward {
    kernel::AttentionShape shape;
    AttentionOptions options;
    kernel::AttentionOperand<const T> queries, keys, values;
    kernel::AttentionMasks masks;
    kernel::AttentionOperand<const T> out;
    const T* log_sum_exp;
    kernel::AttentionOperand<const T> grad_out;
    kernel::AttentionOperand<T> grad_queries, grad_keys, grad_values;
};

/// Packs the rows of an operand, tile by tile, as right factors whose columns are its times.
template <class T>
T* pack_times(const T* from, std::int64_t time_stride, std::int64_t times, std::int64_t width, int tile,
              Workspace& scratch) {
    T* packed = scratch.take<T>(round_up(times, tile) * width);
    for (std::int64_t t = 0; t < times; t += tile) {
        pack_columns<T>(std::min<std::int64_t>(tile, times - t), width,
                        {from + t * time_stride, 1, time_stride}, packed + t * width);
    }
    return packed;
}

/// Packs the rows of an operand, tile by tile, as right factors whose columns are its width.
template <class T>
T* pack_widths(const T* from, std::int64_t time_stride, std::int64_t times, std::int64_t width, int tile,
               Workspace& scratch) {
    const std::int64_t padded = round_up(width, Packet<T>::size);
    T* packed = scratch.take<T>(times * padded);
    for (std::int64_t t = 0; t < times; t += tile) {
        pack_columns<T>(width, std::min<std::int64_t>(tile, times - t),
                        {from + t * time_stride, time_stride, 1}, packed + t * padded);
    }
    return packed;
}

/// What one query sees of a tile of keys: those of `range`, and of them, unless `allowed` is null, those
/// where it is not zero.
template <class T>
struct SeenKeys {
    KeyRange range;
    const T* allowed;
};

/// From the scaled products of one query and the gradient of its weights to its weights and the gradient of
/// its scores, both in place, for the packets of keys of [begin, end). `position` is the query's, counted
/// from the first key. `delta` is the weights' gradient averaged by the weights. With `seen`, other keys have
/// no weight.
template <class T>
void softmax_backward_row(const ScoreRule<T>& rule, T* scores, T* gradients, std::int64_t begin,
                          std::int64_t end, std::int64_t position, const SeenKeys<T>* seen, T log_sum_exp,
                          T delta) {
    using P = Packet<T>;
    const P infinity(std::numeric_limits<T>::infinity());
    const P numbers = lane_numbers<P>();
    for (std::int64_t k = begin; k < end; k += P::size) {
        const P key = numbers + P(T(k));
        const P capped = rule.capped(P::load(scores + k));
        const P gradient = rule.through_cap(P::load(gradients + k) - P(delta), capped);
        P score = rule.biased(capped, P(T(position)) - key);
        if (seen != nullptr) {
            score = select(key < P(T(seen->range.begin)), -infinity, score);
            score = select(key < P(T(seen->range.end)), score, -infinity);
            if (seen->allowed != nullptr)
                score = select(P::load(seen->allowed + k) == P(T(0)), -infinity, score);
        }
        const P weight = exp(score - P(log_sum_exp));
        weight.store(scores + k);
        (weight * gradient).store(gradients + k);
    }
}

/// All gradients of one key and value head, and of the query heads that read it. One thread computes them in
/// a set order, so that they do not depend on the number of threads.
template <class T>
void attention_backward_group(const AttentionBackward<T>& call, std::int64_t batch,
                              std::int64_t key_value_head) {
    using P = Packet<T>;
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t key_width = shape.key_width, value_width = shape.value_width;
    const std::int64_t padded_key_width = round_up(key_width, Packet<T>::size);
    const std::int64_t times = shape.query_length, key_times = shape.key_length;

    Workspace scratch;
    const T *keys = call.keys.at(batch, 0, key_value_head),
            *values = call.values.at(batch, 0, key_value_head);
    const T* keys_as_columns =
        pack_times(keys, call.keys.time_stride, key_times, key_width, key_tile, scratch);
    const T* keys_as_rows = pack_widths(keys, call.keys.time_stride, key_times, key_width, key_tile, scratch);
    const T* values_as_columns =
        pack_times(values, call.values.time_stride, key_times, value_width, key_tile, scratch);
    T* scores = scratch.take<T>(query_tile * key_tile);
    T* gradients = scratch.take<T>(query_tile * key_tile);
    T* packed_gradients = scratch.take<T>(packed_rows_size<T>(query_tile, key_tile));
    T* left_queries = scratch.take<T>(packed_rows_size<T>(query_tile, key_width));
    T* left_grad_out = scratch.take<T>(packed_rows_size<T>(query_tile, value_width));
    T* allowed = call.masks.allowed ? scratch.take<T>(query_tile * key_tile) : nullptr;

    for (std::int64_t head = key_value_head * shape.group(); head < (key_value_head + 1) * shape.group();
         ++head) {
        const ScoreRule<T> rule(shape, call.options, head);
        const Update<T> add{T(1), true}, add_scaled{rule.scale, true};
        for (std::int64_t query = 0; query < times; query += query_tile) {
            const std::int64_t count = std::min<std::int64_t>(query_tile, times - query);
            const TileRanges<query_tile> ranges(shape, call.options, call.masks, batch, query, count);
            if (ranges.any.begin == ranges.any.end) continue;
            const T *queries = call.queries.at(batch, query, head),
                    *grad_out = call.grad_out.at(batch, query, head);
            Workspace tile_scratch;
            pack_rows<T>(count, key_width, {queries, call.queries.time_stride, 1}, left_queries);
            pack_rows<T>(count, value_width, {grad_out, call.grad_out.time_stride, 1}, left_grad_out);
            const T* right_queries =
                pack_widths(queries, call.queries.time_stride, count, key_width, query_tile, tile_scratch);
            const T* right_grad_out = pack_widths(grad_out, call.grad_out.time_stride, count, value_width,
                                                  query_tile, tile_scratch);
            T log_sum_exp[query_tile], delta[query_tile];
            for (std::int64_t i = 0; i < count; ++i) {
                const T own = call.log_sum_exp[(batch * shape.heads + head) * times + query + i];
                // A query without keys: exp(-infinity - infinity) = 0.
                log_sum_exp[i] = own == -std::numeric_limits<T>::infinity() ? -own : own;
                const T *out = call.out.at(batch, query + i, head),
                        *grad = grad_out + i * call.grad_out.time_stride;
                delta[i] = T(0);
                for (std::int64_t j = 0; j < value_width; ++j) delta[i] += out[j] * grad[j];
            }
            for (std::int64_t k = ranges.any.begin / key_tile * key_tile; k < ranges.any.end; k += key_tile) {
                const std::int64_t length = std::min<std::int64_t>(key_tile, key_times - k);
                const ScoreTile tile{batch, head, query, count, k, length};
                const Allowed explicit_mask = allowed_in(tile, call.masks);
                if (explicit_mask == Allowed::none) continue;
                if (explicit_mask == Allowed::some) spread_allowed<T>(tile, call.masks, allowed, key_tile, 1);
                const bool cut = !ranges.cover(k, k + length);
                const RightPanels<T> key_columns{keys_as_columns + k * key_width, length, key_width};
                const RightPanels<T> value_columns{values_as_columns + k * value_width, length, value_width};
                RightPanels<T> key_rows{keys_as_rows + k * padded_key_width, key_width, length};
                RightPanels<T> query_rows{right_queries, key_width, count};
                RightPanels<T> grad_out_rows{right_grad_out, value_width, count};
                // Where ranges cut the tile, each panel of queries goes only as far as its keys do.
                KeyRange panels[query_tile / tile_rows<T>];
                const std::int64_t panel_height = cut ? tile_rows<T> : query_tile;
                for (std::int64_t i = 0; i < count; i += panel_height) {
                    const std::int64_t height = std::min(panel_height, count - i);
                    const KeyRange range = cut ? ranges.group(i, height, k, length) : KeyRange{0, length};
                    panels[i / panel_height] = range;
                    // Lanes of other keys take part in the products below, with weight zero.
                    const std::int64_t begin = range.begin / P::size * P::size,
                                       end = round_up(range.end, P::size);
                    for (std::int64_t row = i; row < i + height && cut; ++row) {
                        std::fill_n(scores + row * key_tile, key_tile, T(0));
                        std::fill_n(gradients + row * key_tile, key_tile, T(0));
                    }
                    if (range.empty()) continue;
                    multiply_packed<T>(height, begin, range.end, key_width,
                                       LeftPanels<T>::packed(left_queries, key_width).from(i), key_columns,
                                       scores + i * key_tile, key_tile, {rule.scale, false});
                    multiply_packed<T>(height, begin, range.end, value_width,
                                       LeftPanels<T>::packed(left_grad_out, value_width).from(i),
                                       value_columns, gradients + i * key_tile, key_tile, {T(1), false});
                    for (std::int64_t row = i; row < i + height; ++row) {
                        const SeenKeys<T> seen{
                            ranges.queries[row].within(k, length),
                            explicit_mask == Allowed::some ? allowed + row * key_tile : nullptr};
                        softmax_backward_row(rule, scores + row * key_tile, gradients + row * key_tile, begin,
                                             end, position_of(shape, query + row) - k,
                                             cut || explicit_mask == Allowed::some ? &seen : nullptr,
                                             log_sum_exp[row], delta[row]);
                    }
                    pack_rows<T>(height, length, {gradients + i * key_tile, key_tile, 1}, packed_gradients);
                    LeftPanels<T> left = LeftPanels<T>::packed(packed_gradients, length);
                    left.data += range.begin * left.step;
                    key_rows.first = range.begin;
                    multiply_packed<T>(height, 0, key_width, range.end - range.begin, left, key_rows,
                                       call.grad_queries.at(batch, query + i, head),
                                       call.grad_queries.time_stride, add_scaled);
                }
                // The same from the side of the keys: each panel of them takes the queries that attend to it.
                const std::int64_t key_height = cut ? tile_rows<T> : key_tile;
                for (std::int64_t j = 0; j < length; j += key_height) {
                    std::int64_t begin = 0, end = count;
                    const auto sees = [&](std::int64_t i) {
                        const KeyRange range = panels[i / panel_height];
                        return range.begin < j + key_height && j < range.end;
                    };
                    while (cut && begin < end && !sees(begin)) begin += panel_height;
                    while (cut && begin < end && !sees((end - 1)))
                        end = (end - 1) / panel_height * panel_height;
                    if (begin >= end) continue;
                    const std::int64_t height = std::min(key_height, length - j);
                    query_rows.first = grad_out_rows.first = begin;
                    multiply_packed<T>(height, 0, value_width, end - begin,
                                       LeftPanels<T>::transposed(scores + begin * key_tile + j, key_tile),
                                       grad_out_rows, call.grad_values.at(batch, k + j, key_value_head),
                                       call.grad_values.time_stride, add);
                    multiply_packed<T>(height, 0, key_width, end - begin,
                                       LeftPanels<T>::transposed(gradients + begin * key_tile + j, key_tile),
                                       query_rows, call.grad_keys.at(batch, k + j, key_value_head),
                                       call.grad_keys.time_stride, add_scaled);
                }
            }
        }
    }
}

}  // namespace tenon::detail
