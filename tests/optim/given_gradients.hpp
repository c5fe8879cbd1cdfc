#pragma once

// A model of four parameters whose gradients are given, in any precision, and what its optimizers keep.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <tenon/expression/reduction.hpp>
#include <tenon/nn/visitor.hpp>

#include "../support.hpp"

namespace tenon::support {

/// Four parameters whose gradients are given: numbers that bf16 has, other ones at each step. The last is of
/// the type that the optimizer keeps the others in, as norms' are.
template <class P>
struct GivenGradients {
    using Precision = P;
    using Value = typename P::storage;
    using Gradient = typename P::gradient;
    using Device = support::Device;
    static constexpr bool is_tracked = true;

    Parameter<Value, Shape<9, 7>, Device> matrix{starting<Shape<9, 7>>(1)};
    Parameter<Value, Shape<2, 5, 6>, Device> stack{starting<Shape<2, 5, 6>>(2)};
    Parameter<Value, Shape<35>, Device> gain{starting<Shape<35>>(3), Role::gain};
    Parameter<typename P::master, Shape<13>, Device> norm{cast<typename P::master>(starting<Shape<13>>(7)),
                                                          Role::gain};

    void visit_parameters(ParameterVisitor& visit) {
        visit("matrix", matrix);
        visit("stack", stack);
        visit("gain", gain);
        visit("norm", norm);
    }

    auto loss(int step) const {
        const auto seed = static_cast<std::uint32_t>(10 * step);
        return materialize_as<Value>(
            sum(starting<Shape<9, 7>>(seed + 4) * matrix) + sum(starting<Shape<2, 5, 6>>(seed + 5) * stack) +
            sum(starting<Shape<35>>(seed + 6) * gain) + sum(starting<Shape<13>>(seed + 7) * norm));
    }

    template <class Optimizer>
    void train(Optimizer& optimizer, int first, int last) const {
        for (int step = first; step < last; ++step) {
            optimizer.backward(loss(step));
            optimizer.step();
        }
    }

    std::vector<double> numbers() const {
        std::vector<double> result = support::values(matrix.value());
        support::append(result, stack.value());
        support::append(result, gain.value());
        support::append(result, norm.value());
        return result;
    }

private:
    template <class S>
    static Tensor<Value, S, Device> starting(std::uint32_t seed) {
        auto result = Tensor<Value, S>::uninitialized();
        support::Numbers next(seed);
        for (Value& element : result.span())
            element = convert<Value>(float(bf16(static_cast<float>(next()))));
        return to_device<Device>(result);
    }
};

/// The state of an optimizer, by name.
using State = std::map<std::string, std::vector<char>>;

template <class Optimizer>
State state_of(Optimizer& optimizer) {
    State result;
    optimizer.for_each_state([&](std::string_view name, ElementType type, std::int64_t count, void* data) {
        result[std::string(name)] = bytes_of(static_cast<std::size_t>(count) * size_of(type), data);
    });
    return result;
}

template <class Optimizer>
void set_state(Optimizer& optimizer, const State& state) {
    optimizer.for_each_state([&](std::string_view name, ElementType, std::int64_t, void* data) {
        write_bytes(state.at(std::string(name)), data);
    });
}

}  // namespace tenon::support
