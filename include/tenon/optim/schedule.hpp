#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include <tenon/core/error.hpp>

namespace tenon {

/// A learning rate that rises linearly from 0 over `warmup` steps, falls along half a cosine until step
/// `end`, and stays at `minimum` (Loshchilov, Hutter 2017, "SGDR"; as CS336 states it). `end` must be given,
/// and lie beyond the warmup: otherwise the rate would jump from one step to the next, or never leave its
/// minimum.
struct CosineSchedule {
    double maximum = 1e-3, minimum = 0;
    std::int64_t warmup = 0;  ///< 0: the first step has the maximum
    std::int64_t end = 0;

    /// The rate of step `step`, which counts from 0. Throws Error where that or the warmup is negative, or
    /// where the end does not lie beyond the warmup.
    double operator()(std::int64_t step) const {
        if (warmup < 0)
            throw Error("cosine schedule: expected a warmup of at least 0 steps, got " +
                        std::to_string(warmup));
        if (end <= warmup)
            throw Error("cosine schedule: expected an end beyond the warmup, " + std::to_string(warmup) +
                        ", got " + std::to_string(end));
        if (step < 0)
            throw Error("cosine schedule: expected a step of at least 0, got " + std::to_string(step));
        if (step < warmup) return maximum * static_cast<double>(step) / static_cast<double>(warmup);
        if (step >= end) return minimum;
        const double done = static_cast<double>(step - warmup) / static_cast<double>(end - warmup);
        return minimum + 0.5 * (1 + std::cos(3.14159265358979323846 * done)) * (maximum - minimum);
    }
};

}  // namespace tenon
