#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/device.hpp>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/reduce.cuh>
#include <tenon/op/attention/cuda_arguments.cuh>

/// Attention as its formula reads, a warp for each row: for every element type, width, stride and mask. Sums
/// are kept in `ComputeOf<T>`, in an order that is always the same.
namespace tenon::cuda {

inline constexpr std::int64_t exact_warps = 4;  // in a block, at most

/// Rows by warp: blocks of up to four warps with `numbers` in shared memory each.
template <class C>
Grid exact_grid(std::int64_t rows, std::int64_t numbers) {
    const std::int64_t bytes = numbers * static_cast<std::int64_t>(sizeof(C));
    const std::int64_t warps = std::clamp<std::int64_t>((std::int64_t{48} << 10) / bytes, 1, exact_warps);
    return {blocks_for(rows, warps), static_cast<unsigned>(warps * warp_size),
            static_cast<std::size_t>(warps * bytes)};
}

/// What a warp of `exact_grid` works on.
struct ExactWarp {
    std::int64_t first, step;  // rows
    std::int64_t warp;
    int lane;

    __device__ ExactWarp() {
        const std::int64_t warps = blockDim.x / warp_size;
        warp = threadIdx.x / warp_size;
        lane = static_cast<int>(threadIdx.x) % warp_size;
        first = blockIdx.x * warps + warp;
        step = gridDim.x * warps;
    }
};

template <class C, class T>
__device__ void load_row(const T* from, std::int64_t width, int lane, C* to) {
    for (std::int64_t j = lane; j < width; j += warp_size) to[j] = convert<C>(from[j]);
}

template <class C>
__device__ void clear_row(std::int64_t width, int lane, C* to) {
    for (std::int64_t j = lane; j < width; j += warp_size) to[j] = C(0);
}

/// The products of a row with up to 32 others: a lane gets that of its number. Each is made by all lanes, so
/// that what they read lies together; its bits are the same whichever of the two is the row.
template <class C, class T>
__device__ C products(const C* row, const T* others, std::int64_t stride, int count, std::int64_t width,
                      int lane) {
    constexpr int at_once = 4;  // so many loads do not wait for each other
    C own(0);
    for (int first = 0; first < count; first += at_once) {
        const T* other[at_once];
        C sums[at_once];
#pragma unroll
        for (int i = 0; i < at_once; ++i) {
            other[i] = others + (first + i < count ? first + i : first) * stride;
            sums[i] = C(0);
        }
        for (std::int64_t j = lane; j < width; j += warp_size)
#pragma unroll
            for (int i = 0; i < at_once; ++i) sums[i] += row[j] * convert<C>(other[i][j]);
#pragma unroll
        for (int i = 0; i < at_once; ++i) {
            const C sum = reduce_warp(sums[i], Sum());
            if (lane == first + i) own = sum;
        }
    }
    return own;
}

/// How many of 32 rows from `first` on are before `end`.
__device__ inline int rows_until(std::int64_t end, std::int64_t first) {
    return end - first < warp_size ? static_cast<int>(end - first) : warp_size;
}

/// sums += weights of up to 32 rows times the rows.
template <class C, class T>
__device__ void add_rows(const C* weights, const T* rows, std::int64_t stride, int count, std::int64_t width,
                         int lane, C* sums) {
    for (std::int64_t j = lane; j < width; j += warp_size) {
        C sum = sums[j];
        for (int i = 0; i < count; ++i) sum += weights[i] * convert<C>(rows[i * stride + j]);
        sums[j] = sum;
    }
}

/// A query as both directions see it: what its scores are made of, and the keys that it attends to.
template <class C>
struct ExactQuery {
    AttentionRow at;
    std::int64_t key_value_head, position;
    tenon::detail::ScoreRule<C> rule;
    tenon::detail::KeyRange range;
    const bool* allowed;

