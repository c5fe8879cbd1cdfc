#pragma once

#include <cstdint>

#include <tenon/op/attention/cuda_softmax.cuh>

namespace tenon::cuda {

/// How the forward kernel divides its work: each of `warps` warps has `warp_queries` queries (16 or 32), in
/// registers, and all go through the keys and values by `keys`. Multiprocessors hold `blocks` blocks.
template <int key_width_, int value_width_, int warps_, int warp_queries_, int keys_, int blocks_,
          bool holds_queries_ = (warp_queries_ * key_width_ <= 32 * 64)>
struct ForwardTiling {
    static constexpr int key_width = key_width_, value_width = value_width_, warps = warps_,
                         warp_queries = warp_queries_, keys = keys_, blocks = blocks_,
                         threads = warps * warp_size, queries = warps * warp_queries;
    /// Whether queries stay in registers.
    static constexpr bool holds_queries = holds_queries_;

    template <class T>
    struct Shared {
        using Queries = SharedTile<T, warp_queries, key_width>;  // of one warp
        using KeyTile = SharedTile<T, keys, key_width>;
        using ValueTile = SharedTile<T, keys, value_width>;
        static constexpr int stage_bytes = KeyTile::bytes + ValueTile::bytes,
                             queries_bytes = warps * Queries::bytes, bytes = queries_bytes + 2 * stage_bytes;
    };
};

/// The running softmax of a warp's queries (Milakov and Gimelshein 2018): of each row that a lane holds a
/// part of, a maximum, and the sum of the lane's own weights. Scores are in units of `scale` powers of two.
template <int rows>
struct RunningSoftmax {
    float maximum[rows / 8], total[rows / 8];

    /// Weights are at most 2^slack: the maximum follows only where it grows by more, as all else must be
    /// rescaled then.
    static constexpr float slack = 8;

    __device__ __forceinline__ RunningSoftmax() {
#pragma unroll
        for (int i = 0; i < rows / 8; ++i) {
            maximum[i] = -infinity<float>;
            total[i] = 0;
        }
    }

    /// Scores to weights, in place; sums of weighted values follow the maximum.
    template <int keys, int width>
    __device__ __forceinline__ void advance(Sums<rows, keys>& scores, float scale, Sums<rows, width>& sums) {
        float rescale[rows / 8];
        bool moves = false;
#pragma unroll
        for (int i = 0; i < rows / 8; ++i) {
            float most = scores.block[i / 2][0][i % 2 * 2];
#pragma unroll
            for (int j = 0; j < keys / 8; ++j)
                most = fmaxf(most,
                             fmaxf(scores.block[i / 2][j][i % 2 * 2], scores.block[i / 2][j][i % 2 * 2 + 1]));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
            rescale[i] = 1;
            if ((most - maximum[i]) * scale > slack) {
                rescale[i] = power_of_two((maximum[i] - most) * scale);
                maximum[i] = most;
                moves = true;
            }
        }
        if (__any_sync(0xffffffffu, moves)) {
#pragma unroll
            for (int i = 0; i < rows / 8; ++i) {
                total[i] *= rescale[i];
#pragma unroll
                for (int j = 0; j < width / 8; ++j) {
                    sums.block[i / 2][j][i % 2 * 2] *= rescale[i];
                    sums.block[i / 2][j][i % 2 * 2 + 1] *= rescale[i];
                }
            }
        }
#pragma unroll
        for (int i = 0; i < rows / 8; ++i) {
            const float base = maximum[i] == -infinity<float> ? 0 : maximum[i] * scale;
            float sum[2] = {0, 0};
#pragma unroll
            for (int j = 0; j < keys / 8; ++j)
#pragma unroll
                for (int k = 0; k < 2; ++k) {
                    float& score = scores.block[i / 2][j][i % 2 * 2 + k];
                    score = power_of_two(fmaf(score, scale, -base));
                    sum[k] += score;
                }
            total[i] += sum[0] + sum[1];
        }
    }

