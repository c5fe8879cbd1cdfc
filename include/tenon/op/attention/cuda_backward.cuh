#pragma once

#include <cstdint>

#include <tenon/cuda/turn.cuh>
#include <tenon/op/attention/cuda_backward_tiling.cuh>

namespace tenon::cuda {

/// Which queries attend to keys of a tile, and which tiles of keys a tile of queries attends to, as far as
/// causal order and window say.
template <class Tiling>
struct BackwardRange {
    int query_length, position /* of query 0 */, key_tiles, window;
    bool is_causal;

    __device__ BackwardRange(const kernel::AttentionShape& shape, const AttentionOptions& options)
        : query_length(static_cast<int>(shape.query_length)),
          position(static_cast<int>(shape.key_length - shape.query_length)),
          key_tiles(static_cast<int>((shape.key_length + Tiling::keys - 1) / Tiling::keys)),
          window(options.window),
          is_causal(options.causal || options.window > 0) {}

    /// Tiles of queries [begin, end) for a tile of keys; the first tile of keys takes all before too, to
    /// whose queries no key is left.
    __device__ int begin(int key_tile) const {
        const int key = key_tile * Tiling::keys;
        return is_causal && key_tile > 0 && key > position ? (key - position) / Tiling::queries : 0;
    }
    __device__ int end(int key_tile) const {
        const int last = (key_tile + 1) * Tiling::keys - 1 - position;
        const int queries = window > 0 && last < query_length - window ? last + window : query_length;
        return queries > 0 ? (queries - 1) / Tiling::queries + 1 : 0;
    }
    /// The first and the last tile of keys that take a tile of queries.
    __device__ int first_key_tile(int tile) const {
        const int key = tile * Tiling::queries + position - window + 1;
        return window > 0 && key > 0 ? key / Tiling::keys : 0;
    }
    __device__ int last_key_tile(int tile) const {
        const int key = (tile + 1) * Tiling::queries - 1 + position;
        if (!is_causal) return key_tiles - 1;
        return key < 0 ? 0 : key / Tiling::keys < key_tiles ? key / Tiling::keys : key_tiles - 1;
    }
};

/// Which keys a block has: tiles from the last to the first, as turns come in this order, of 32 heads at a
/// time, which share the cache and leave no block alone at the end.
struct BackwardBlock {
    int key_tile, key_value_head, batch;

