#pragma once

#include <cstdint>
#include <type_traits>

#include <tenon/cuda/architecture.cuh>
#include <tenon/cuda/turn.cuh>
#include <tenon/cuda/warp_roles.cuh>
#include <tenon/op/attention/cuda_backward_tiling.cuh>

namespace tenon::cuda {

/// Which queries attend to keys of a tile, and which tiles of keys a tile of queries attends to, as far as
/// causal order and window say.
template <class Tiling>
struct BackwardRange {
    int query_length, position /* of query 0 */, query_tiles, key_tiles, window;
    bool is_causal;

    __device__ BackwardRange(const kernel::AttentionShape& shape, const AttentionOptions& options)
        : query_length(static_cast<int>(shape.query_length)),
          position(static_cast<int>(shape.key_length - shape.query_length)),
          query_tiles((query_length + Tiling::queries - 1) / Tiling::queries),
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

/// Which keys a block has: those that most queries attend to first, as turns come in this order, and so that
/// no block is left alone at the end; of 32 heads at a time, which share the cache.
struct BackwardBlock {
    int key_tile, key_value_head, batch;

    __device__ BackwardBlock(const kernel::AttentionShape& shape, int tiles, int number) {
        const int groups = static_cast<int>(shape.key_value_heads),
                  all = groups * static_cast<int>(shape.batch), together = all < 32 ? all : 32;
        const int first = number / (together * tiles) * together, rest = number % (together * tiles),
                  count = all - first < together ? all - first : together;
        key_tile = rest / count;
        key_value_head = (first + rest % count) % groups;
        batch = (first + rest % count) / groups;
    }
};

/// A tile of queries of one head of a group. Those of a block come from the last to the first, each of all
/// heads.
struct BackwardStep {
    int tile, head;

