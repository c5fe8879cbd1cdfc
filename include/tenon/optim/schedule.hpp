#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include <tenon/core/error.hpp>

namespace tenon {

// A schedule is called with the number of a step, from 0, and returns the step's learning rate. All rise
// linearly from 0 over their warmup; 0 steps of it: the first step has the maximum.

namespace detail {

inline double share_of(std::int64_t part, std::int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
}

inline void require_schedule(const char* name, std::int64_t warmup, std::int64_t step) {
    if (warmup < 0)
        throw Error(std::string(name) + ": expected a warmup of at least 0 steps, got " +
                    std::to_string(warmup));
    if (step < 0)
        throw Error(std::string(name) + ": expected a step of at least 0, got " + std::to_string(step));
}

/// An end must be given, and lie beyond the warmup: otherwise the rate would jump from one step to the next,
/// or never leave its minimum.
inline void require_schedule(const char* name, std::int64_t warmup, std::int64_t end, std::int64_t step) {
    if (warmup >= 0 && end <= warmup)
        throw Error(std::string(name) + ": expected an end beyond the warmup, " + std::to_string(warmup) +
                    ", got " + std::to_string(end));
    require_schedule(name, warmup, step);
}

}  // namespace detail

/// A learning rate that rises linearly from 0 over `warmup` steps, and stays.
struct ConstantSchedule {
    double maximum = 1e-3;
    std::int64_t warmup = 0;

    /// Throws Error where the step or the warmup is negative.
    double operator()(std::int64_t step) const {
        detail::require_schedule("constant schedule", warmup, step);
        return step < warmup ? maximum * detail::share_of(step, warmup) : maximum;
    }
};

/// A learning rate that rises linearly from 0 over `warmup` steps, falls linearly until step `end`, and stays
/// at `minimum`.
struct LinearSchedule {
    double maximum = 1e-3, minimum = 0;
    std::int64_t warmup = 0;
    std::int64_t end = 0;

    /// Throws Error where the step or the warmup is negative, or where the end does not lie beyond the
    /// warmup.
    double operator()(std::int64_t step) const {
        detail::require_schedule("linear schedule", warmup, end, step);
        if (step < warmup) return maximum * detail::share_of(step, warmup);
        if (step >= end) return minimum;
        return maximum + detail::share_of(step - warmup, end - warmup) * (minimum - maximum);
    }
};

/// A learning rate that rises linearly from 0 over `warmup` steps, falls along half a cosine until step
/// `end`, and stays at `minimum` (Loshchilov, Hutter 2017, "SGDR"; as CS336 states it).
struct CosineSchedule {
    double maximum = 1e-3, minimum = 0;
    std::int64_t warmup = 0;
    std::int64_t end = 0;

    /// Throws Error where the step or the warmup is negative, or where the end does not lie beyond the
    /// warmup.
    double operator()(std::int64_t step) const {
        detail::require_schedule("cosine schedule", warmup, end, step);
        if (step < warmup) return maximum * detail::share_of(step, warmup);
        if (step >= end) return minimum;
        const double done = detail::share_of(step - warmup, end - warmup);
        return minimum + 0.5 * (1 + std::cos(3.14159265358979323846 * done)) * (maximum - minimum);
    }
};

/// How a rate falls from its maximum to its minimum, as a function of the share x of the way that is done.
enum class DecayShape {
    linear,              ///< 1 - x
    one_minus_the_root,  ///< 1 - sqrt(x), better in the comparison of Hägele et al. 2024, "Scaling laws and
                         ///< compute-optimal training beyond fixed training durations"
};

/// Warmup, stable, decay (Hu et al. 2024, "MiniCPM"): a learning rate that rises linearly from 0 over
/// `warmup` steps, stays, falls over the last `decay` steps before step `end`, and stays at `minimum`. Since
/// the stable part doesn't know the end, a run can go on from a checkpoint before the decay.
struct WarmupStableDecaySchedule {
    double maximum = 1e-3, minimum = 0;
    std::int64_t warmup = 0;
    std::int64_t decay = 0;
    std::int64_t end = 0;
    DecayShape shape = DecayShape::linear;

    /// Throws Error where the step or the warmup is negative, or where the decay is not of at least 1 step,
    /// or does not fit between the warmup and the end.
    double operator()(std::int64_t step) const {
        constexpr const char* name = "warmup-stable-decay schedule";
        detail::require_schedule(name, warmup, end, step);
        if (decay < 1 || decay > end - warmup)
            throw Error(std::string(name) + ": expected a decay of 1 to " + std::to_string(end - warmup) +
                        " steps, which lie between warmup and end, got " + std::to_string(decay));
        if (step < warmup) return maximum * detail::share_of(step, warmup);
        if (step >= end) return minimum;
        if (step <= end - decay) return maximum;
        const double done = detail::share_of(step - (end - decay), decay);
        const double left = 1 - (shape == DecayShape::linear ? done : std::sqrt(done));
        return minimum + left * (maximum - minimum);
    }
};

}  // namespace tenon
