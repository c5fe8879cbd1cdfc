#pragma once

#include <cstdint>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/turn.cuh>
#include <tenon/op/attention/cuda_softmax.cuh>

namespace tenon::cuda {

/// How the backward kernel divides its work. A block has `rows` keys, those of a warp 16 or 32; tiles of
/// `queries` queries move past, of which a warp takes `part` at a time. Where a key's gradients are too many
/// for a warp's registers, `sharing` warps have the same keys: each computes the weights of its part of the
/// queries, and has its part of the gradients' columns. Multiprocessors hold `blocks` blocks.
template <int key_width_, int value_width_, int warps_, int warp_keys_, int queries_, int part_, int blocks_,
          int sharing_ = 1>
struct BackwardTiling {
    static constexpr int key_width = key_width_, value_width = value_width_, warps = warps_,
                         warp_keys = warp_keys_, queries = queries_, part = part_, blocks = blocks_,
                         sharing = sharing_, threads = warps * warp_size, keys = warps / sharing * warp_keys;

    /// One warp more waits for turns. Where registers can be moved between warps, which four do together,
    /// those that compute take all but what these need.
    static constexpr int all_threads = threads + 4 * warp_size, turn_registers = 24,
                         registers = blocks == 2 ? 232 : 240;

    // The gradient of a tile of queries: warps have `query_rows` rows of it, `query_columns` columns.
    static constexpr bool has_tall_rows = queries % 32 == 0 && key_width * queries / 32 % (16 * warps) == 0;
    static constexpr int query_rows = has_tall_rows ? 32 : 16,
                         query_columns = key_width / (warps / (queries / query_rows));
    static_assert(query_columns % 16 == 0 && warps % (queries / query_rows) == 0);

