#pragma once

#include <tenon/nn/dropout.hpp>
#include <tenon/nn/feed_forward_of.hpp>
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
    using MakeFeedForward = detail::FeedForwardOf<Setting, Width, Hidden, Features>;
    using FeedForwardLayer = typename MakeFeedForward::type;

public:
    Block(AttentionLayer attention_layer, double norm_epsilon, int width = bound_of(extent_code(Width)),
          int hidden = bound_of(extent_code(Hidden)), const MixtureSizes& mixture = {})
        : attention_norm(norm_epsilon, width),
          attention(std::move(attention_layer)),
          attention_output_norm(norm_epsilon, width),
          feed_forward_norm(norm_epsilon, width),
          feed_forward(MakeFeedForward::make(width, hidden, mixture)),
          feed_forward_output_norm(norm_epsilon, width) {}

    /// A record is told what a mixture of experts does.
    template <TensorLike X, class Rotations, class Cache, class Drop = NoDropout,
              class Record = NoRoutingRecord>
    X operator()(const X& x, const Rotations& rotations, Cache&& cache, const Drop& drop = {},
                 Record&& record = {}) const {
        [[maybe_unused]] const auto feed = [&](const auto& states) { return fed(states, record); };
        if constexpr (Features::parallel) {
            return x + drop(attention(attention_norm(x), rotations, cache), 0) +
                   drop(feed(feed_forward_norm(x)), 1);
        } else if constexpr (placement == NormPlacement::pre && product_adds<typename Setting::Device> &&
                             std::same_as<Drop, NoDropout>) {
            const auto h = attention.added(attention_norm(x), rotations, cache, x);
            return fed_and_added(feed_forward_norm(h), h, record);
        } else if constexpr (placement == NormPlacement::pre) {
            Tensor h = x + drop(attention(attention_norm(x), rotations, cache), 0);
            return h + drop(feed(feed_forward_norm(h)), 1);
        } else if constexpr (placement == NormPlacement::post) {
            const auto h = attention_norm(x + drop(attention(x, rotations, cache), 0));
            return feed_forward_norm(h + drop(feed(h), 1));
        } else if constexpr (placement == NormPlacement::output) {
            Tensor h = x + drop(attention_norm(attention(x, rotations, cache)), 0);
            return h + drop(feed_forward_norm(feed(h)), 1);
        } else {
            Tensor h = x + drop(attention_output_norm(attention(attention_norm(x), rotations, cache)), 0);
            return h + drop(feed_forward_output_norm(feed(feed_forward_norm(h))), 1);
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
    FeedForwardLayer feed_forward;
    OutputNorm feed_forward_output_norm;

private:
    template <class X, class Record>
    auto fed(const X& x, [[maybe_unused]] Record& record) const {
        if constexpr (Features::mixture_of_experts)
            return feed_forward(x, record);
        else
            return feed_forward(x);
    }
    template <class X, class Addend, class Record>
    auto fed_and_added(const X& x, const Addend& addend, [[maybe_unused]] Record& record) const {
        if constexpr (Features::mixture_of_experts)
            return feed_forward.added(x, addend, record);
        else
            return feed_forward.added(x, addend);
    }
};

}  // namespace tenon
