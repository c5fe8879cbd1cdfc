#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <tenon/autograd/parameter.hpp>
#include <tenon/optim/treatment.hpp>
#include <tenon/optim/weights.hpp>

namespace tenon {

/// A parameter that is trained, and what an optimizer keeps for it.
template <class T, class C, class Master>
struct TrainedParameter {
    struct State {
        const char* name;
        std::int64_t count;
        Storage storage;
    };

    std::string name;
    ParameterBase* parameter;
    Treatment treatment;
    std::uint64_t number;             ///< among those that are trained
    std::int64_t updates = 0;         ///< that it took part in
    std::int64_t* counted = nullptr;  ///< the same in the device's memory, where only the device knows
    bool has_gradient = false;        ///< at the step at hand
    Storage master;                   ///< the copy in that type; none of a parameter that is of it itself
    std::vector<State> states;

    std::int64_t size() const { return parameter->size(); }
    const C* gradient() const { return static_cast<const C*>(parameter->gradient->storage.data()); }
    C* state(std::size_t which) const { return static_cast<C*>(states[which].storage.data()); }

    /// Where they are, and how they are rounded at the update at hand.
    Weights<T, Master> weights(Seed seed) const {
        // Numbers of the parameter above, of its updates below.
        const std::uint64_t stream = number << 40 | static_cast<std::uint64_t>(updates);
        if (Weights<T, Master>::has_master && !master)
            return {nullptr, static_cast<Master*>(parameter->data), seed.value, stream};
        return {static_cast<T*>(parameter->data), static_cast<Master*>(master.data()), seed.value, stream};
    }
};

// Each way to update is a Pass over a list of parameters, whose kernels are declared under its name:
// `prepare(rule_of, seed)` notes each parameter's rule, what `rule_of` makes of its entry, and `run(scale)`
// makes the update. A rule has the numbers of an update, or makes them, as `rule.step(number)`, where they
// depend on how many the parameter has had.

/// A rule's numbers at a parameter's update number `number`, which counts from 1.
template <class Rule>
TENON_HOST_DEVICE auto step_of(const Rule& rule, [[maybe_unused]] std::int64_t number) {
    if constexpr (requires { rule.step(number); })
        return rule.step(number);
    else
        return rule;
}
template <class Rule>
using StepOf = decltype(step_of(std::declval<const Rule&>(), 0));

/// Names the updates that look at one element at a time: Pass<Rule, T, C, Master>, on the GPU one launch for
/// the whole list. `step(p, g, state)` updates an element, or a packet of them, and its `state_count` numbers
/// of state. Beside it, `copy` writes elements in another type, and Counts<T> counts each parameter's updates
/// where only the device knows which are made.
struct ElementwiseUpdate {};

}  // namespace tenon
