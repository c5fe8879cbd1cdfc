#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/on_host.hpp>

namespace tenon {
namespace detail {

/// Fixed weights of mixed sign and size, so that no symmetry of a function hides a wrong gradient.
inline double check_weight(std::int64_t i) { return std::sin(1.0 + 2.7 * static_cast<double>(i)) + 0.3; }

template <class Y>
double weighted_sum(const Y& y) {
    static_assert(Y::is_packed,
                  "gradient_error takes a function with a packed result: return contiguous(...)");
    const auto& values = on_host(y);
    double total = 0;
    for (std::int64_t i = 0; i < values.size(); ++i) total += check_weight(i) * values.data()[i];
    return total;
}

}  // namespace detail

/// Compares the gradient of `f` with central differences, in f64: `f` takes the parameters' tensors, tracked,
/// and returns a tensor; its elements are weighed and summed. Returns the greatest relative error of the
/// parameters' gradients (norm of the difference over norm of the difference quotient), about 1e-9 for a
/// right one.
template <class F, class Device, class... S>
double gradient_error(F&& f, Parameter<double, S, Device>&... parameters) {
    auto loss = [&] {
        Tape::Pause pause(Tape::current());
        return detail::weighted_sum(f(parameters.tensor()...));
    };
    (parameters.clear_gradient(), ...);
    {
        auto y = f(parameters.tensor()...);
        std::vector<double> seed(static_cast<std::size_t>(y.size()));
        for (std::size_t i = 0; i < seed.size(); ++i)
            seed[i] = detail::check_weight(static_cast<std::int64_t>(i));
        backward(y, seed);
    }
    double worst = 0;
    auto check = [&](auto& parameter) {
        const auto gradient = on_host(parameter.accumulated_gradient()), values = on_host(parameter.value());
        double difference = 0, norm = 0;
        for (std::int64_t i = 0; i < parameter.size(); ++i) {
            const double kept = values.data()[i], step = 1e-5 * (1 + std::abs(kept));
            const auto loss_at = [&](double value) {
                Memory<Device>::copy(&value, 1, static_cast<double*>(parameter.data) + i);
                return loss();
            };
            const double quotient = (loss_at(kept + step) - loss_at(kept - step)) / (2 * step);
            Memory<Device>::copy(&kept, 1, static_cast<double*>(parameter.data) + i);
            difference += (quotient - gradient.data()[i]) * (quotient - gradient.data()[i]);
            norm += quotient * quotient;
        }
        const double error = std::sqrt(difference) / (std::sqrt(norm) > 0 ? std::sqrt(norm) : 1);
        if (!(error <= worst)) worst = error;  // NaN is worst
    };
    (check(parameters), ...);
    return worst;
}

}  // namespace tenon
