#pragma once

#include <tenon/nn/dropout.hpp>
#include <tenon/nn/feed_forward.hpp>
#include <tenon/nn/norm.hpp>
#include <tenon/nn/self_attention.hpp>

namespace tenon {

/// A block of a Transformer: attention, then the feed-forward layer, each added to the residual that passes
/// through. Features (see DefaultFeatures) say where norms are, and whether both branches run in parallel.
template <class Setting, class AttentionLayer, auto Width, auto Hidden, class Features = DefaultFeatures>
class Block {
    static constexpr NormPlacement placement = Features::placement;
    static_assert(
        block_fits(Features::parallel, placement),
        "a block with parallel branches has its norms before them: placement is NormPlacement::pre");
    using BranchNorm = Norm<Setting, Width, Features::norm>;
    using OutputNorm =
        Norm<Setting, Width, placement == NormPlacement::both ? Features::norm : NormKind::none>;

public:
    Block(AttentionLayer attention_layer, double norm_epsilon, int width = bound_of(extent_code(Width)),
          int hidden = bound_of(extent_code(Hidden)))
        : attention_norm(norm_epsilon, width),
          attention(std::move(attention_layer)),
          attention_output_norm(norm_epsilon, width),
          feed_forward_norm(norm_epsilon, width),
          feed_forward(width, hidden),
          feed_forward_output_norm(norm_epsilon, width) {}

    template <TensorLike X, class Rotations, class Cache, class Drop = NoDropout>
    X operator()(const X& x, const Rotations& rotations, Cache&& cache, const Drop& drop = {}) const {
        if constexpr (Features::parallel) {
            return x + drop(attention(attention_norm(x), rotations, cache), 0) +
                   drop(feed_forward(feed_forward_norm(x)), 1);
        } else if constexpr (placement == NormPlacement::pre && product_adds<typename Setting::Device> &&
                             std::same_as<Drop, NoDropout>) {
            const auto h = attention.added(attention_norm(x), rotations, cache, x);
            return feed_forward.added(feed_forward_norm(h), h);
        } else if constexpr (placement == NormPlacement::pre) {
            Tensor h = x + drop(attention(attention_norm(x), rotations, cache), 0);
            return h + drop(feed_forward(feed_forward_norm(h)), 1);
        } else if constexpr (placement == NormPlacement::post) {
            const auto h = attention_norm(x + drop(attention(x, rotations, cache), 0));
            return feed_forward_norm(h + drop(feed_forward(h), 1));
        } else if constexpr (placement == NormPlacement::output) {
            Tensor h = x + drop(attention_norm(attention(x, rotations, cache)), 0);
            return h + drop(feed_forward_norm(feed_forward(h)), 1);
        } else {
            Tensor h = x + drop(attention_output_norm(attention(attention_norm(x), rotations, cache)), 0);
            return h + drop(feed_forward_output_norm(feed_forward(feed_forward_norm(h))), 1);
        }
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit.part("attention_norm", attention_norm);
        visit.part("attention", attention);
        visit.part("attention_output_norm", attention_output_norm);
        visit.part("feed_forward_norm", feed_forward_norm);
        visit.part("feed_forward", feed_forward);
        visit.part("feed_forward_output_norm", feed_forward_output_norm);
    }

    BranchNorm attention_norm;
    AttentionLayer attention;
    OutputNorm attention_output_norm;
    BranchNorm feed_forward_norm;
    FeedForward<Setting, Width, Hidden, Features::feed_forward, Features::feed_forward_bias> feed_forward;
    OutputNorm feed_forward_output_norm;
};

}  // namespace tenon
