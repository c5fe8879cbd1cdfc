#pragma once

#include <cstdint>

#include <tenon/core/host_device.hpp>

namespace tenon {

/// How a loss is scaled whose gradients have a small range, f16's: they are computed of the loss times a
/// scale, and divided by it before they are used. As PyTorch's GradScaler has it.
struct LossScaling {
    double scale = 65536;  ///< at the beginning
    double growth = 2;     ///< of the scale, after `interval` steps in a row whose gradients are finite
    double backoff = 0.5;  ///< the factor on the scale after a step whose gradients aren't, which is left out
    std::int64_t interval = 2000;
};

/// The scale at the step at hand, and for how many steps it has served.
struct LossScale {
    float scale = 1;
    std::int64_t age = 0;

    /// After a step.
    TENON_HOST_DEVICE void update(bool is_finite, const LossScaling& options) {
        if (is_finite && ++age < options.interval) return;
        const float next = static_cast<float>(scale * (is_finite ? options.growth : options.backoff));
        if (next - next == 0) scale = next;  // not beyond what f32 holds
        age = 0;
    }
};

}  // namespace tenon
