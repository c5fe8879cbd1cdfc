#pragma once

// A small model that tests train, in f64.

#include <algorithm>
#include <cmath>
#include <vector>

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

/// With latent attention, and dense in the first layer, after which a mixture's experts are in groups; for
/// programs that include these layers.
struct Latent : Small {
    static constexpr bool latent_attention = true, latent_bias = true;
    static constexpr int head_width = 7, rotary_width = 4, latent_width = 6, query_latent_width = 5,
                         value_width = 3;
    static constexpr bool mixture_of_experts = true, has_dense_layers = true, shared_expert = true,
                          router_bias = true;
    static constexpr RouterScore router_score = RouterScore::sigmoid;
    static constexpr int experts = 6, experts_per_token = 2, expert_groups = 3, chosen_groups = 2,
                         shared_hidden = 5, dense_hidden = 10;
    static constexpr GroupScore group_score = GroupScore::sum_of_best_two;
    static constexpr LayerSet dense_layers = [] {
        LayerSet layers;
        layers.insert(0);
        return layers;
    }();
};

/// One whose parameters outweigh all else that it has.
struct Wide : TransformerDefaults {
    static constexpr int vocabulary = 4096, context = 16, width = 64, depth = 1, heads = 2, hidden = 512;
};

using Tokens = Tensor<int, Shape<dyn, dyn>, Device>;

inline Tokens tokens(int batch, int time, int first) {
    std::vector<int> ids;
    for (int i = 0; i < batch * time; ++i) ids.push_back((i * i + first) % 11);
    return Tokens::from(ids, batch, time);
}

/// All numbers that a step of training makes: the loss, the norm, and the parameters after it.
template <class Model, class Optimizer, class Ids>
std::vector<double> train_step(Model& model, Optimizer& optimizer, const Ids& inputs, const Ids& targets) {
    auto loss = cross_entropy(model(inputs), targets);
    std::vector<double> result{static_cast<double>(loss.item())};
    backward(loss);
    result.push_back(optimizer.clip(0.5));
    optimizer.step();
    const std::vector<double> parameters = all_elements(model);
    result.insert(result.end(), parameters.begin(), parameters.end());
    return result;
}

/// The greatest relative error of a parameter's gradient against central differences. (The bias of keys has
/// no gradient but for rounding where positions don't turn it: below 1e-3 errors are absolute.)
template <class Parts, class LossOf>
double worst_gradient_error_of(Parts& parts, LossOf&& loss_of) {
    backward(loss_of());
    const auto loss = [&] {
        Tape::Pause pause(Tape::current());
        return loss_of().item();
    };
    double worst = 0;
    for_each_parameter(parts, [&](std::string_view, ParameterBase& parameter) {
        double difference = 0, norm = 0;
        const auto values = elements<double>(parameter);
        std::vector<double> gradient(values.size(), 0.0);  // of what receives none
        if (parameter.gradient->written)
            Memory<Device>::copy(static_cast<const double*>(parameter.gradient->storage.data()),
                                 parameter.size(), gradient.data());
        const auto set_element = [&](std::size_t i, double value) {
            Memory<Device>::copy(&value, 1, static_cast<double*>(parameter.data) + i);
        };
        for (std::size_t i = 0; i < values.size(); ++i) {
            const double step = 1e-5 * (1 + std::abs(values[i]));
            set_element(i, values[i] + step);
            const double above = loss();
            set_element(i, values[i] - step);
            const double quotient = (above - loss()) / (2 * step);
            set_element(i, values[i]);
            difference += std::pow(quotient - gradient[i], 2);
            norm += quotient * quotient;
        }
        const double error = std::sqrt(difference) / std::max(std::sqrt(norm), 1e-3);
        if (!(error <= worst)) worst = error;
    });
    return worst;
}
template <class Model, class... Key>
double worst_gradient_error(Model& model, const Key&... key) {
    const auto inputs = tokens(2, 5, 1), targets = tokens(2, 5, 4);
    return worst_gradient_error_of(model, [&] { return cross_entropy(model(inputs, key...), targets); });
}

}  // namespace tenon::support
