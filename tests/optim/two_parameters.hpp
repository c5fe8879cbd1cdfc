#pragma once

// A model of two parameters, of odd sizes.

#include <tenon/core/precision.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/nn/visitor.hpp>

#include "../support.hpp"

namespace tenon::support {

template <class T>
struct TwoParameters {
    using Value = T;
    using Gradient = T;
    using Device = support::Device;
    static constexpr bool is_tracked = true;

    Parameter<T, Shape<3, 7>, Device> first{support::numbers<T, Shape<3, 7>>(1)};
    Parameter<T, Shape<5>, Device> second{support::numbers<T, Shape<5>>(2)};

    void visit_parameters(ParameterVisitor& visit) {
        visit("first", first);
        visit("second", second);
    }

    /// Half the sum of all squares, whose gradient is the parameters themselves.
    auto half_square() const { return Tensor((sum(square(first)) + sum(square(second))) / 2); }

    std::vector<double> numbers() const {
        std::vector<double> result = values(first.value());
        append(result, second.value());
        return result;
    }
};

}  // namespace tenon::support
