#pragma once

#include <cstdint>
#include <limits>

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
    /// Whether the maxima of all scores are looked at before they become weights. If not, those of the first
    /// tile are, and of tiles whose weights turn out to be too great, which costs a second product there:
    /// that saves time with few keys. With many it takes more than it saves, as weights must be complete
    /// before they meet values, while else the two overlap.
    static constexpr bool looks_at_maxima = keys > 32;

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
/// part of, the power of two that its weights are relative to, and the sum of the lane's own weights. Scores
/// are in units of `scale` powers of two. A row's base follows its maximum only where a weight would be
/// beyond 2^slack, as all else must be rescaled then. So a tile's maxima need not be known: sums of its
/// weights that are beyond 2^slack times their number say that some weight is, and only then are scores
/// needed once more.
template <int rows>
class RunningSoftmax {
public:
    __device__ __forceinline__ RunningSoftmax() {
#pragma unroll
        for (int i = 0; i < count; ++i) {
            base_[i] = none;
            total_[i] = 0;
        }
    }

    /// Whether bases need a look at the next scores first: those of rows that have met none yet.
    __device__ __forceinline__ bool lacks_bases() const {
        bool lacks = false;
#pragma unroll
        for (const float base : base_) lacks = lacks || base == none;
        return __any_sync(0xffffffffu, lacks);
    }

    /// Bases follow the maxima of scores; and sums of weighted values, if there are any yet, follow the
    /// bases.
    template <int keys, int width>
    __device__ __forceinline__ void follow(const Sums<rows, keys>& scores, float scale,
                                           Sums<rows, width>& sums, bool has_sums) {
        float most[count];
        bool moves = false;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            most[i] = -infinity<float>;
#pragma unroll
            for (int j = 0; j < keys / 8; ++j) {
                const float* const pair = scores.block[i / 2][j] + i % 2 * 2;
                most[i] = fmaxf(most[i], fmaxf(pair[0], pair[1]));
            }
            most[i] = fmaxf(most[i], __shfl_xor_sync(0xffffffffu, most[i], 1));
            most[i] = fmaxf(most[i], __shfl_xor_sync(0xffffffffu, most[i], 2));
            moves = moves || fmaf(most[i], scale, -base_[i]) > slack;
        }
        if (!__any_sync(0xffffffffu, moves)) return;
        float rescale[count];
#pragma unroll
        for (int i = 0; i < count; ++i) {
            const bool follows = fmaf(most[i], scale, -base_[i]) > slack;
            const float base = follows ? most[i] * scale : base_[i];
            rescale[i] = follows ? power_of_two(base_[i] - base) : 1;
            base_[i] = base;
        }
        if (!has_sums) return;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            total_[i] *= rescale[i];
#pragma unroll
            for (int j = 0; j < width / 8; ++j) {
                sums.block[i / 2][j][i % 2 * 2] *= rescale[i];
                sums.block[i / 2][j][i % 2 * 2 + 1] *= rescale[i];
            }
        }
    }

    /// Scores to weights, in place, and the sums that a lane has of them.
    template <int keys>
    __device__ __forceinline__ void weigh(Sums<rows, keys>& scores, float scale,
                                          float (&added)[rows / 8]) const {
#pragma unroll
        for (float& sum : added) sum = 0;
#pragma unroll
        for (int j = 0; j < keys / 8; ++j)
#pragma unroll
            for (int i = 0; i < count; ++i) {
                float* const pair = scores.block[i / 2][j] + i % 2 * 2;
                pair[0] = power_of_two(fmaf(pair[0], scale, -base_[i]));
                pair[1] = power_of_two(fmaf(pair[1], scale, -base_[i]));
                added[i] += pair[0] + pair[1];
            }
    }

    /// Whether bases may stay as they are after sums of the weights of so many keys: none is beyond 2^slack
    /// by so much that they must follow.
    template <int keys>
    __device__ __forceinline__ bool fits(const float (&added)[rows / 8]) const {
        bool exceeds = false;
#pragma unroll
        for (const float sum : added) exceeds = exceeds || sum > power_of_slack * (keys / 4);
        return !__any_sync(0xffffffffu, exceeds);
    }

    __device__ __forceinline__ void add(const float (&added)[rows / 8]) {
#pragma unroll
        for (int i = 0; i < count; ++i) total_[i] += added[i];
    }

    /// Adds up what the lanes of a row have.
    __device__ __forceinline__ void finish() {
#pragma unroll
        for (float& sum : total_) {
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        }
    }
    /// Of a lane's row i, after that: what its sums are multiplied by, and its logarithm.
    __device__ __forceinline__ float inverse(int i) const {
        return total_[i] == 0 ? 0 : __fdividef(1, total_[i]);
    }
    __device__ __forceinline__ float log_sum_exp(int i) const {
        return total_[i] == 0 ? -infinity<float> : (base_[i] + __log2f(total_[i])) * log_of_2;
    }

