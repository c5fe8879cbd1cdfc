#pragma once

#include <vector>

#include "tenon/training/metrics.hpp"
#include "tenon/training/step_report.hpp"

namespace tenon {

/// A step's report as a line of metrics; steps count from 1 there.
inline std::vector<Metric> metrics_of(const StepReport& report) {
    std::vector<Metric> metrics{{"step", report.step + 1},
                                {"loss", report.loss},
                                {"gradient_norm", report.gradient_norm},
                                {"rate", report.rate}};
    if (const auto& routing = report.routing) {
        metrics.emplace_back("balancing_loss", routing->balancing_loss);
        metrics.emplace_back("router_z_loss", routing->z_loss);
        metrics.emplace_back("greatest_expert_load", routing->greatest_load);
        metrics.emplace_back("router_entropy", routing->entropy);
        metrics.emplace_back("dropped_share", routing->dropped);
    }
    return metrics;
}

}  // namespace tenon