    template <class Call>
    __device__ ExactQuery(const Call& call, std::int64_t row)
        : at(row, call.shape.heads, call.shape.query_length),
          key_value_head(at.head / call.shape.group()),
          position(tenon::detail::position_of(call.shape, at.time)),
          rule(call.shape, call.options, at.head),
          range(tenon::detail::key_range(call.shape, call.options, call.masks, at.batch, at.time)),
          allowed(call.masks.allowed ? call.masks.allowed_at(at.batch, at.head, at.time) : nullptr) {}

    /// Leaves of the keys those of [begin, end).
    __device__ void narrow(std::int64_t begin, std::int64_t end) {
        if (range.begin < begin) range.begin = begin;
        if (range.end > end) range.end = end;
    }
    /// Whether it attends to a key that is not before its range.
    __device__ bool attends_to(std::int64_t key) const {
        return key < range.end && (allowed == nullptr || allowed[key]);
    }
};

/// Where queries are few their keys are divided into parts, each a warp's: flash decoding (Dao et al. 2023).
/// What the parts find is combined then.
template <class C>
struct ExactParts {
    std::int64_t count = 1, keys = 0;        // keys of each
    C* sums = nullptr;                       // [count, rows, value width]
    C *maxima = nullptr, *totals = nullptr;  // [count, rows]