private:
    static constexpr int count = rows / 8;
    static constexpr float slack = 8, power_of_slack = 256,
                           none = std::numeric_limits<float>::lowest();  // makes weights of scores infinite
    float base_[count], total_[count];
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
/// `query` the warp's first query. Keys have no other first than 0 where the call is not general.
template <bool is_general, int rows, int columns>
__device__ __forceinline__ void apply_masks(Sums<rows, columns>& scores, const WarpKeys& warp_keys,
                                            const kernel::AttentionMasks& masks, int batch, int head,
                                            int query, int last_query, int first) {
    const int first_of_lane = first + column_of_lane();
#pragma unroll
    for (int i = 0; i < rows / 8; ++i) {
        const int row = i * 8 + row_of_lane();
        const Keys seen = warp_keys.of(row);
        const int begin = seen.begin - first_of_lane, end = seen.end - first_of_lane;
        const bool* allowed = nullptr;
        if constexpr (is_general)
            if (masks.allowed != nullptr && query + row < last_query)
                allowed = masks.allowed_at(batch, head, query + row) + first_of_lane;
#pragma unroll
        for (int j = 0; j < columns / 4; ++j) {
            const int key = j / 2 * 8 + j % 2;
            float& score = scores.block[i / 2][j / 2][i % 2 * 2 + j % 2];
            bool counts = key < end;
            if constexpr (is_general) counts = counts && begin <= key && (allowed == nullptr || allowed[key]);
            if (!counts) score = -infinity<float>;
        }
    }
}

/// The order of blocks: the longest rows first, so that no block is left alone at the end, of as many heads
/// at a time as have keys and values that share the cache. The host divides what it can.
struct ForwardOrder {
    unsigned tiles, heads, group, all_heads, heads_at_once;

    ForwardOrder(const kernel::AttentionShape& shape, int queries)
        : tiles(static_cast<unsigned>((shape.query_length + queries - 1) / queries)),
          heads(static_cast<unsigned>(shape.heads)),
          group(shape.key_value_heads == 0 ? 1 : static_cast<unsigned>(shape.group())),
          all_heads(static_cast<unsigned>(shape.batch * shape.heads)) {
        constexpr std::int64_t cache_bytes = 24 << 20;
        const std::int64_t head_bytes = shape.key_length * (shape.key_width + shape.value_width) * 2;
        const auto fitting =
            static_cast<unsigned>(head_bytes < cache_bytes ? cache_bytes / (head_bytes + 1) : 1);
        const unsigned parts = (all_heads + fitting - 1) / fitting;
        heads_at_once = parts == 0 ? 1 : (all_heads + parts - 1) / parts;
    }

    unsigned blocks() const { return tiles * all_heads; }
};

/// Which queries a block has.
struct ForwardBlock {
    int query_tile, batch, head, key_value_head;

    __device__ ForwardBlock(const ForwardOrder& order, unsigned number) {
        const unsigned first = number / (order.heads_at_once * order.tiles) * order.heads_at_once,
                       rest = number - first * order.tiles, left = order.all_heads - first,
                       count = left < order.heads_at_once ? left : order.heads_at_once, row = rest / count,
                       own = first + rest - row * count;
        query_tile = static_cast<int>(order.tiles - 1 - row);
        batch = static_cast<int>(own / order.heads);
        head = static_cast<int>(own % order.heads);
        key_value_head = static_cast<int>(own % order.heads / order.group);
    }
};

