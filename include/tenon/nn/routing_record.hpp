#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <tenon/core/on_host.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/nn/mixture_options.hpp>
#include <tenon/op/experts/dispatch.hpp>
#include <tenon/op/log_softmax/log_softmax.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// What a mixture of experts did with the tokens of a pass: [tokens, experts] and [tokens, k].
template <class Setting>
struct RoutedTokens {
    using Device = typename Setting::Device;
    using Compute = ComputeOf<typename Setting::Value>;
    using Matrix = Tensor<Compute, Shape<dyn, dyn>, Device, typename Setting::Tracking>;

    Matrix logits, probabilities;
    Tensor<std::int32_t, Shape<dyn, dyn>, Device> chosen;
    Tensor<std::int32_t, Shape<dyn>, Device> load;  ///< [experts]: assignments, those that were dropped, too
    int sequences;                                  ///< the tokens are those of as many, one after another
    int capacity;                                   ///< of an expert; 0: none
};

/// Gathers what the mixtures of experts of a model do in a pass that is given it, in the order of the layers:
/// for losses that are added to the model's, and for statistics.
template <class Setting>
class RoutingRecord {
public:
    static constexpr bool is_kept = true;

    void add(RoutedTokens<Setting> layer) { layers_.push_back(std::move(layer)); }
    const std::vector<RoutedTokens<Setting>>& layers() const { return layers_; }
    void clear() { layers_.clear(); }

private:
    std::vector<RoutedTokens<Setting>> layers_;
};

/// How balanced the experts' work is: experts · the sum over experts of f p, where f is how many of a token's
/// k choices an expert is, and p its probability, each on average over the tokens (Fedus et al. 2021, "Switch
/// Transformers"; k where all experts are chosen alike). With `of_sequences` it is that of each sequence by
/// itself, on average (DeepSeek-AI 2024, "DeepSeek-V2"). A scalar with a gradient to the probabilities.
template <class Setting>
auto load_balancing_loss(const RoutedTokens<Setting>& routed, bool of_sequences = false) {
    using Compute = typename RoutedTokens<Setting>::Compute;
    const int tokens = routed.probabilities.extents()[0], experts = routed.probabilities.extents()[1],
              parts = of_sequences ? routed.sequences : 1, each = parts > 0 ? tokens / parts : 0;
    const auto counts = count_experts<Compute>(routed.chosen, experts, parts);
    const auto frequency = reshape<Shape<dyn, 1, dyn>>(counts, parts, experts);
    const auto probabilities = reshape<Shape<dyn, dyn, dyn>>(routed.probabilities, parts, each, experts);
    const double scale = experts / (static_cast<double>(parts) * each * each);
    return Tensor(scale * sum<axis<0, 1, 2>>(probabilities * frequency));
}

/// The square of the logarithm of the sum of a token's exponentials of logits, on average over the tokens
/// (Zoph et al. 2022, "ST-MoE"): it keeps logits small. A scalar with a gradient to the logits.
template <class Setting>
auto router_z_loss(const RoutedTokens<Setting>& routed) {
    return Tensor(mean<axis<0>>(square(log_sum_exp<axis<1>>(routed.logits))));
}

/// What the host is told of a mixture's pass.
struct RoutingStatistics {
    std::vector<double> load;  ///< of each expert: its share of all assignments
    double greatest_load = 0;  ///< times the number of experts: 1 where they are balanced
    double entropy = 0;        ///< of a token's probabilities, on average, in nats
    std::int64_t dropped = 0;  ///< assignments that no expert had room for
};

/// Waits for the device.
template <class Setting>
RoutingStatistics statistics_of(const RoutedTokens<Setting>& routed) {
    const auto& load = on_host(routed.load);
    const auto detached = detach(routed.probabilities);
    const auto& probabilities = on_host(detached);
    RoutingStatistics result;
    std::int64_t all = 0;
    for (const std::int32_t count : load.span()) {
        all += count;
        if (routed.capacity > 0) result.dropped += std::max(0, count - routed.capacity);
    }
    for (const std::int32_t count : load.span()) {
        result.load.push_back(all > 0 ? static_cast<double>(count) / static_cast<double>(all) : 0);
        result.greatest_load =
            std::max(result.greatest_load, result.load.back() * static_cast<double>(load.size()));
    }
    double entropy = 0;
    for (const auto p : probabilities.span())
        if (p > 0) entropy -= static_cast<double>(p) * std::log(static_cast<double>(p));
    const int tokens = probabilities.extents()[0];
    result.entropy = tokens > 0 ? entropy / tokens : 0;
    return result;
}

}  // namespace tenon