    /// Adds up what the lanes of a row have.
    __device__ __forceinline__ void finish() {
#pragma unroll
        for (float& sum : total) {
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        }
    }
};

/// Scores of the products of a tile, in powers of two, where they are more than these products scaled.
template <int rows, int keys>
__device__ __forceinline__ void apply_rule(Sums<rows, keys>& scores,
                                           const tenon::detail::ScoreRule<float>& rule, int distance) {
#pragma unroll
    for (int i = 0; i < rows / 8; ++i)
#pragma unroll
        for (int j = 0; j < keys / 4; ++j) {
            float& score = scores.block[i / 2][j / 2][i % 2 * 2 + j % 2];
            const int away = distance + i * 8 - (j / 2 * 8 + j % 2);
            score = rule.biased(rule.capped(score * rule.scale), static_cast<float>(away)) * log2_of_e;
        }
}

/// Takes scores of keys that a query does not attend to out of the softmax. `first` is the tile's first key,
/// `query` the warp's first query.
template <bool is_general, int rows, int columns>
__device__ __forceinline__ void apply_masks(Sums<rows, columns>& scores, const WarpKeys& warp_keys,
                                            const kernel::AttentionMasks& masks, int batch, int head,
                                            int query, int last_query, int first) {
#pragma unroll
    for (int i = 0; i < rows / 8; ++i) {
        const int row = i * 8 + row_of_lane();
        const Keys seen = warp_keys.of(row);
        const bool* allowed = nullptr;
        if constexpr (is_general)
            if (masks.allowed != nullptr && query + row < last_query)
                allowed = masks.allowed_at(batch, head, query + row);
#pragma unroll
        for (int j = 0; j < columns / 4; ++j) {
            const int key = first + j / 2 * 8 + column_of_lane() + j % 2;
            float& score = scores.block[i / 2][j / 2][i % 2 * 2 + j % 2];
            bool counts = seen.holds(key);
            if constexpr (is_general) counts = counts && (allowed == nullptr || allowed[key]);
            if (!counts) score = -infinity<float>;
        }
    }
}

/// Which queries a block has: the longest rows first, so that no block is left alone at the end, of as many
/// heads at a time as have keys and values that share the cache.
struct ForwardBlock {
    int query_tile, head, batch;

