#pragma once

#include <tenon/nn/linear.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/rotary/rotary.hpp>

namespace tenon {

/// The memory of a pass over whole sequences: none. (For generation see `inference/cache.hpp`.)
struct NoCache {
    static constexpr int length = 0;
};

/// Causal self-attention with rotary positions and grouped queries: [batch, time, Width] -> the same.
template <class Setting, auto Width, auto Heads, auto KeyValueHeads, auto HeadWidth>
class SelfAttention {
public:
    /// The lengths are needed where the types leave them open.
    explicit SelfAttention(RotaryPairs pairs, int width = bound_of(extent_code(Width)),
                           int heads = bound_of(extent_code(Heads)),
                           int key_value_heads = bound_of(extent_code(KeyValueHeads)),
                           int head_width = bound_of(extent_code(HeadWidth)))
        : query(heads * head_width, width),
          key(key_value_heads * head_width, width),
          value(key_value_heads * head_width, width),
          output(width, heads * head_width),
          pairs_(pairs),
          heads_(heads),
          key_value_heads_(key_value_heads),
          head_width_(head_width) {}

    /// `cache`: NoCache, or one layer's keys and values, which are extended by those of x.
    template <TensorLike X, class Rotations, class Cache>
    auto operator()(const X& x, const Rotations& rotations, Cache&& cache) const {
        auto q = rotary(split_axis<2, Heads, HeadWidth>(query(x), heads_, head_width_), rotations, pairs_,
                        cache.length);
        auto k = rotary(split_axis<2, KeyValueHeads, HeadWidth>(key(x), key_value_heads_, head_width_),
                        rotations, pairs_, cache.length);
        auto v = split_axis<2, KeyValueHeads, HeadWidth>(value(x), key_value_heads_, head_width_);
        if constexpr (std::same_as<std::remove_cvref_t<Cache>, NoCache>) {
            return output(merge_axes<2>(attention(q, k, v)));
        } else {
            const auto seen = cache.extend(k, v);
            return output(merge_axes<2>(attention(q, seen.keys, seen.values)));
        }
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit.part("query", query);
        visit.part("key", key);
        visit.part("value", value);
        visit.part("output", output);
    }

    Linear<Setting, times<Heads, HeadWidth>, Width> query;
    Linear<Setting, times<KeyValueHeads, HeadWidth>, Width> key, value;
    Linear<Setting, Width, times<Heads, HeadWidth>> output;

private:
    RotaryPairs pairs_;
    int heads_, key_value_heads_, head_width_;
};

}  // namespace tenon
