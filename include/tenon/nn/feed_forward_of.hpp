#pragma once

#include <tenon/nn/feed_forward.hpp>
#include <tenon/nn/mixture_options.hpp>

namespace tenon::detail {

/// The layer that follows attention in a block of these features, and how it is made. That of a mixture of
/// experts is in a header of its own, so that other models do not pay for it.
template <class Setting, auto Width, auto Hidden, class Features>
struct FeedForwardOf {
    static_assert(!Features::mixture_of_experts,
                  "a model with mixtures of experts needs #include <tenon/nn/mixture_of_experts.hpp>, and "
                  "one with dense layers among them <tenon/nn/mixture_or_dense.hpp>");
};
template <class Setting, auto Width, auto Hidden, class Features>
    requires(!Features::mixture_of_experts)
struct FeedForwardOf<Setting, Width, Hidden, Features> {
    using type = FeedForward<Setting, Width, Hidden, Features::feed_forward, Features::feed_forward_bias>;
    static type make(int width, int hidden, const MixtureSizes&) { return type(width, hidden); }
};

}  // namespace tenon::detail
