#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include <tenon/autograd/parameter.hpp>

namespace tenon {
namespace detail {

/// Fixed weights of mixed sign and size, so that no symmetry of a function hides a wrong gradient.
inline double check_weight(std::int64_t i) { return std::sin(1.0 + 2.7 * static_cast<double>(i)) + 0.3; }

template <class Y>
double weighted_sum(const Y& y) {
    static_assert(Y::is_packed,
                  "gradient_error takes a function with a packed result: return contiguous(...)");
    double total = 0;
    for (std::int64_t i = 0; i < y.size(); ++i) total += check_weight(i) * y.data()[i];
    return total;
}

}  // namespace detail

/// Compares the gradient of `f` with central differences, in f64: `f` takes the parameters' tensors, tracked,
/// and returns a tensor; its elements are weighed and summed. Returns the greatest relative error of the
/// parameters' gradients (norm of the difference over norm of the difference quotient), about 1e-9 for a
/// right one.
template <class F, class... S>
double gradient_error(F&& f, Parameter<double, S>&... parameters) {
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
        const auto gradient = parameter.accumulated_gradient();
        double* values = static_cast<double*>(parameter.data);
        double difference = 0, norm = 0;
        for (std::int64_t i = 0; i < parameter.size(); ++i) {
            const double kept = values[i], step = 1e-5 * (1 + std::abs(kept));
            values[i] = kept + step;
            const double above = loss();
            values[i] = kept - step;
            const double below = loss();
            values[i] = kept;
            const double quotient = (above - below) / (2 * step);
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