    __device__ void advance(int group) {
        if (++head < group) return;
        head = 0;
        --tile;
    }
};

/// FlashAttention-2's backward direction (Dao 2023), made deterministic: a block has a tile of keys and
/// values; all queries that attend to them move past, of each head of the group in turn. Scores lie with the
/// keys as rows, so that weights and gradients of scores are left factors where they lie. The queries'
/// gradient is summed up in memory, from the first tile of keys to the last; beside the warps that compute,
/// one waits for the block's turns to add to it, and passes them on, so that nobody else waits for memory.
template <class T, class Tiling, bool is_general>
__global__ void __launch_bounds__(Tiling::all_threads, is_sm_90a ? Tiling::blocks : 1)
    attention_backward_tiles(AttentionBackward<T> call, const QueryTerms* terms, QuerySums query_sums) {
    using Shared = typename Tiling::template Shared<T>;
    constexpr int rows = Tiling::warp_keys, tile_queries = Tiling::queries, part = Tiling::part,
                  threads = Tiling::threads;
    unsigned char* const shared_bytes = attention_shared_memory();
    const kernel::AttentionShape& shape = call.shape;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / warp_size;
    const BackwardRange<Tiling> range(shape, call.options);
    const BackwardBlock own(shape, range.key_tiles, static_cast<int>(ticket(query_sums.turns)));
    const int batch = own.batch, key_value_head = own.key_value_head, group = static_cast<int>(shape.group()),
              first_head = key_value_head * group;
    const int query_length = range.query_length, key_length = static_cast<int>(shape.key_length),
              position = range.position;
    const int first_tile = range.begin(own.key_tile), last_tile = range.end(own.key_tile) - 1;
    const bool wants_queries = call.grad_queries.is_wanted();
    // Barriers: of the warps that compute; of these and the one that waits for turns, before they add to sums
    // in memory, and when they have.
    constexpr int computing = 1, turn_is_here = 2, sums_are_there = 3, with_turns = threads + warp_size;
    if (warp >= Tiling::warps) {
        give_registers<Tiling::turn_registers>();
        if (warp > Tiling::warps || !wants_queries) return;
        unsigned* const turns =
            query_sums.turns + 1 + (std::int64_t{batch} * shape.heads + first_head) * range.query_tiles;
        for (BackwardStep step{last_tile, 0}; step.tile >= first_tile; step.advance(group)) {
            unsigned* const turn = turns + step.head * range.query_tiles + step.tile;
            const auto number = static_cast<unsigned>(own.key_tile - range.first_key_tile(step.tile));
            if (number > 0) wait_for_turn(turn, number);
            arrive_at_barrier<turn_is_here, with_turns>();
            wait_at_barrier<sums_are_there, with_turns>();
            pass_turn(turn, number + 1);
        }
        return;
    }
    take_registers<Tiling::registers>();
    const int key = own.key_tile * Tiling::keys, warp_row = warp / Tiling::sharing * rows,
              warp_key = key + warp_row, share = warp % Tiling::sharing;
    const int key_chunks = static_cast<int>(shape.key_width) / 8,
              value_chunks = static_cast<int>(shape.value_width) / 8;

    const std::uint32_t base = shared_address(shared_bytes);
    const typename Shared::Keys keys{base};
    const typename Shared::Values values{base + Shared::Keys::bytes};
    const auto score_gradients_of = [&](int i) {
        return typename Shared::Scores{base + Shared::Keys::bytes + Shared::Values::bytes +
                                       (Tiling::sharing == 1 && (i & 1) ? Shared::Scores::bytes : 0)};
    };
    const typename Shared::Scores weights_tile{base + Shared::Keys::bytes + Shared::Values::bytes +
                                               Shared::Scores::bytes};  // if warps share keys
    keys.template copy<threads>(call.keys.at(batch, key, key_value_head), call.keys.time_stride,
                                key_length - key, key_chunks, thread);
    values.template copy<threads>(call.values.at(batch, key, key_value_head), call.values.time_stride,
                                  key_length - key, value_chunks, thread);

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
    const auto copy_tile = [&](int i, BackwardStep step) {
        const int head = first_head + step.head, query = step.tile * tile_queries;
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
    BackwardStep before{}, now{last_tile, 0}, ahead = now;
    if (now.tile >= first_tile) copy_tile(0, now);
    commit_copies();

    constexpr int key_columns = Tiling::key_width / Tiling::sharing,
                  value_columns = Tiling::value_width / Tiling::sharing,
                  own_queries = tile_queries / Tiling::sharing;
    Sums<rows, key_columns> grad_keys;
    Sums<rows, value_columns> grad_values;
    grad_keys.clear();
    grad_values.clear();
    const Left<typename Shared::Keys> key_rows(keys, warp_row);
    const Left<typename Shared::Values> value_rows(values, warp_row);
    const float scale = tenon::detail::ScoreRule<float>(shape, call.options, 0).scale;
    const auto add_grad_queries = [&](int i, BackwardStep step) {
        constexpr int row_parts = tile_queries / Tiling::query_rows;
        const int row = warp % row_parts * Tiling::query_rows,
                  column = warp / row_parts * Tiling::query_columns;
        Sums<Tiling::query_rows, Tiling::query_columns> sums;
        sums.clear();
        multiply_add<T, Tiling::keys / 16>(
            sums, LeftTransposed<typename Shared::Scores>(score_gradients_of(i), row / 16),
            Right<typename Shared::Keys>(keys, 0, column / 16));
        const int head = first_head + step.head, first = range.first_key_tile(step.tile);
        const PartialSums<Tiling::query_rows, Tiling::query_columns> partial(
            query_sums.sums,
            ((std::int64_t{batch} * shape.heads + head) * range.query_tiles + step.tile) * Tiling::warps +
                warp);
        if (own.key_tile == range.last_key_tile(step.tile)) {
            if (own.key_tile > first) partial.add_to(sums);
            contribute_sums(sums, scale, call.grad_queries, batch, head, step.tile * tile_queries + row,
                            column);
        } else if (own.key_tile > first) {
            partial.add(sums);
        } else {
            partial.store(sums);
        }
        arrive_at_barrier<sums_are_there, with_turns>();
    };
    // Waits for all warps that compute and, with `for_turn`, for the turn to add the queries' gradient.
    const auto wait = [&](bool for_turn) {
        if (for_turn && wants_queries)
            wait_at_barrier<turn_is_here, with_turns>();
        else
            wait_at_barrier<computing, threads>();
    };

    int i = 0;
    for (; now.tile >= first_tile; ++i, before = now, now = ahead) {
        wait_copies<0>();
        wait(Tiling::sharing == 1 && i > 0);
        ahead.advance(group);
        if (ahead.tile >= first_tile) copy_tile(i + 1, ahead);
        commit_copies();
        if (Tiling::sharing == 1 && wants_queries && i > 0) add_grad_queries(i - 1, before);
        const int query = now.tile * tile_queries;
        const tenon::detail::ScoreRule<float> rule(shape, call.options, first_head + now.head);
#pragma unroll 1
        for (int first = share * own_queries; first < (share + 1) * own_queries; first += part) {
            const int first_position = position + query + first;
            if (range.is_causal && warp_key >= first_position + part) {
                const Factor<T, rows, part> none{};
                store_factor(none, score_gradients_of(i), warp_row, first);
                if constexpr (Tiling::sharing > 1) store_factor(none, weights_tile, warp_row, first);
                continue;
            }
            const QueryTerms* const query_terms = terms_of(i) + first;
            Sums<rows, part> scores, gradients;
            scores.clear();
            multiply_add<T, Tiling::key_width / 16>(
                scores, key_rows, RightTransposed<typename Shared::Queries>(queries_of(i), first));
            Sums<rows, part> weights;
            const auto weigh = [&](auto is_cut) {
#pragma unroll
                for (int j = 0; j < part / 4; ++j) {
                    const int column = j / 2 * 8 + column_of_lane() + j % 2;
                    const float log2_sum = query_terms[column].log2_sum;
                    Keys seen{0, range.is_causal ? first_position + column + 1 : key_length};
                    [[maybe_unused]] const bool* allowed = nullptr;
                    if constexpr (is_general) {
                        seen = keys_of(i)[first + column];
                        if (call.masks.allowed != nullptr && query + first + column < query_length)
                            allowed =
                                call.masks.allowed_at(batch, first_head + now.head, query + first + column);
                    }
#pragma unroll
                    for (int k = 0; k < rows / 8; ++k) {
                        const int row_key = warp_key + k * 8 + row_of_lane();
                        bool counts = !decltype(is_cut)::value || seen.holds(row_key);
                        if constexpr (is_general)
                            if (allowed != nullptr) counts = counts && allowed[row_key];
                        weights.block[k / 2][j / 2][k % 2 * 2 + j % 2] = to_weight<is_general>(
                            rule, scale * log2_of_e, first_position + column - row_key, log2_sum, counts,
                            scores.block[k / 2][j / 2][k % 2 * 2 + j % 2]);
                    }
                }
            };
            if (is_general || warp_key + rows > key_length ||
                (range.is_causal && warp_key + rows - 1 > first_position))
                weigh(std::true_type());
            else
                weigh(std::false_type());
            const Factor<T, rows, part> weight_factor = rounded_factor<T>(weights);
            if constexpr (Tiling::sharing > 1) store_factor(weight_factor, weights_tile, warp_row, first);
#pragma unroll
            for (int j = 0; j < part / 4; ++j) {
                const float delta = query_terms[j / 2 * 8 + column_of_lane() + j % 2].delta;
#pragma unroll
                for (int k = 0; k < rows / 8; ++k) gradients.block[k / 2][j / 2][k % 2 * 2 + j % 2] = -delta;
            }
            multiply_add<T, Tiling::value_width / 16>(
                gradients, value_rows, RightTransposed<typename Shared::GradOut>(grad_out_of(i), first));
#pragma unroll
            for (int j = 0; j < part / 8; ++j)
#pragma unroll
                for (int k = 0; k < rows / 16; ++k)
#pragma unroll
                    for (int l = 0; l < 4; ++l) gradients.block[k][j][l] *= scores.block[k][j][l];
            const Factor<T, rows, part> gradient_factor = rounded_factor<T>(gradients);
            store_factor(gradient_factor, score_gradients_of(i), warp_row, first);
            if constexpr (Tiling::sharing == 1) {
                multiply_add<T, part / 16>(grad_values, weight_factor,
                                           Right<typename Shared::GradOut>(grad_out_of(i), first));
                multiply_add<T, part / 16>(grad_keys, gradient_factor,
                                           Right<typename Shared::Queries>(queries_of(i), first));
            }
        }
        if constexpr (Tiling::sharing > 1) {
            wait(true);  // the weights and the gradients of all scores are there
            if (wants_queries) add_grad_queries(i, now);
            multiply_add<T, tile_queries / 16>(
                grad_values, Left<typename Shared::Scores>(weights_tile, warp_row),
                Right<typename Shared::GradOut>(grad_out_of(i), 0, share * value_columns / 16));
            multiply_add<T, tile_queries / 16>(
                grad_keys, Left<typename Shared::Scores>(score_gradients_of(i), warp_row),
                Right<typename Shared::Queries>(queries_of(i), 0, share * key_columns / 16));
        }
    }
    wait(Tiling::sharing == 1 && i > 0);  // the stages' memory is free, too
    if (Tiling::sharing == 1 && wants_queries && i > 0) add_grad_queries(i - 1, before);

    float* const scratch =
        reinterpret_cast<float*>(shared_bytes + Shared::rows_bytes + warp * Shared::gradient_bytes);
    if (call.grad_keys.is_wanted())
        contribute_rows<Shared::padded_width>(grad_keys, scale, scratch, call.grad_keys, batch,
                                              key_value_head, warp_key, share * key_columns);
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
    const std::size_t turn_bytes = static_cast<std::size_t>(1 + query_tiles) * sizeof(unsigned);
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
            static_cast<unsigned>(Tiling::all_threads), Tiling::template Shared<T>::bytes},
           call, static_cast<const QueryTerms*>(terms.data()),
           QuerySums{static_cast<float4*>(sums.data()), static_cast<unsigned*>(turns.data())});
}

}  // namespace tenon::cuda