    template <class T>
    struct Shared {
        using Keys = SharedTile<T, keys, key_width>;
        using Values = SharedTile<T, keys, value_width>;
        using Queries = SharedTile<T, queries, key_width>;
        using GradOut = SharedTile<T, queries, value_width>;
        using Scores = SharedTile<T, keys, queries>;      // their gradients, and the weights if shared
        static constexpr int terms_bytes = queries * 16;  // of each query: its terms, its keys
        static constexpr int stage_bytes = Queries::bytes + GradOut::bytes + terms_bytes,
                             rows_bytes = Keys::bytes + Values::bytes + 2 * Scores::bytes;
        // Gradients leave through the stages' memory.
        static constexpr int padded_width = (key_width > value_width ? key_width : value_width) / sharing + 8,
                             gradient_bytes = warp_keys * padded_width * 4;
        static constexpr int bytes =
            rows_bytes +
            (2 * stage_bytes > warps * gradient_bytes ? 2 * stage_bytes : warps * gradient_bytes);
    };
};

/// Where sums for the queries' gradient wait for their next part, of each tile of queries and each warp, and
/// whose turn it is to add one, of each tile.
struct QuerySums {
    float4* sums;
    unsigned* turns;  // those of tiles follow the count of tickets
};

/// What the weights of a query's keys are computed again from, and the gradient of its scores: its
/// log-sum-exp, of base 2, and its result times the gradient of its result, summed.
struct QueryTerms {
    float log2_sum, delta;
};

/// Computes the terms of all queries; threads share a query, 8 elements each.
template <class T, int lanes>
__global__ void attention_query_terms(AttentionBackward<T> call, QueryTerms* terms) {
    const std::int64_t rows = call.shape.batch * call.shape.heads * call.shape.query_length;
    // In the order of memory, [batch, time, head].
    const std::int64_t number = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / lanes;
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const bool exists = number < rows;
    const std::int64_t head = number % call.shape.heads,
                       time = number / call.shape.heads % call.shape.query_length,
                       batch = number / call.shape.heads / call.shape.query_length;
    float sum = 0;
    if (exists && lane * 8 < call.shape.value_width) {
        float out[8], grad_out[8];
        load(call.out.at(batch, time, head) + lane * 8, out);
        load(call.grad_out.at(batch, time, head) + lane * 8, grad_out);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += out[i] * grad_out[i];
    }
#pragma unroll
    for (int distance = lanes / 2; distance > 0; distance /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (!exists || lane != 0) return;
    const std::int64_t row = (batch * call.shape.heads + head) * call.shape.query_length + time;
    const float log_sum = call.log_sum_exp[row];
    // A query without keys: 2^(-infinity) = 0.
    terms[row] = {log_sum == -infinity<float> ? infinity<float> : log_sum * log2_of_e, sum};
}

/// A score's weight. `score` becomes what the gradient of the weight, less the query's delta, is multiplied
/// by to give the gradient of the scaled product that the score is made of.
template <bool is_general>
__device__ __forceinline__ float to_weight(const tenon::detail::ScoreRule<float>& rule, float scale,
                                           int distance, float log2_sum, bool counts, float& score) {
    float weight;
    if constexpr (is_general) {
        const float capped = rule.capped(score * rule.scale);
        weight = power_of_two(rule.biased(capped, static_cast<float>(distance)) * log2_of_e - log2_sum);
        if (!counts) weight = 0;
        score = rule.through_cap(weight, capped);
    } else {
        weight = power_of_two(fmaf(score, scale, -log2_sum));
        if (!counts) weight = 0;
        score = weight;
    }
    return weight;
}

/// A warp's left factor to rows and columns of a shared tile, multiples of 16.
template <class Tile, class T, int rows, int depth>
__device__ __forceinline__ void store_factor(const Factor<T, rows, depth>& factor, const Tile& tile,
                                             int first_row, int first_column) {
#if __CUDA_ARCH__ >= 900
    const Left<Tile> to(tile, first_row);
#pragma unroll
    for (int i = 0; i < rows / 16; ++i)
#pragma unroll
        for (int j = 0; j < depth / 16; ++j)
            store_matrices(to.at(i, first_column / 16 + j), factor.block[i][j]);
#else
#pragma unroll
    for (int i = 0; i < rows / 16; ++i)
#pragma unroll
        for (int j = 0; j < depth / 16; ++j)
#pragma unroll
            for (int k = 0; k < 4; ++k)
                asm volatile(
                    "st.shared.u32 [%0], %1;" ::"r"(tile.at(first_row + i * 16 + k % 2 * 8 + row_of_lane(),
                                                            first_column / 8 + j * 2 + k / 2) +
                                                    static_cast<std::uint32_t>(2 * column_of_lane())),
                    "r"(factor.block[i][j][k])
                    : "memory");
#endif
}

/// A warp's sums in memory, to which blocks add in turn.
template <int rows, int columns>
class PartialSums {
public:
    __device__ __forceinline__ PartialSums(float4* all, std::int64_t warp)
        : own_(all + warp * vectors * warp_size + static_cast<int>(threadIdx.x) % warp_size) {}

    __device__ __forceinline__ void store(const Sums<rows, columns>& sums) const {
#pragma unroll
        for (int i = 0; i < vectors; ++i) {
            const float(&sum)[4] = sums.block[i / (columns / 8)][i % (columns / 8)];
            __stcg(own_ + i * warp_size, make_float4(sum[0], sum[1], sum[2], sum[3]));
        }
    }
    __device__ __forceinline__ void add(const Sums<rows, columns>& sums) const {
#pragma unroll
        for (int i = 0; i < vectors; ++i)
            add_in_memory(own_ + i * warp_size, sums.block[i / (columns / 8)][i % (columns / 8)]);
    }
    __device__ __forceinline__ void add_to(Sums<rows, columns>& sums) const {
#pragma unroll
        for (int i = 0; i < vectors; ++i) {
            float(&sum)[4] = sums.block[i / (columns / 8)][i % (columns / 8)];
            const float4 before = __ldcg(own_ + i * warp_size);
            sum[0] += before.x;
            sum[1] += before.y;
            sum[2] += before.z;
            sum[3] += before.w;
        }
    }

private:
    static constexpr int vectors = rows / 16 * columns / 8;
    float4* own_;
};

/// Writes or adds a warp's sums to a gradient, scaled, from a row and a column on.
template <class G, int rows, int columns>
__device__ __forceinline__ void contribute_sums(const Sums<rows, columns>& sums, float scale,
                                                const AttentionGradient<G>& gradient, int batch, int head,
                                                int first, int first_column) {
#pragma unroll
    for (int i = 0; i < rows / 8; ++i) {
        const int row = first + i * 8 + row_of_lane();
        if (row >= gradient.times) continue;
        const std::int64_t at = gradient.at(batch, row, head);
#pragma unroll
        for (int j = 0; j < columns / 8; ++j) {
            const int column = first_column + j * 8 + column_of_lane();
            if (column >= gradient.width) continue;
            const float* const from = sums.block[i / 2][j] + i % 2 * 2;
            const float values[2] = {from[0] * scale, from[1] * scale};
            contribute(gradient.to, at + column, values);
        }
    }
}

/// Writes or adds a warp's rows of a gradient, from a column on, scaled. `scratch`: the warp's own, of `rows`
/// rows of `padded` floats.
template <int padded, class G, int rows, int columns>
__device__ __forceinline__ void contribute_rows(const Sums<rows, columns>& sums, float scale, float* scratch,
                                                const AttentionGradient<G>& gradient, int batch, int head,
                                                int first, int first_column = 0) {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < rows / 8; ++i)
#pragma unroll
        for (int j = 0; j < columns / 8; ++j) {
            const float* const from = sums.block[i / 2][j] + i % 2 * 2;
            *reinterpret_cast<float2*>(scratch + (i * 8 + row_of_lane()) * padded + j * 8 +
                                       column_of_lane()) = make_float2(from[0] * scale, from[1] * scale);
        }
    __syncwarp();
    constexpr int chunks = columns / 8;
    for (int i = static_cast<int>(threadIdx.x) % warp_size; i < rows * chunks; i += warp_size) {
        const int row = i / chunks, column = i % chunks * 8;
        if (first + row >= gradient.times || first_column + column >= gradient.width) continue;
        float values[8];
        load(scratch + row * padded + column, values);
        contribute(gradient.to, gradient.at(batch, first + row, head) + first_column + column, values);
    }
}

}  // namespace tenon::cuda
