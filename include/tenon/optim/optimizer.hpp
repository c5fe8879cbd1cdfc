#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/core/error.hpp>
#include <tenon/optim/gradients.hpp>
#include <tenon/optim/treatment.hpp>

namespace tenon {

/// A parameter under its full name.
struct NamedParameter {
    std::string name;
    ParameterBase* parameter;
};

/// Parameters under their names, in order: those of a model, or bare ones, which are named by their number.
class ParameterList {
public:
    template <class Model>
        requires(Model::is_tracked)
    ParameterList(Model& model) {
        for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
            named_.push_back({std::string(name), &parameter});
        });
    }
    ParameterList(const std::vector<ParameterBase*>& parameters) {
        for (ParameterBase* parameter : parameters)
            named_.push_back({std::to_string(named_.size()), parameter});
    }

    auto begin() const { return named_.begin(); }
    auto end() const { return named_.end(); }

private:
    std::vector<NamedParameter> named_;
};

/// A parameter's last two axes as matrices, as many as its other axes count; none where it has fewer axes.
struct Matrices {
    std::int64_t count, rows, columns;
};

inline Matrices matrices_of(const ParameterBase& parameter) {
    const Extents& extents = parameter.extents;
    if (extents.rank < 2) return {0, 0, 0};
    return {extents.count(0, extents.rank - 2), extents.from_end(1), extents.from_end(0)};
}

/// What all optimizers share: the list of parameters that they train, each with its treatment and its state,
/// which is of C, the type of gradients. Gradients add up over backward passes until `step`, so a large batch
/// may come in k parts whose losses are divided by k (`accumulate_gradients` does that); then come `clip`,
/// over their sum, and `step`.
template <class T, class C, class Device>
class Optimizer {
public:
    Optimizer(const Optimizer&) = delete;
    Optimizer& operator=(const Optimizer&) = delete;
    Optimizer(Optimizer&&) = default;

    /// Scales the gradients of what is trained to a norm of at most `maximum`; returns their norm before.
    double clip(double maximum) { return clip_gradient_norm<C, Device>(trained_, maximum); }

    /// Number of calls of `step`; a parameter without a gradient sits some of them out.
    std::int64_t steps() const { return steps_; }

    /// Calls visit(std::string_view name, ElementType type, std::int64_t count, void* data) for all that a
    /// resumed run needs, in a fixed order: "steps", and of each parameter "<its name>.steps" and its arrays,
    /// "<its name>.first_moment". Data is the device's memory, but for counters, which are the host's; it may
    /// be read and written. A name is gone after the call. The rate is not among it: the caller sets it,
    /// perhaps anew for a run that is taken up.
    template <class F>
    void for_each_state(F&& visit) {
        visit(std::string_view("steps"), ElementType::i64, std::int64_t{1}, static_cast<void*>(&steps_));
        for (Entry& entry : entries_) {
            const std::string steps = entry.name + ".steps";
            visit(std::string_view(steps), ElementType::i64, std::int64_t{1},
                  static_cast<void*>(&entry.updates));
            for (State& state : entry.states) {
                const std::string name = entry.name + '.' + state.name;
                visit(std::string_view(name), element_type_of<C>(), state.count, state.storage.data());
            }
        }
    }

    double rate;  ///< of the next step

protected:
    struct State {
        const char* name;
        std::int64_t count;
        Storage storage;
    };

    /// A parameter that is trained, and what is kept for it.
    struct Entry {
        std::string name;
        ParameterBase* parameter;
        Treatment treatment;
        std::int64_t updates = 0;
        std::vector<State> states;

        std::int64_t size() const { return parameter->size(); }
        T* values() const { return static_cast<T*>(parameter->data); }
        const C* gradient() const { return static_cast<const C*>(parameter->gradient->storage.data()); }
        C* state(std::size_t number) const { return static_cast<C*>(states[number].storage.data()); }
    };

    /// `kind` is the optimizer's name, for messages. Throws Error where a parameter that is not frozen is not
    /// tracked, not of element type T, or there twice.
    template <TreatmentRule Rule>
    Optimizer(const char* kind, const ParameterList& parameters, double rate, const Rule& rule) : rate(rate) {
        for (const auto& [name, parameter] : parameters) {
            const Treatment treatment = rule(std::string_view(name), std::as_const(*parameter));
            if (treatment.frozen) continue;
            require_trainable(kind, name, *parameter);
            trained_.push_back(parameter);
            entries_.push_back({name, parameter, treatment, 0, {}});
        }
    }

    std::vector<Entry>& entries() { return entries_; }

    /// Zeros that go with a parameter from step to step.
    static void add_state(Entry& entry, const char* name, std::int64_t count) {
        const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(C);
        State state{name, count, Storage(Memory<Device>::allocate(bytes))};
        Memory<Device>::fill(static_cast<C*>(state.storage.data()), count, C(0));
        entry.states.push_back(std::move(state));
    }

    /// Calls update(entry) for each parameter that has a gradient, and forgets the gradient.
    template <class F>
    void update_each(F&& update) {
        ++steps_;
        for (Entry& entry : entries_) {
            GradientSlot& slot = *entry.parameter->gradient;
            if (!slot.written) continue;
            ++entry.updates;
            update(entry);
            slot.written = false;
        }
    }

    /// The rate of a parameter's next step: the optimizer's, times its group's, times its own scale.
    double rate_of(const Entry& entry) const { return group_rate_of(entry) * entry.parameter->rate_scale; }
    double group_rate_of(const Entry& entry) const { return rate * entry.treatment.rate; }

    /// What decoupled decay leaves of a parameter: 1 - rate · decay. A parameter's own scale of the rate, a
    /// matter of its width, does not weaken its decay.
    double keep_of(const Entry& entry, double decay) const {
        return 1 - group_rate_of(entry) * decay * entry.treatment.decay;
    }

private:
    void require_trainable(const char* kind, const std::string& name, const ParameterBase& parameter) const {
        const std::string where = std::string(kind) + ": parameter " + name + ": expected ";
        if (!parameter.gradient) throw Error(where + "a tracked parameter, got one that only runs forward");
        if (parameter.type != element_type_of<T>())
            throw Error(where + "elements of type " + std::string(name_of(element_type_of<T>())) + ", got " +
                        std::string(name_of(parameter.type)));
        if (std::find(trained_.begin(), trained_.end(), &parameter) != trained_.end())
            throw Error(where + "each parameter once, got it twice");
    }

    std::int64_t steps_ = 0;
    std::vector<Entry> entries_;
    std::vector<ParameterBase*> trained_;
};

}  // namespace tenon
