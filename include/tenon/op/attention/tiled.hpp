#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/parallel.hpp>
#include <tenon/op/attention/backward.hpp>
#include <tenon/op/attention/forward.hpp>
#include <tenon/op/attention/options.hpp>
#include <tenon/op/attention/shape.hpp>

namespace tenon::kernel {

/// Attention in tiles: out = softmax(scale * queries keys^T) values for each head, without ever holding all
/// scores (Dao et al., "FlashAttention", 2022; Dao, "FlashAttention-2", 2023).
///
/// A query that may attend to no key yields zeros. `log_sum_exp`, if not null, receives [batch, heads,
/// query_length] numbers for the backward direction.
template <class T>
void attention_forward(const AttentionShape& shape, const AttentionOptions& options,
                       AttentionOperand<const T> queries, AttentionOperand<const T> keys,
                       AttentionOperand<const T> values, const AttentionMasks& masks, AttentionOperand<T> out,
                       T* log_sum_exp) {
    if (shape.batch == 0 || shape.heads == 0 || shape.query_length == 0) return;
    const detail::AttentionForward<T> call{shape, options, queries, keys, values, masks, out, log_sum_exp};
    const std::int64_t group = shape.group();
    if (shape.query_length == 1) {
        // Generation: the heads of a group share one reading of the keys and values.
        const std::int64_t parts = (group + detail::few_rows - 1) / detail::few_rows;
        parallel_for_each(shape.batch * shape.key_value_heads * parts, [&](std::int64_t task) {
            const std::int64_t part = task % parts, key_value_head = task / parts % shape.key_value_heads;
            const std::int64_t head = key_value_head * group + part * detail::few_rows;
            detail::attention_few(call, task / parts / shape.key_value_heads, head, 0,
                                  std::min(detail::few_rows, group - part * detail::few_rows), true);
        });
    } else if (shape.query_length <= 4) {
        parallel_for_each(shape.batch * shape.heads, [&](std::int64_t task) {
            detail::attention_few(call, task / shape.heads, task % shape.heads, 0, shape.query_length, false);
        });
    } else {
        // The tiles of a key and value head are one task, or several where that leaves threads without work.
        const std::int64_t tiles = (shape.query_length + detail::query_tile - 1) / detail::query_tile;
        const std::int64_t items = group * tiles, groups = shape.batch * shape.key_value_heads;
        const std::int64_t parts =
            std::clamp<std::int64_t>((2 * thread_count() + groups - 1) / groups, 1, items);
        parallel_for_each(groups * parts, [&](std::int64_t task) {
            const std::int64_t part = task % parts, batch = task / parts / shape.key_value_heads;
            const std::int64_t key_value_head = task / parts % shape.key_value_heads;
            detail::attention_tiles(call, batch, key_value_head, items * part / parts,
                                    items * (part + 1) / parts);
        });
    }
}

/// A gradient that attention writes, or adds to.
template <class T>
struct AttentionGradient {
    AttentionOperand<T> operand;
    bool accumulate;
};

/// The gradients of attention from that of its result. The weights are computed again from `log_sum_exp`,
/// which the forward direction left. The result does not depend on the number of threads, to the last bit.
template <class T>
void attention_backward(const AttentionShape& shape, const AttentionOptions& options,
                        AttentionOperand<const T> queries, AttentionOperand<const T> keys,
                        AttentionOperand<const T> values, const AttentionMasks& masks,
                        AttentionOperand<const T> out, const T* log_sum_exp,
                        AttentionOperand<const T> grad_out, AttentionGradient<T> grad_queries,
                        AttentionGradient<T> grad_keys, AttentionGradient<T> grad_values) {
    const detail::AttentionBackward<T> call{shape,
                                            options,
                                            queries,
                                            keys,
                                            values,
                                            masks,
                                            out,
                                            log_sum_exp,
                                            grad_out,
                                            grad_queries.operand,
                                            grad_keys.operand,
                                            grad_values.operand};
    const auto clear = [](const AttentionGradient<T>& gradient, std::int64_t batch, std::int64_t times,
                          std::int64_t head, std::int64_t width) {
        for (std::int64_t t = 0; t < times && !gradient.accumulate; ++t) {
            std::fill_n(gradient.operand.at(batch, t, head), width, T(0));
        }
    };
    parallel_for_each(shape.batch * shape.key_value_heads, [&](std::int64_t task) {
        const std::int64_t batch = task / shape.key_value_heads, head = task % shape.key_value_heads;
        for (std::int64_t i = head * shape.group(); i < (head + 1) * shape.group(); ++i) {
            clear(grad_queries, batch, shape.query_length, i, shape.key_width);
        }
        clear(grad_keys, batch, shape.key_length, head, shape.key_width);
        clear(grad_values, batch, shape.key_length, head, shape.value_width);
        detail::attention_backward_group(call, batch, head);
    });
}

}  // namespace tenon::kernel
