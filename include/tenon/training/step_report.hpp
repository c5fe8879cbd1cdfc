#pragma once

#include <cmath>
#include <cstdint>
#include <optional>

namespace tenon {

/// What a model's mixtures of experts did in a step, on average over its layers and batches.
struct RoutingReport {
    double balancing_loss = 0;  ///< see `load_balancing_loss`, of batches
    double z_loss = 0;          ///< see `router_z_loss`
    double greatest_load = 0;   ///< of an expert: 1 where they are balanced
    double entropy = 0;         ///< of a token's probabilities, in nats
    double dropped = 0;         ///< the share of assignments that no expert had room for
};

/// What a step found.
struct StepReport {
    std::int64_t step = 0;
    double rate = 0;  ///< the optimizer's
    double loss = 0;  ///< the cross-entropy alone, the mean of the step's batches
    double gradient_norm = 0;
    std::optional<RoutingReport> routing = {};  ///< of a model with mixtures of experts

    bool is_finite() const { return std::isfinite(loss) && std::isfinite(gradient_norm); }
};

}  // namespace tenon
