#pragma once

#include <tenon/nn/feed_forward.hpp>
#include <tenon/nn/norm.hpp>
#include <tenon/nn/self_attention.hpp>

namespace tenon {

/// A pre-norm Transformer block: h = x + attention(norm x), y = h + feed_forward(norm h)
/// (Xiong et al. 2020, "On layer normalization in the Transformer architecture").
template <class Setting, class AttentionLayer, auto Width, auto Hidden>
class Block {
public:
    Block(AttentionLayer attention_layer, double norm_epsilon, int width = bound_of(extent_code(Width)),
          int hidden = bound_of(extent_code(Hidden)))
        : attention_norm(norm_epsilon, width),
          attention(std::move(attention_layer)),
          feed_forward_norm(norm_epsilon, width),
          feed_forward(width, hidden) {}

    template <TensorLike X, class Rotations, class Cache>
    X operator()(const X& x, const Rotations& rotations, Cache&& cache) const {
        Tensor h = x + attention(attention_norm(x), rotations, cache);
        return h + feed_forward(feed_forward_norm(h));
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit.part("attention_norm", attention_norm);
        visit.part("attention", attention);
        visit.part("feed_forward_norm", feed_forward_norm);
        visit.part("feed_forward", feed_forward);
    }

    Norm<Setting, Width> attention_norm;
    AttentionLayer attention;
    Norm<Setting, Width> feed_forward_norm;
    FeedForward<Setting, Width, Hidden> feed_forward;
};

}  // namespace tenon