/// FlashAttention-2's forward direction (Dao 2023): a block has the queries of one head, goes through keys
/// and values from the last to the first, the masked ones coming first, and never holds more than one tile of
/// scores.
template <class T, class Tiling, bool is_general>
__global__ void __launch_bounds__(Tiling::threads, Tiling::blocks)
    attention_forward_tiles(AttentionForward<T> call, ForwardOrder order) {
    using Shared = typename Tiling::template Shared<T>;
    constexpr int rows = Tiling::warp_queries, tile_keys = Tiling::keys, threads = Tiling::threads;
    unsigned char* const shared_bytes = attention_shared_memory();
    const kernel::AttentionShape& shape = call.shape;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / warp_size;
    const int query_length = static_cast<int>(shape.query_length),
              key_length = static_cast<int>(shape.key_length),
              value_width = static_cast<int>(shape.value_width);

    const ForwardBlock own(order, blockIdx.x);
    // Under causal order the last rows have most keys. The same warps of neighbouring blocks share a
    // scheduler, so every other block has its rows in reverse.
    const int part = own.query_tile % 2 == 0 ? warp : Tiling::warps - 1 - warp;
    const int warp_query = own.query_tile * Tiling::queries + part * rows, head = own.head, batch = own.batch;

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

    const T* const first_key = call.keys.at(batch, 0, own.key_value_head);
    const T* const first_value = call.values.at(batch, 0, own.key_value_head);
    const auto copy_tile = [&](int tile) {
        const int key = tile * tile_keys;
        typename Shared::KeyTile{stage(tile & 1)}.template copy<threads>(
            first_key + key * call.keys.time_stride, call.keys.time_stride, key_length - key,
            static_cast<int>(shape.key_width) / 8, thread);
        typename Shared::ValueTile{stage(tile & 1) + Shared::KeyTile::bytes}.template copy<threads>(
            first_value + key * call.values.time_stride, call.values.time_stride, key_length - key,
            value_width / 8, thread);
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
    constexpr bool looks_always = is_general || Tiling::looks_at_maxima;
    bool looks = true, has_sums = false;

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
        const RightTransposed<typename Shared::KeyTile> keys({stage(tile & 1)});
        const auto score = [&] {
            scores.clear();
            if constexpr (Tiling::holds_queries)
                multiply_add<T, Tiling::key_width / 16>(scores, queries, keys);
            else
                multiply_add<T, Tiling::key_width / 16>(scores, query_rows, keys);
            if constexpr (is_general)
                if (is_ruled)
                    apply_rule(
                        scores, rule,
                        key_length - query_length + warp_query + row_of_lane() - (key + column_of_lane()));
            if (!warp_keys.all_of(key, key + tile_keys) || (is_general && call.masks.allowed != nullptr))
                apply_masks<is_general>(scores, warp_keys, call.masks, batch, head, warp_query, query_length,
                                        key);
        };
        // At most twice: the second time if bases turned out to be too low.
        float added[rows / 8];
        for (bool fits = false; !fits;) {
            score();
            if (looks) softmax.follow(scores, scale, out, has_sums);
            softmax.weigh(scores, scale, added);
            fits = looks_always || looks || softmax.template fits<tile_keys>(added);
            if constexpr (!looks_always) looks = !fits || (looks && softmax.lacks_bases());
        }
        softmax.add(added);
        has_sums = true;
        const Right<typename Shared::ValueTile> values({stage(tile & 1) + Shared::KeyTile::bytes});
        multiply_add<T, tile_keys / 16>(out, rounded_factor<T>(scores), values);
    }

    softmax.finish();
    const int first_row = warp_query + row_of_lane();
    T* to = call.out.at(batch, first_row, head) + thread % 4 * 8;
#pragma unroll
    for (int i = 0; i < rows / 8; ++i) {
        const float inverse = softmax.inverse(i);
#pragma unroll
        for (int j = 0; j < Tiling::value_width / 32; ++j) {
            std::uint32_t pairs[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const float* const sums = out.block[i / 2][j * 4 + k] + i % 2 * 2;
                pairs[k] = rounded_pair<T>(sums[0] * inverse, sums[1] * inverse);
            }
            const uint4 chunk = chunk_of_lane(pairs);
            if (first_row + i * 8 < query_length && j * 32 + thread % 4 * 8 < value_width)
                *reinterpret_cast<uint4*>(to + j * 32) = chunk;
        }
        to += 8 * call.out.time_stride;
    }
    if (call.log_sum_exp != nullptr && thread % 4 == 0) {
        float* const sums =
            call.log_sum_exp + (std::int64_t{batch} * shape.heads + head) * query_length + first_row;
#pragma unroll
        for (int i = 0; i < rows / 8; ++i)
            if (first_row + i * 8 < query_length) sums[i * 8] = softmax.log_sum_exp(i);
    }
}

/// Launches the kernel; operands are aligned to 16 bytes, and so are their strides.
template <class T, class Tiling, bool is_general>
void attend_by_tiles(const AttentionForward<T>& call) {
    const ForwardOrder order(call.shape, Tiling::queries);
    launch(attention_forward_tiles<T, Tiling, is_general>,
           {order.blocks(), static_cast<unsigned>(Tiling::threads), Tiling::template Shared<T>::bytes}, call,
           order);
}

}  // namespace tenon::cuda
