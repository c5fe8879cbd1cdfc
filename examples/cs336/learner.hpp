#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include <tenon/tenon.hpp>

#include "../token_data.hpp"

using Ids = tenon::Tensor<Token, tenon::Shape<tenon::dyn, tenon::dyn>>;

/// A language model that is trained, whatever its features: they are a type, and what calls the learner is
/// compiled once for all of them.
struct Learner {
    tenon::ParameterList parameters;
    std::int64_t parameter_count;
    /// Adds the gradients of the mean loss of a batch, and returns that loss, in nats a token.
    std::function<double(const Ids& inputs, const Ids& targets)> learn;
    /// The mean loss of all tokens but the first.
    std::function<double(std::span<const Token> tokens, int batch_size)> judge;
};

/// A model of these sizes with features of its own. A feed-forward layer without a gate gets half as much
/// hidden width again, so that it has as many parameters as one with a gate.
template <class Features>
Learner make_learner(tenon::TransformerSizes sizes, tenon::Seed seed) {
    using Model = tenon::Transformer<tenon::DynamicTransformer<Features>>;
    if (!is_gated(Features::feed_forward)) sizes.hidden += sizes.hidden / 2;
    const auto model = std::make_shared<tenon::Trainable<Model>>(seed, sizes);
    return {*model, tenon::parameter_count<Features>(model->sizes),
            [model](const Ids& inputs, const Ids& targets) {
                const auto loss = cross_entropy((*model)(inputs), targets);
                backward(loss);
                return static_cast<double>(loss.item());
            },
            [model](std::span<const Token> tokens, int batch_size) {
                return total_cross_entropy(*model, tokens, batch_size, model->sizes.context) /
                       static_cast<double>(tokens.size() - 1);
            }};
}
