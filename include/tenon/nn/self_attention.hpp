#pragma once

#include <tenon/nn/linear.hpp>
#include <tenon/nn/norm.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/rotary/rotary.hpp>

namespace tenon {

/// The memory of a pass over whole sequences: none. (For generation see `inference/cache.hpp`.)
struct NoCache {
    static constexpr int length = 0;
};

/// The numbers of self-attention.
struct SelfAttentionOptions {
    RotaryPairs rotary_pairs = RotaryPairs::interleaved;
    AttentionOptions attention = {};
    double norm_epsilon = 1e-5;  ///< of queries and keys
};

/// Causal self-attention with grouped queries: [batch, time, Width] -> the same. Features (see
/// DefaultFeatures) say of positions, biases, and norms of queries and keys.
template <class Setting, auto Width, auto Heads, auto KeyValueHeads, auto HeadWidth,
          class Features = DefaultFeatures>
class SelfAttention {
    static constexpr auto query_width = times<Heads, HeadWidth>, key_width = times<KeyValueHeads, HeadWidth>;
    static constexpr bool has_bias = Features::query_key_value_bias,
                          is_rotary = Features::positions == Positions::rotary,
                          norms_heads = Features::query_key_norm == QueryKeyNorm::head,
                          norms_whole = Features::query_key_norm == QueryKeyNorm::whole;
    static constexpr NormKind norm_kind = Features::query_key_norm == QueryKeyNorm::none ? NormKind::none
                                          : Features::norm == NormKind::rms_plus_one ? NormKind::rms_plus_one
                                                                                     : NormKind::rms;

    /// The width of a norm of queries, or of keys.
    template <auto All>
    static constexpr auto norm_width = [] {
        if constexpr (norms_whole)
            return All;
        else
            return HeadWidth;
    }();

public:
    /// The lengths are needed where the types leave them open.
    explicit SelfAttention(const SelfAttentionOptions& options = {}, int width = bound_of(extent_code(Width)),
                           int heads = bound_of(extent_code(Heads)),
                           int key_value_heads = bound_of(extent_code(KeyValueHeads)),
                           int head_width = bound_of(extent_code(HeadWidth)))
        : query(heads * head_width, width),
          key(key_value_heads * head_width, width),
          value(key_value_heads * head_width, width),
          output(width, heads * head_width),
          query_norm(options.norm_epsilon, norms_whole ? heads * head_width : head_width),
          key_norm(options.norm_epsilon, norms_whole ? key_value_heads * head_width : head_width),
          options_(options),
          heads_(heads),
          key_value_heads_(key_value_heads),
          head_width_(head_width) {
        options_.attention.alibi = Features::positions == Positions::alibi;
    }

    /// `cache`: NoCache, or one layer's keys and values, which are extended by those of x; its `length` is
    /// the position of x, a number or, in the device's memory, a tensor [1] of one. `rotations`: a
    /// RotaryTable where positions are rotary, else ignored.
    template <TensorLike X, class Rotations, class Cache>
    auto operator()(const X& x, const Rotations& rotations, Cache&& cache) const {
        return output(attended(x, rotations, cache));
    }

    /// The result plus an addend, on a device whose products add.
    template <TensorLike X, class Rotations, class Cache, TensorLike Addend>
    auto added(const X& x, const Rotations& rotations, Cache&& cache, const Addend& addend) const {
        return output.added(attended(x, rotations, cache), addend);
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit.part("query", query);
        visit.part("key", key);
        visit.part("value", value);
        visit.part("output", output);
        visit.part("query_norm", query_norm);
        visit.part("key_norm", key_norm);
    }

    Linear<Setting, query_width, Width, has_bias> query;
    Linear<Setting, key_width, Width, has_bias> key, value;
    Linear<Setting, Width, query_width, Features::attention_output_bias> output;
    Norm<Setting, norm_width<query_width>, norm_kind> query_norm;
    Norm<Setting, norm_width<key_width>, norm_kind> key_norm;

private:
    /// What the heads gather, [batch, time, Heads · HeadWidth].
    template <class X, class Rotations, class Cache>
    auto attended(const X& x, const Rotations& rotations, Cache& cache) const {
        const auto q = positioned<Heads>(query(x), query_norm, heads_, rotations, cache.length);
        const auto k = positioned<KeyValueHeads>(key(x), key_norm, key_value_heads_, rotations, cache.length);
        const auto v = split_axis<2, KeyValueHeads, HeadWidth>(value(x), key_value_heads_, head_width_);
        if constexpr (std::same_as<std::remove_cvref_t<Cache>, NoCache>) {
            return merge_axes<2>(attention(q, k, v, options_.attention));
        } else if constexpr (requires { cache.attend(q, k, v, options_.attention); }) {
            return merge_axes<2>(cache.attend(q, k, v, options_.attention));
        } else {
            const auto seen = cache.extend(k, v);
            return merge_axes<2>(attention(q, seen.keys, seen.values, options_.attention));
        }
    }

    /// Queries or keys [batch, time, count · HeadWidth], by head, normed and turned.
    template <auto Count, class X, class QueryKeyNormLayer, class Rotations, class Position>
    auto positioned(X&& x, const QueryKeyNormLayer& norm, int count, const Rotations& rotations,
                    const Position& first_position) const {
        auto by_head = [&] {
            if constexpr (norms_heads)
                return norm(split_axis<2, Count, HeadWidth>(std::forward<X>(x), count, head_width_));
            else if constexpr (norms_whole)
                return split_axis<2, Count, HeadWidth>(norm(std::forward<X>(x)), count, head_width_);
            else
                return split_axis<2, Count, HeadWidth>(std::forward<X>(x), count, head_width_);
        };
        if constexpr (is_rotary)
            return rotary(by_head(), rotations, options_.rotary_pairs, first_position);
        else
            return by_head();
    }

    SelfAttentionOptions options_;
    int heads_, key_value_heads_, head_width_;
};

}  // namespace tenon