    __device__ ForwardBlock(const kernel::AttentionShape& shape, int tiles, int number) {
        constexpr int cache_bytes = 24 << 20;
        const int heads = static_cast<int>(shape.heads), all = heads * static_cast<int>(shape.batch);
        const std::int64_t head_bytes = shape.key_length * (shape.key_width + shape.value_width) * 2;
        const int fitting = head_bytes < cache_bytes ? static_cast<int>(cache_bytes / (head_bytes + 1)) : 1,
                  groups = (all + fitting - 1) / fitting, together = (all + groups - 1) / groups;
        const int first = number / (together * tiles) * together, rest = number % (together * tiles),
                  count = all - first < together ? all - first : together;
        query_tile = tiles - 1 - rest / count;
        head = (first + rest % count) % heads;
        batch = (first + rest % count) / heads;
    }
};

/// FlashAttention-2's forward direction (Dao 2023): a block has the queries of one head, goes through keys
/// and values from the last to the first, the masked ones coming first, and never holds more than one tile of
/// scores.
template <class T, class Tiling, bool is_general>
__global__ void __launch_bounds__(Tiling::threads, Tiling::blocks)
    attention_forward_tiles(AttentionForward<T> call) {
    using Shared = typename Tiling::template Shared<T>;
    constexpr int rows = Tiling::warp_queries, tile_keys = Tiling::keys, threads = Tiling::threads;
    unsigned char* const shared_bytes = attention_shared_memory();
    const kernel::AttentionShape& shape = call.shape;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / warp_size;
    const int query_length = static_cast<int>(shape.query_length),
              key_length = static_cast<int>(shape.key_length);

    const int heads = static_cast<int>(shape.heads),
              tiles = (query_length + Tiling::queries - 1) / Tiling::queries;
    const ForwardBlock own(shape, tiles, static_cast<int>(blockIdx.x));
    // Under causal order the last rows have most keys. The same warps of neighbouring blocks share a
    // scheduler, so every other block has its rows in reverse.
    const int part = own.query_tile % 2 == 0 ? warp : Tiling::warps - 1 - warp;
    const int warp_query = own.query_tile * Tiling::queries + part * rows, head = own.head, batch = own.batch;
    const int key_value_head = head / static_cast<int>(shape.group());

    const std::uint32_t base = shared_address(shared_bytes);
    const typename Shared::Queries own_queries{base +
                                               static_cast<std::uint32_t>(warp * Shared::Queries::bytes)};
    const auto stage = [&](int i) {
        return base + static_cast<std::uint32_t>(Shared::queries_bytes + i * Shared::stage_bytes);
    };
    own_queries.template copy<warp_size>(call.queries.at(batch, warp_query, head), call.queries.time_stride,
                                         query_length - warp_query, static_cast<int>(shape.key_width) / 8,
                                         thread % warp_size);

    const auto keys_of_warp = [&] {
        return WarpKeys(shape, call.options, call.masks, batch, warp_query, rows);
    };
    Keys any{0, key_length};  // of the block
    if constexpr (is_general) {
        any = keys_of_warp().template any_of_block<Tiling::warps>();
    } else if (call.options.causal) {
        const int end = key_length - query_length + (own.query_tile + 1) * Tiling::queries;
        if (end < key_length) any.end = end;
    }
    const int first_tile = any.empty() ? 0 : any.begin / tile_keys,
              last_tile = any.empty() ? -1 : (any.end - 1) / tile_keys;

    const auto copy_tile = [&](int tile) {
        const int key = tile * tile_keys;
        typename Shared::KeyTile{stage(tile & 1)}.template copy<threads>(
            call.keys.at(batch, key, key_value_head), call.keys.time_stride, key_length - key,
            static_cast<int>(shape.key_width) / 8, thread);
        typename Shared::ValueTile{stage(tile & 1) + Shared::KeyTile::bytes}.template copy<threads>(
            call.values.at(batch, key, key_value_head), call.values.time_stride, key_length - key,
            static_cast<int>(shape.value_width) / 8, thread);
    };
    if (last_tile >= first_tile) copy_tile(last_tile);
    commit_copies();

    const WarpKeys warp_keys = keys_of_warp();
    const tenon::detail::ScoreRule<float> rule(shape, call.options, head);
    const bool is_ruled = is_general && !rule.is_plain();
    const float scale = is_ruled ? 1.0f : rule.scale * log2_of_e;
    const Left<typename Shared::Queries> query_rows(own_queries);
    Factor<T, rows, Tiling::holds_queries ? Tiling::key_width : 16> queries;
    RunningSoftmax<rows> softmax;
    Sums<rows, Tiling::value_width> out;
    out.clear();

    for (int tile = last_tile; tile >= first_tile; --tile) {
        wait_copies<0>();
        __syncthreads();
        if (tile > first_tile) copy_tile(tile - 1);
        commit_copies();
        if constexpr (Tiling::holds_queries)
            if (tile == last_tile) load_factor(queries, query_rows);
        const int key = tile * tile_keys;
        if (!warp_keys.any_in(key, key + tile_keys)) continue;

        Sums<rows, tile_keys> scores;
        scores.clear();
        const RightTransposed<typename Shared::KeyTile> keys({stage(tile & 1)});
        if constexpr (Tiling::holds_queries)
            multiply_add<T, Tiling::key_width / 16>(scores, queries, keys);
        else
            multiply_add<T, Tiling::key_width / 16>(scores, query_rows, keys);
        if constexpr (is_general)
            if (is_ruled)
                apply_rule(scores, rule,
                           key_length - query_length + warp_query + row_of_lane() - (key + column_of_lane()));
        if (!warp_keys.all_of(key, key + tile_keys) || (is_general && call.masks.allowed != nullptr))
            apply_masks<is_general>(scores, warp_keys, call.masks, batch, head, warp_query, query_length,
                                    key);
        softmax.advance(scores, scale, out);
        const Right<typename Shared::ValueTile> values({stage(tile & 1) + Shared::KeyTile::bytes});
        multiply_add<T, tile_keys / 16>(out, rounded_factor<T>(scores), values);
    }

    softmax.finish();
#pragma unroll
    for (int i = 0; i < rows / 8; ++i) {
        const int row = warp_query + i * 8 + row_of_lane();
        const float total = softmax.total[i], inverse = total == 0 ? 0 : 1 / total;
#pragma unroll
        for (int j = 0; j < Tiling::value_width / 32; ++j) {
            std::uint32_t pairs[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const float* const sums = out.block[i / 2][j * 4 + k] + i % 2 * 2;
                pairs[k] = rounded_pair<T>(sums[0] * inverse, sums[1] * inverse);
            }
            const uint4 chunk = chunk_of_lane(pairs);
            const int column = (j * 4 + thread % 4) * 8;
            if (row < query_length && column < shape.value_width)
                *reinterpret_cast<uint4*>(call.out.at(batch, row, head) + column) = chunk;
        }
        if (call.log_sum_exp != nullptr && column_of_lane() == 0 && row < query_length)
            call.log_sum_exp[(std::int64_t{batch} * heads + head) * query_length + row] =
                total == 0 ? -infinity<float> : (softmax.maximum[i] * scale + log2f(total)) * log_of_2;
    }
}

/// Launches the kernel; operands are aligned to 16 bytes, and so are their strides.
template <class T, class Tiling, bool is_general>
void attend_by_tiles(const AttentionForward<T>& call) {
    const std::int64_t tiles = (call.shape.query_length + Tiling::queries - 1) / Tiling::queries;
    launch(attention_forward_tiles<T, Tiling, is_general>,
           {static_cast<unsigned>(tiles * call.shape.heads * call.shape.batch),
            static_cast<unsigned>(Tiling::threads), Tiling::template Shared<T>::bytes},
           call);
}

}  // namespace tenon::cuda
