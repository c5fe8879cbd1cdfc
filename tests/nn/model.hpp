#pragma once

// A small model that tests train, in f64.

#include <tenon/tenon.hpp>

#include "../support.hpp"

namespace tenon::support {

struct Small : TransformerDefaults {
    static constexpr int vocabulary = 11, context = 16, width = 8, depth = 2, heads = 2, key_value_heads = 1,
                         hidden = 12;
};

/// The same with a tied head, and the other pairing of rotations.
struct Tied : Small {
    static constexpr bool tied = true;
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::half_split;
};

using Tokens = Tensor<int, Shape<dyn, dyn>>;

inline Tokens tokens(int batch, int time, int first) {
    auto ids = Tokens::uninitialized(batch, time);
    for (std::int64_t i = 0; i < ids.size(); ++i) ids.data()[i] = static_cast<int>((i * i + first) % 11);
    return ids;
}

/// All numbers that a step of training makes: the loss, the norm, and the parameters after it.
template <class Model, class Optimizer, class Ids>
std::vector<double> train_step(Model& model, Optimizer& optimizer, const Ids& inputs, const Ids& targets) {
    auto loss = cross_entropy(model(inputs), targets);
    std::vector<double> result{static_cast<double>(loss.item())};
    backward(loss);
    result.push_back(optimizer.clip(0.5));
    optimizer.step();
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        const auto* data = static_cast<const typename Model::Value*>(parameter.data);
        for (std::int64_t i = 0; i < parameter.size(); ++i) result.push_back(static_cast<double>(data[i]));
    });
    return result;
}

}  // namespace tenon::support
