#pragma once

#include <tenon/nn/self_attention.hpp>

namespace tenon {

/// The numbers of latent attention (see LatentAttention) that are no extents of a configuration's.
struct LatentSizes {
    int latent_width = 0;
    int query_latent_width = 0;  ///< 0: queries are made of the states themselves
    int rotary_width = 0;        ///< of a head's queries and keys, the part that is turned
    int value_width = 0;
    bool has_bias = false;
    double score_factor = 1;
};

namespace detail {

/// The attention of a block of these features, and how it is made. The latent one is in a header of its own,
/// so that other models do not pay for it.
template <class Setting, auto Width, auto Heads, auto KeyValueHeads, auto HeadWidth, class Features>
struct AttentionOf {
    static_assert(!Features::latent_attention,
                  "a model with latent attention needs #include <tenon/nn/latent_attention.hpp>");
};
template <class Setting, auto Width, auto Heads, auto KeyValueHeads, auto HeadWidth, class Features>
    requires(!Features::latent_attention)
struct AttentionOf<Setting, Width, Heads, KeyValueHeads, HeadWidth, Features> {
    using type = SelfAttention<Setting, Width, Heads, KeyValueHeads, HeadWidth, Features>;
    static type make(const SelfAttentionOptions& options, int width, int heads, int key_value_heads,
                     int head_width, const LatentSizes&) {
        return type(options, width, heads, key_value_heads, head_width);
    }
};

}  // namespace detail
}  // namespace tenon
