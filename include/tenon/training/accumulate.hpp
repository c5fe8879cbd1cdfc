#pragma once

#include <string>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/error.hpp>

namespace tenon {

/// One step's gradients from `parts` batches that are too large to go at once: calls loss_of(part) for each,
/// and adds up the gradients of the losses' mean. Returns that mean. Throws Error for less than one part.
///
///     double loss = accumulate_gradients(4, [&](int part) {
///         const auto [inputs, targets] = batches(4 * step + part);
///         return cross_entropy(model(inputs), targets);
///     });
template <class LossOf>
double accumulate_gradients(int parts, LossOf&& loss_of) {
    if (parts < 1) throw Error("gradients: expected at least one part, got " + std::to_string(parts));
    double sum = 0;
    for (int part = 0; part < parts; ++part) {
        const auto loss = loss_of(part);
        using Value = ComputeOf<typename decltype(loss)::value_type>;
        const Value weight = Value(1) / static_cast<Value>(parts);
        sum += static_cast<double>(loss.item());
        backward(loss, {&weight, 1});
    }
    return sum / parts;
}

}  // namespace tenon
