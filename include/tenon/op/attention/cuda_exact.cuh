#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/storage.hpp>
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

template <class C, class T>
__device__ C dot(const C* row, const T* other, std::int64_t width) {
    C sum(0);
    for (std::int64_t j = 0; j < width; ++j) sum += row[j] * convert<C>(other[j]);
    return sum;
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

    /// Whether it attends to a key that is not before its range.
    __device__ bool attends_to(std::int64_t key) const {
        return key < range.end && (allowed == nullptr || allowed[key]);
    }
};

template <class T>
__global__ void attention_forward_exact(AttentionForward<T> call) {
    using C = ComputeOf<T>;
    const kernel::AttentionShape& shape = call.shape;
    const std::int64_t key_width = shape.key_width, value_width = shape.value_width;
    const ExactWarp own;
    C* const query =
        reinterpret_cast<C*>(attention_shared_memory()) + own.warp * (key_width + value_width + warp_size);
    C *const sums = query + key_width, *const weights = sums + value_width;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length;
    for (std::int64_t row = own.first; row < rows; row += own.step) {
        const ExactQuery<C> asked(call, row);
        const AttentionRow& at = asked.at;
        load_row(call.queries.at(at.batch, at.time, at.head), key_width, own.lane, query);
        clear_row(value_width, own.lane, sums);
        __syncwarp();
        C maximum = -infinity<C>, total(0);
        for (std::int64_t first = asked.range.begin; first < asked.range.end; first += warp_size) {
            const std::int64_t key = first + own.lane;
            C score = -infinity<C>;
            if (asked.attends_to(key)) {
                const C product = dot(query, call.keys.at(at.batch, key, asked.key_value_head), key_width);
                score =
                    asked.rule.biased(asked.rule.capped(product * asked.rule.scale), C(asked.position - key));
            }
            const C before = maximum;
            maximum = Maximum()(maximum, reduce_warp(score, Maximum()));
            const C base = maximum == -infinity<C> ? C(0) : maximum;
            const C weight = exp(score - base), rescale = exp(before - base);
            total = total * rescale + reduce_warp(weight, Sum());
            weights[own.lane] = weight;
            for (std::int64_t j = own.lane; j < value_width; j += warp_size) sums[j] *= rescale;
            __syncwarp();
            const std::int64_t left = asked.range.end - first;
            add_rows(weights, call.values.at(at.batch, first, asked.key_value_head), call.values.time_stride,
                     left < warp_size ? static_cast<int>(left) : warp_size, value_width, own.lane, sums);
            __syncwarp();
        }
        T* const out = call.out.at(at.batch, at.time, at.head);
        for (std::int64_t j = own.lane; j < value_width; j += warp_size)
            out[j] = rounded<T>(total == C(0) ? C(0) : sums[j] / total);
        if (call.log_sum_exp != nullptr && own.lane == 0)
            call.log_sum_exp[row] = total == C(0) ? -infinity<C> : maximum + log(total);
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
            const std::int64_t key = first + own.lane;
            C gradient(0);
            if (asked.attends_to(key)) {
                const C product = dot(query, call.keys.at(at.batch, key, asked.key_value_head), key_width);
                const C grad_weight =
                    dot(grad_out, call.values.at(at.batch, key, asked.key_value_head), value_width);
                gradient = weight_gradient(asked.rule, product, grad_weight, asked.position - key,
                                           call.log_sum_exp[row], delta[row])
                               .product;
            }
            gradients[own.lane] = gradient;
            __syncwarp();
            const std::int64_t left = asked.range.end - first;
            add_rows(gradients, call.keys.at(at.batch, first, asked.key_value_head), call.keys.time_stride,
                     left < warp_size ? static_cast<int>(left) : warp_size, key_width, own.lane, sums);
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
                        found = weight_gradient(
                            rule, dot(key_row, call.queries.at(at.batch, query, head), key_width),
                            dot(value_row, call.grad_out.at(at.batch, query, head), value_width),
                            tenon::detail::position_of(shape, query) - key, call.log_sum_exp[number],
                            delta[number]);
                }
                weights[own.lane] = found.weight;
                gradients[own.lane] = found.product * rule.scale;
                __syncwarp();
                const std::int64_t left = end - first;
                const int count = left < warp_size ? static_cast<int>(left) : warp_size;
                add_rows(weights, call.grad_out.at(at.batch, first, head), call.grad_out.time_stride, count,
                         value_width, own.lane, grad_value);
                add_rows(gradients, call.queries.at(at.batch, first, head), call.queries.time_stride, count,
                         key_width, own.lane, grad_key);
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
    const kernel::AttentionShape& shape = call.shape;
    launch(attention_forward_exact<T>,
           exact_grid<ComputeOf<T>>(shape.batch * shape.heads * shape.query_length,
                                    shape.key_width + shape.value_width + warp_size),
           call);
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
