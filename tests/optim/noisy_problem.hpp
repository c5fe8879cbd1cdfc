#pragma once

// A wide and a tall matrix, a stack of matrices and a gain, and a loss whose gradient is the parameters
// themselves and noise that differs from step to step. make_optimizer_values.py has the same.

#include <array>
#include <cstdint>
#include <vector>

#include <tenon/core/precision.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/nn/visitor.hpp>

#include "../support.hpp"

namespace tenon::support {

template <class T>
struct NoisyProblem {
    using Value = T;
    using Gradient = T;
    using Device = support::Device;
    static constexpr bool is_tracked = true;

    Parameter<T, Shape<3, 5>, Device> wide{support::numbers<T, Shape<3, 5>>(1)};
    Parameter<T, Shape<7, 3>, Device> tall{support::numbers<T, Shape<7, 3>>(2)};
    Parameter<T, Shape<2, 3, 4>, Device> stack{support::numbers<T, Shape<2, 3, 4>>(3)};
    Parameter<T, Shape<5>, Device> gain{support::numbers<T, Shape<5>>(4), Role::gain};

    void visit_parameters(ParameterVisitor& visit) {
        visit("wide", wide);
        visit("tall", tall);
        visit("stack", stack);
        visit("gain", gain);
    }

    auto loss(int step) const {
        const auto seed = static_cast<std::uint32_t>(100 * step);
        return Tensor(part(wide, seed + 1) + part(tall, seed + 2) + part(stack, seed + 3) +
                      part(gain, seed + 4));
    }

    /// All elements, in order.
    std::vector<double> numbers() const {
        std::vector<double> result = values(wide.value());
        append(result, tall.value());
        append(result, stack.value());
        append(result, gain.value());
        return result;
    }

    /// The optimizer's steps 1 to `steps`, at a rate that falls.
    template <class Optimizer>
    void train(Optimizer& optimizer, int steps) const {
        const double rate = optimizer.rate;
        for (int step = 1; step <= steps; ++step) {
            backward(loss(step));
            optimizer.rate = rate / (1 + 0.1 * step);
            optimizer.step();
        }
        optimizer.rate = rate;
    }

private:
    template <class S>
    static auto part(const Parameter<T, S, Device>& parameter, std::uint32_t seed) {
        const auto noise = support::numbers<T, S>(seed);
        return Tensor(sum(square(parameter)) / 2 + sum(noise * parameter));
    }
};

}  // namespace tenon::support
