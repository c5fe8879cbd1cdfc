#pragma once

#include <cmath>
#include <cstdint>

namespace tenon {

/// A learning rate that rises linearly from 0 over `warmup` steps, falls along half a cosine until step `end`, and
/// stays at `minimum` (Loshchilov, Hutter 2017, "SGDR"; as CS336 states it).
struct CosineSchedule {
    double maximum = 1e-3, minimum = 0;
    std::int64_t warmup = 0, end = 0;

    /// The rate of step `step`, which counts from 0.
    double operator()(std::int64_t step) const {
        if (step < warmup) return maximum * static_cast<double>(step) / static_cast<double>(warmup);
        if (step >= end) return minimum;
        const double done = static_cast<double>(step - warmup) / static_cast<double>(end - warmup);
        return minimum + 0.5 * (1 + std::cos(3.14159265358979323846 * done)) * (maximum - minimum);
    }
};

}  // namespace tenon