    __device__ BackwardBlock(const kernel::AttentionShape& shape, int tiles, int number) {
        const int groups = static_cast<int>(shape.key_value_heads),
                  all = groups * static_cast<int>(shape.batch), together = all < 32 ? all : 32;
        const int first = number / (together * tiles) * together, rest = number % (together * tiles),
                  count = all - first < together ? all - first : together;
        key_tile = tiles - 1 - rest / count;
        key_value_head = (first + rest % count) % groups;
        batch = (first + rest % count) / groups;
    }
};

/// FlashAttention-2's backward direction (Dao 2023), made deterministic: a block has a tile of keys and
/// values; all queries that attend to them move past, of each head of the group in turn. Scores lie with the
/// keys as rows, so that weights and gradients of scores are left factors where they lie. The queries'
/// gradient is summed up in memory, from the last tile of keys to the first.
template <class T, class Tiling, bool is_general>
__global__ void __launch_bounds__(Tiling::threads, Tiling::blocks)
    attention_backward_tiles(AttentionBackward<T> call, const QueryTerms* terms, QuerySums query_sums) {
    using Shared = typename Tiling::template Shared<T>;
    constexpr int rows = Tiling::warp_keys, tile_queries = Tiling::queries, part = Tiling::part,
                  threads = Tiling::threads;
    unsigned char* const shared_bytes = attention_shared_memory();
    const kernel::AttentionShape& shape = call.shape;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / warp_size, lane = thread % warp_size;
    const BackwardRange<Tiling> range(shape, call.options);
    const BackwardBlock own(shape, range.key_tiles, static_cast<int>(ticket(query_sums.turns)));
    const int batch = own.batch, key_value_head = own.key_value_head, group = static_cast<int>(shape.group());
    const int query_length = range.query_length, key_length = static_cast<int>(shape.key_length),
              position = range.position;
    const int key = own.key_tile * Tiling::keys, warp_row = warp / Tiling::sharing * rows,
              warp_key = key + warp_row, share = warp % Tiling::sharing;
    const int key_chunks = static_cast<int>(shape.key_width) / 8,
              value_chunks = static_cast<int>(shape.value_width) / 8;

    const std::uint32_t base = shared_address(shared_bytes);
    const typename Shared::Keys keys{base};
    const typename Shared::Values values{base + Shared::Keys::bytes};
    const typename Shared::Gradients score_gradients{base + Shared::Keys::bytes + Shared::Values::bytes};
    keys.template copy<threads>(call.keys.at(batch, key, key_value_head), call.keys.time_stride,
                                key_length - key, key_chunks, thread);
    values.template copy<threads>(call.values.at(batch, key, key_value_head), call.values.time_stride,
                                  key_length - key, value_chunks, thread);

    const int first_tile = range.begin(own.key_tile), head_tiles = range.end(own.key_tile) - first_tile,
              count = head_tiles > 0 ? head_tiles * group : 0;
    const auto stage = [&](int i) { return Shared::rows_bytes + (i & 1) * Shared::stage_bytes; };
    const auto queries_of = [&](int i) {
        return typename Shared::Queries{base + static_cast<std::uint32_t>(stage(i))};
    };
    const auto grad_out_of = [&](int i) {
        return typename Shared::GradOut{base + static_cast<std::uint32_t>(stage(i) + Shared::Queries::bytes)};
    };
    const auto terms_of = [&](int i) {
        return reinterpret_cast<QueryTerms*>(shared_bytes + stage(i) + Shared::stage_bytes -
                                             Shared::terms_bytes);
    };
    const auto keys_of = [&](int i) { return reinterpret_cast<Keys*>(terms_of(i) + tile_queries); };
    const auto copy_tile = [&](int i) {
        const int head = key_value_head * group + i / head_tiles,
                  query = (first_tile + i % head_tiles) * tile_queries;
        queries_of(i).template copy<threads>(call.queries.at(batch, query, head), call.queries.time_stride,
                                             query_length - query, key_chunks, thread);
        grad_out_of(i).template copy<threads>(call.grad_out.at(batch, query, head), call.grad_out.time_stride,
                                              query_length - query, value_chunks, thread);
        if (thread < tile_queries) {
            // Of queries past the end, zeros: their gradients of the result are zeros too.
            const bool exists = query + thread < query_length;
            copy_async_8(shared_address(terms_of(i) + thread),
                         terms + (std::int64_t{batch} * shape.heads + head) * query_length +
                             (exists ? query + thread : 0),
                         exists);
            if constexpr (is_general)
                keys_of(i)[thread] =
                    exists ? keys_of_query(shape, call.options, call.masks, batch, query + thread)
                           : Keys{0, 0};
        }
    };
    if (count > 0) copy_tile(0);
    commit_copies();

    constexpr int key_columns = Tiling::key_width / Tiling::sharing,
                  value_columns = Tiling::value_width / Tiling::sharing;
    Sums<rows, key_columns> grad_keys;
    Sums<rows, value_columns> grad_values;
    grad_keys.clear();
    grad_values.clear();
    const Left<typename Shared::Keys> key_rows(keys, warp_row);
    const Left<typename Shared::Values> value_rows(values, warp_row);
    const bool wants_queries = call.grad_queries.is_wanted();
    unsigned *turn = nullptr, next_turn = 0;  // to be passed

    for (int i = 0; i < count; ++i) {
        wait_copies<0>();
        __syncthreads();
        if (i + 1 < count) copy_tile(i + 1);
        commit_copies();
        const int head = key_value_head * group + i / head_tiles, tile = first_tile + i % head_tiles,
                  query = tile * tile_queries;
        const tenon::detail::ScoreRule<float> rule(shape, call.options, head);
        const float scale = rule.scale * log2_of_e;
#pragma unroll 1
        for (int first = 0; first < tile_queries; first += part) {
            const int first_position = position + query + first;
            Sums<rows, part> scores, gradients;
            gradients.clear();
            if (!range.is_causal || warp_key < first_position + part) {
                const bool is_cut = is_general || (range.is_causal && warp_key + rows - 1 > first_position);
                scores.clear();
                multiply_add<T, Tiling::key_width / 16>(
                    scores, key_rows, RightTransposed<typename Shared::Queries>(queries_of(i), first));
                multiply_add<T, Tiling::value_width / 16>(
                    gradients, value_rows, RightTransposed<typename Shared::GradOut>(grad_out_of(i), first));
#pragma unroll
                for (int j = 0; j < part / 4; ++j) {
                    const int column = first + j / 2 * 8 + column_of_lane() + j % 2;
                    const QueryTerms query_terms = terms_of(i)[column];
                    Keys seen{0, position + query + column + 1};
                    const bool* allowed = nullptr;
                    if constexpr (is_general) {
                        seen = keys_of(i)[column];
                        if (call.masks.allowed != nullptr && query + column < query_length)
                            allowed = call.masks.allowed_at(batch, head, query + column);
                    }
#pragma unroll
                    for (int k = 0; k < rows / 8; ++k) {
                        const int row_key = warp_key + k * 8 + row_of_lane();
                        bool counts = !is_cut || seen.holds(row_key);
                        if constexpr (is_general)
                            if (allowed != nullptr) counts = counts && allowed[row_key];
                        to_weight_and_gradient<is_general>(rule, scale, position + query + column - row_key,
                                                           query_terms, counts,
                                                           scores.block[k / 2][j / 2][k % 2 * 2 + j % 2],
                                                           gradients.block[k / 2][j / 2][k % 2 * 2 + j % 2]);
                    }
                }
                multiply_add<T, part / 16>(
                    grad_values, rounded_factor<T>(scores),
                    Right<typename Shared::GradOut>(grad_out_of(i), first, share * value_columns / 16));
                const Factor<T, rows, part> left = rounded_factor<T>(gradients);
                if (share == 0) store_factor(left, score_gradients, warp_row, first);
                multiply_add<T, part / 16>(
                    grad_keys, left,
                    Right<typename Shared::Queries>(queries_of(i), first, share * key_columns / 16));
            } else if (share == 0) {
                store_factor(rounded_factor<T>(gradients), score_gradients, warp_row, first);
            }
        }
        if (turn != nullptr) pass_turn(turn, next_turn);
        turn = nullptr;
        if (!wants_queries) continue;

        __syncthreads();  // the gradients of all scores are there
        constexpr int row_parts = tile_queries / Tiling::query_rows,
                      vectors = Tiling::query_rows / 16 * Tiling::query_columns / 8;
        const int row = warp % row_parts * Tiling::query_rows,
                  column = warp / row_parts * Tiling::query_columns;
        const int last = range.last_key_tile(tile);
        const std::int64_t place =
            ((std::int64_t{batch} * shape.heads + head) * ((query_length + tile_queries - 1) / tile_queries) +
             tile) *
                Tiling::warps +
            warp;
        float4* const partial = query_sums.sums + place * vectors * warp_size + lane;
        float4 before[vectors] = {};
        if (own.key_tile != last) {
            wait_for_turn(query_sums.turns + 1 + place, static_cast<unsigned>(last - own.key_tile));
#pragma unroll
            for (int j = 0; j < vectors; ++j) before[j] = __ldcg(partial + j * warp_size);
        }
        Sums<Tiling::query_rows, Tiling::query_columns> sums;
        sums.clear();
        multiply_add<T, Tiling::keys / 16>(
            sums, LeftTransposed<typename Shared::Gradients>(score_gradients, row / 16),
            Right<typename Shared::Keys>(keys, 0, column / 16));
#pragma unroll
        for (int j = 0; j < vectors; ++j) {
            float(&sum)[4] = sums.block[j / (Tiling::query_columns / 8)][j % (Tiling::query_columns / 8)];
            sum[0] += before[j].x;
            sum[1] += before[j].y;
            sum[2] += before[j].z;
            sum[3] += before[j].w;
        }
        if (own.key_tile != range.first_key_tile(tile)) {
#pragma unroll
            for (int j = 0; j < vectors; ++j) {
                const float(&sum)[4] =
                    sums.block[j / (Tiling::query_columns / 8)][j % (Tiling::query_columns / 8)];
                __stcg(partial + j * warp_size, make_float4(sum[0], sum[1], sum[2], sum[3]));
            }
            // Passed on when the next tile's scores have hidden the wait for memory.
            turn = query_sums.turns + 1 + place;
            next_turn = static_cast<unsigned>(last - own.key_tile + 1);
        } else {
            contribute_sums(sums, rule.scale, call.grad_queries, batch, head, query + row, column);
        }
    }
    if (turn != nullptr) pass_turn(turn, next_turn);

    __syncthreads();  // the stages' memory is free
    float* const scratch =
        reinterpret_cast<float*>(shared_bytes + Shared::rows_bytes + warp * Shared::gradient_bytes);
    if (call.grad_keys.is_wanted())
        contribute_rows<Shared::padded_width>(
            grad_keys, tenon::detail::ScoreRule<float>(shape, call.options, 0).scale, scratch, call.grad_keys,
            batch, key_value_head, warp_key, share * key_columns);
    if (call.grad_values.is_wanted())
        contribute_rows<Shared::padded_width>(grad_values, 1, scratch, call.grad_values, batch,
                                              key_value_head, warp_key, share * value_columns);
}

/// Launches the kernels; operands are aligned to 16 bytes, and so are their strides, and there are queries
/// and keys.
template <class T, class Tiling, bool is_general>
void attend_backward_by_tiles(const AttentionBackward<T>& call) {
    const kernel::AttentionShape& shape = call.shape;
    constexpr int width = Tiling::value_width, lanes = width <= 32    ? 4
                                                       : width <= 64  ? 8
                                                       : width <= 128 ? 16
                                                                      : 32;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length;
    const Storage terms(Memory<Cuda>::allocate(static_cast<std::size_t>(rows) * sizeof(QueryTerms)));
    launch(attention_query_terms<T, lanes>, {static_cast<unsigned>((rows * lanes + 255) / 256), 256}, call,
           static_cast<QueryTerms*>(terms.data()));
    const std::int64_t query_tiles =
        (shape.query_length + Tiling::queries - 1) / Tiling::queries * shape.batch * shape.heads;
    const std::size_t turn_bytes =
        static_cast<std::size_t>(1 + query_tiles * Tiling::warps) * sizeof(unsigned);
    const Storage turns(Memory<Cuda>::allocate(turn_bytes));
    check(cudaMemsetAsync(turns.data(), 0, turn_bytes, current_stream()), "cudaMemsetAsync");
    // Sums wait only where queries attend to several tiles of keys.
    const bool has_sums = call.grad_queries.is_wanted() && shape.key_length > Tiling::keys;
    const Storage sums(Memory<Cuda>::allocate(
        has_sums ? static_cast<std::size_t>(query_tiles) * Tiling::queries * Tiling::key_width * sizeof(float)
                 : 1));
    const std::int64_t key_tiles = (shape.key_length + Tiling::keys - 1) / Tiling::keys;
    launch(attention_backward_tiles<T, Tiling, is_general>,
           {static_cast<unsigned>(key_tiles * shape.batch * shape.key_value_heads),
            static_cast<unsigned>(Tiling::threads), Tiling::template Shared<T>::bytes},
           call, static_cast<const QueryTerms*>(terms.data()),
           QuerySums{static_cast<float4*>(sums.data()), static_cast<unsigned*>(turns.data())});
}

}  // namespace tenon::cuda
