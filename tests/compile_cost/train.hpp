#pragma once

#include <cstdint>

#include <tenon/tenon.hpp>

template <int size>
struct Sized : tenon::TransformerDefaults {
    static constexpr int vocabulary = 512, context = 64, width = size, depth = 2, heads = size / 32,
                         hidden = 3 * size;
};

/// A whole training program of one model.
template <int size>
void train() {
    tenon::Trainable<tenon::Transformer<Sized<size>>> model{tenon::seed(42)};
    tenon::AdamW optimizer{model, {}};
    const auto tokens = tenon::Tensor<std::uint16_t, tenon::Shape<4, 64>>::zeros();
    const auto loss = cross_entropy(model(tokens), tokens);
    backward(loss);
    optimizer.step();
}