    /// As many parts as let a GPU's multiprocessors have 16 warps each, but of 64 keys at least.
    ExactParts(std::int64_t rows, std::int64_t all_keys, int multiprocessors) {
        if (rows > 0)
            count = std::clamp<std::int64_t>(std::min(16 * multiprocessors / rows, all_keys / 64), 1, 64);
        keys = (all_keys + count - 1) / count;
    }
    /// The numbers that they keep.
    std::int64_t size(std::int64_t rows, std::int64_t value_width) const {
        return count * rows * (value_width + 2);
    }
    void keep_in(C* memory, std::int64_t rows, std::int64_t value_width) {
        sums = memory;
        maxima = sums + count * rows * value_width;
        totals = maxima + count * rows;
    }
};

/// Writes a query's result, of which sum(j) is the sum of weighted values, and `total` that of weights, both
/// relative to the exponential of `maximum`.
template <class T, class C, class SumOf>
__device__ void finish_row(const AttentionForward<T>& call, std::int64_t row, int lane, C maximum, C total,
                           const SumOf& sum) {
    const AttentionRow at(row, call.shape.heads, call.shape.query_length);
    T* const out = call.out.at(at.batch, at.time, at.head);
    for (std::int64_t j = lane; j < call.shape.value_width; j += warp_size)
        out[j] = rounded<T>(total == C(0) ? C(0) : sum(j) / total);
    if (call.log_sum_exp != nullptr && lane == 0)
        call.log_sum_exp[row] = total == C(0) ? -infinity<C> : maximum + log(total);
}

template <class T>
__global__ void attention_forward_exact(AttentionForward<T> call, ExactParts<ComputeOf<T>> parts) {
    using C = ComputeOf<T>;
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t key_width = shape.key_width, value_width = shape.value_width;
    const ExactWarp own;
    C* const query =
        reinterpret_cast<C*>(attention_shared_memory()) + own.warp * (key_width + value_width + warp_size);
    C *const sums = query + key_width, *const weights = sums + value_width;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length;
    for (std::int64_t number = own.first; number < rows * parts.count; number += own.step) {
        // Neighbouring warps have the same part, of rows that may share their keys.
        const std::int64_t part = number / rows, row = number % rows;
        ExactQuery<C> asked(call, row);
        asked.narrow(part * parts.keys, (part + 1) * parts.keys);
        const AttentionRow& at = asked.at;
        load_row(call.queries.at(at.batch, at.time, at.head), key_width, own.lane, query);
        clear_row(value_width, own.lane, sums);
        __syncwarp();
        C maximum = -infinity<C>, total(0);
        for (std::int64_t first = asked.range.begin; first < asked.range.end; first += warp_size) {
            const int count = rows_until(asked.range.end, first);
            const C product = products(query, call.keys.at(at.batch, first, asked.key_value_head),
                                       call.keys.time_stride, count, key_width, own.lane);
            const std::int64_t key = first + own.lane;
            C score = -infinity<C>;
            if (asked.attends_to(key))
                score =
                    asked.rule.biased(asked.rule.capped(product * asked.rule.scale), C(asked.position - key));
            const C before = maximum;
            maximum = Maximum()(maximum, reduce_warp(score, Maximum()));
            const C base = maximum == -infinity<C> ? C(0) : maximum;
            const C weight = exp(score - base), rescale = exp(before - base);
            total = total * rescale + reduce_warp(weight, Sum());
            weights[own.lane] = weight;
            for (std::int64_t j = own.lane; j < value_width; j += warp_size) sums[j] *= rescale;
            __syncwarp();
            add_rows(weights, call.values.at(at.batch, first, asked.key_value_head), call.values.time_stride,
                     count, value_width, own.lane, sums);
            __syncwarp();
        }
        if (parts.count == 1) {
            finish_row(call, row, own.lane, maximum, total, [&](std::int64_t j) { return sums[j]; });
        } else {
            if (own.lane == 0) {
                parts.maxima[number] = maximum;
                parts.totals[number] = total;
            }
            if (!asked.range.empty())  // otherwise the sums are not read
                for (std::int64_t j = own.lane; j < value_width; j += warp_size)
                    parts.sums[number * value_width + j] = sums[j];
        }
        __syncwarp();
    }
}

/// A warp for each row, with a number for each part in shared memory.
template <class T>
__global__ void attention_combine_parts(AttentionForward<T> call, ExactParts<ComputeOf<T>> parts) {
    using C = ComputeOf<T>;
    const ExactWarp own;
    C* const weights = reinterpret_cast<C*>(attention_shared_memory()) + own.warp * parts.count;
    const std::int64_t rows = call.shape.batch * call.shape.heads * call.shape.query_length,
                       value_width = call.shape.value_width;
    for (std::int64_t row = own.first; row < rows; row += own.step) {
        C maximum = -infinity<C>, total(0);
        for (std::int64_t part = own.lane; part < parts.count; part += warp_size)
            maximum = Maximum()(maximum, parts.maxima[part * rows + row]);
        maximum = reduce_warp(maximum, Maximum());
        const C base = maximum == -infinity<C> ? C(0) : maximum;
        for (std::int64_t part = own.lane; part < parts.count; part += warp_size) {
            weights[part] = exp(parts.maxima[part * rows + row] - base);
            total += weights[part] * parts.totals[part * rows + row];
        }
        total = reduce_warp(total, Sum());
        __syncwarp();
        finish_row(call, row, own.lane, maximum, total, [&](std::int64_t j) {
            C sum(0);
            for (std::int64_t part = 0; part < parts.count; ++part)
                if (weights[part] != C(0))
                    sum += weights[part] * parts.sums[(part * rows + row) * value_width + j];
            return sum;
        });
        __syncwarp();
    }
}

/// Each query's result times the gradient of its result, summed: [batch, heads, T].
template <class T, class C>
__global__ void attention_delta(AttentionBackward<T> call, C* delta) {
    const ExactWarp own;
    const std::int64_t rows = call.shape.batch * call.shape.heads * call.shape.query_length;
    for (std::int64_t row = own.first; row < rows; row += own.step) {
        const AttentionRow at(row, call.shape.heads, call.shape.query_length);
        const T *const out = call.out.at(at.batch, at.time, at.head), *const grad_out = call.grad_out.at(
                                                                          at.batch, at.time, at.head);
        C sum(0);
        for (std::int64_t j = own.lane; j < call.shape.value_width; j += warp_size)
            sum += convert<C>(out[j]) * convert<C>(grad_out[j]);
        sum = reduce_warp(sum, Sum());
        if (own.lane == 0) delta[row] = sum;
    }
}

/// A weight, and the gradient of the scaled product that it was made of.
template <class C>
struct WeightGradient {
    C weight, product;
};

/// Of one query and one key that it attends to.
template <class C>
__device__ WeightGradient<C> weight_gradient(const tenon::detail::ScoreRule<C>& rule, C product,
                                             C grad_weight, std::int64_t distance, C log_sum_exp, C delta) {
    const C capped = rule.capped(product * rule.scale);
    const C weight = exp(rule.biased(capped, C(distance)) - log_sum_exp);
    return {weight, weight * rule.through_cap(grad_weight - delta, capped)};
}

template <class T, class C>
__global__ void attention_grad_queries_exact(AttentionBackward<T> call, const C* delta) {
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t key_width = shape.key_width, value_width = shape.value_width;
    const ExactWarp own;
    C* const query = reinterpret_cast<C*>(attention_shared_memory()) +
                     own.warp * (2 * key_width + value_width + warp_size);
    C *const sums = query + key_width, *const grad_out = sums + key_width,
             *const gradients = grad_out + value_width;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length;
    for (std::int64_t row = own.first; row < rows; row += own.step) {
        const ExactQuery<C> asked(call, row);
        const AttentionRow& at = asked.at;
        load_row(call.queries.at(at.batch, at.time, at.head), key_width, own.lane, query);
        load_row(call.grad_out.at(at.batch, at.time, at.head), value_width, own.lane, grad_out);
        clear_row(key_width, own.lane, sums);
        __syncwarp();
        for (std::int64_t first = asked.range.begin; first < asked.range.end; first += warp_size) {
            const T* const keys = call.keys.at(at.batch, first, asked.key_value_head);
            const T* const values = call.values.at(at.batch, first, asked.key_value_head);
            const int count = rows_until(asked.range.end, first);
            const C product = products(query, keys, call.keys.time_stride, count, key_width, own.lane),
                    grad_weight =
                        products(grad_out, values, call.values.time_stride, count, value_width, own.lane);
            const std::int64_t key = first + own.lane;
            C gradient(0);
            if (asked.attends_to(key))
                gradient = weight_gradient(asked.rule, product, grad_weight, asked.position - key,
                                           call.log_sum_exp[row], delta[row])
                               .product;
            gradients[own.lane] = gradient;
            __syncwarp();
            add_rows(gradients, keys, call.keys.time_stride, count, key_width, own.lane, sums);
            __syncwarp();
        }
        for (std::int64_t j = own.lane; j < key_width; j += warp_size)
            contribute(call.grad_queries.to, call.grad_queries.at(at.batch, at.time, at.head) + j,
                       sums[j] * asked.rule.scale);
        __syncwarp();
    }
}

/// The queries of one head go one by one, 32 at a time; then those of the next head of the group.
template <class T, class C>
__global__ void attention_grad_keys_values_exact(AttentionBackward<T> call, const C* delta) {
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t key_width = shape.key_width, value_width = shape.value_width;
    const ExactWarp own;
    C* const key_row = reinterpret_cast<C*>(attention_shared_memory()) +
                       own.warp * 2 * (key_width + value_width + warp_size);
    C *const value_row = key_row + key_width, *const grad_key = value_row + value_width,
             *const grad_value = grad_key + key_width, *const weights = grad_value + value_width,
             *const gradients = weights + warp_size;
    const std::int64_t rows = shape.batch * shape.key_value_heads * shape.key_length;
    for (std::int64_t row = own.first; row < rows; row += own.step) {
        const AttentionRow at(row, shape.key_value_heads, shape.key_length);
        const std::int64_t key = at.time;
        load_row(call.keys.at(at.batch, key, at.head), key_width, own.lane, key_row);
        load_row(call.values.at(at.batch, key, at.head), value_width, own.lane, value_row);
        clear_row(key_width, own.lane, grad_key);
        clear_row(value_width, own.lane, grad_value);
        __syncwarp();
        const bool is_causal = call.options.causal || call.options.window > 0;
        const std::int64_t earliest =
            key - tenon::detail::position_of(shape, 0);  // the query at the key's position
        const std::int64_t begin = is_causal && earliest > 0 ? earliest : 0;
        std::int64_t end = shape.query_length;
        if (call.options.window > 0 && earliest + call.options.window < end)
            end = earliest + call.options.window;
        for (std::int64_t i = 0; i < shape.group(); ++i) {
            const std::int64_t head = at.head * shape.group() + i;
            const tenon::detail::ScoreRule<C> rule(shape, call.options, head);
            for (std::int64_t first = begin; first < end; first += warp_size) {
                const T* const queries = call.queries.at(at.batch, first, head);
                const T* const grad_out = call.grad_out.at(at.batch, first, head);
                const int count = rows_until(end, first);
                const C product =
                            products(key_row, queries, call.queries.time_stride, count, key_width, own.lane),
                        grad_weight = products(value_row, grad_out, call.grad_out.time_stride, count,
                                               value_width, own.lane);
                const std::int64_t query = first + own.lane;
                WeightGradient<C> found{C(0), C(0)};
                if (query < end) {
                    const tenon::detail::KeyRange range =
                        tenon::detail::key_range(shape, call.options, call.masks, at.batch, query);
                    const bool sees =
                        range.begin <= key && key < range.end &&
                        (call.masks.allowed == nullptr || call.masks.allowed_at(at.batch, head, query)[key]);
                    const std::int64_t number = (at.batch * shape.heads + head) * shape.query_length + query;
                    if (sees)
                        found = weight_gradient(rule, product, grad_weight,
                                                tenon::detail::position_of(shape, query) - key,
                                                call.log_sum_exp[number], delta[number]);
                }
                weights[own.lane] = found.weight;
                gradients[own.lane] = found.product * rule.scale;
                __syncwarp();
                add_rows(weights, grad_out, call.grad_out.time_stride, count, value_width, own.lane,
                         grad_value);
                add_rows(gradients, queries, call.queries.time_stride, count, key_width, own.lane, grad_key);
                __syncwarp();
            }
        }
        if (call.grad_keys.is_wanted())
            for (std::int64_t j = own.lane; j < key_width; j += warp_size)
                contribute(call.grad_keys.to, call.grad_keys.at(at.batch, key, at.head) + j, grad_key[j]);
        if (call.grad_values.is_wanted())
            for (std::int64_t j = own.lane; j < value_width; j += warp_size)
                contribute(call.grad_values.to, call.grad_values.at(at.batch, key, at.head) + j,
                           grad_value[j]);
        __syncwarp();
    }
}

template <class T>
void attend_exactly(const AttentionForward<T>& call) {
    using C = ComputeOf<T>;
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length,
                       numbers = shape.key_width + shape.value_width + warp_size;
    ExactParts<C> parts(rows, shape.key_length, device_properties().multiprocessors);
    if (parts.count == 1)
        return launch(attention_forward_exact<T>, exact_grid<C>(rows, numbers), call, parts);
    const Storage memory(
        Memory<Cuda>::allocate(static_cast<std::size_t>(parts.size(rows, shape.value_width)) * sizeof(C)));
    parts.keep_in(static_cast<C*>(memory.data()), rows, shape.value_width);
    launch(attention_forward_exact<T>, exact_grid<C>(rows * parts.count, numbers), call, parts);
    launch(attention_combine_parts<T>, exact_grid<C>(rows, parts.count), call, parts);
}

template <class T>
void attend_exactly(const AttentionBackward<T>& call) {
    using C = ComputeOf<T>;
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t queries = shape.batch * shape.heads * shape.query_length;
    const Storage memory(Memory<Cuda>::allocate(static_cast<std::size_t>(queries) * sizeof(C)));
    C* const delta = static_cast<C*>(memory.data());
    launch(attention_delta<T, C>, exact_grid<C>(queries, 1), call, delta);
    if (call.grad_queries.is_wanted())
        launch(attention_grad_queries_exact<T, C>,
               exact_grid<C>(queries, 2 * shape.key_width + shape.value_width + warp_size), call, delta);
    if (call.grad_keys.is_wanted() || call.grad_values.is_wanted())
        launch(attention_grad_keys_values_exact<T, C>,
               exact_grid<C>(shape.batch * shape.key_value_heads * shape.key_length,
                             2 * (shape.key_width + shape.value_width + warp_size)),
               call, delta);
}

}  // namespace tenon::cuda
