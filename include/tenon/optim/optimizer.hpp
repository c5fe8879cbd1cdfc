#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/core/error.hpp>
#include <tenon/core/precision.hpp>
#include <tenon/optim/gradients.hpp>
#include <tenon/optim/loss_scale.hpp>
#include <tenon/optim/parameter_list.hpp>
#include <tenon/optim/pass.hpp>
#include <tenon/optim/treatment.hpp>
#include <tenon/optim/weights.hpp>

namespace tenon {

/// What all optimizers share: the list of parameters that they train, each with its treatment and its state,
/// which is of C, the type of gradients. Gradients add up over backward passes until `step`, so a large batch
/// may come in k parts whose losses are divided by k (`accumulate_gradients` does that); then come `clip`,
/// over their sum, and `step`.
///
/// Where `Master` is not T, it keeps a copy of the parameters in that type, begun as they are at the first
/// step, which the steps change; the parameters are the copy, rounded. Who changes them later says so by
/// `read_weights`. Parameters that are of type `Master` themselves need no copy. Parameters of 16 bits
/// without one are rounded stochastically, by `seed`.
template <class T, class C, class Device, class Master = T>
class Optimizer {
public:
    using device_type = Device;
    /// Whether losses are scaled (see LossScaling), so that a step whose gradients are not finite is no
    /// fault.
    static constexpr bool has_loss_scale = std::same_as<T, f16>;

    Optimizer(const Optimizer&) = delete;
    Optimizer& operator=(const Optimizer&) = delete;
    Optimizer(Optimizer&&) = default;
    virtual ~Optimizer() = default;

    /// Updates each parameter that has a gradient, and forgets the gradients.
    void step() {
        note_gradients();
        prepare_step();
        enqueue_step();
    }

    // A step in two parts, for one that is captured in a graph of the GPU's work and replayed: `enqueue_step`
    // is captured, and `prepare_step` is called before each replay, outside of it, on the same stream. Where
    // the backward pass, too, was replayed, so that the host does not see what it did, the same parameters
    // have gradients as at the last step.

    /// Counts a step, and gives the device its numbers. Nothing waits.
    void prepare_step() {
        if (has_any_gradient()) note_gradients();
        is_prepared_ = true;
        ++steps_;
        must_skip_ = scaling_.must_skip();
        for (Entry& entry : entries_) entry.updates += entry.has_gradient && !must_skip_;
        counts_.prepare(entries_);
        prepare();
    }

    /// Gives the device the work of a step, and forgets the gradients.
    void enqueue_step() {
        const bool as_before = has_gradients_as_before();
        if (!as_before) note_gradients();
        scaling_.begin_step(as_before);
        counts_.run(scaling_.scale());
        if (!must_skip_) enqueue(scaling_.scale());
        scaling_.end_step();
        for (Entry& entry : entries_) entry.parameter->gradient->written = false;
        is_prepared_ = false;
    }

    /// Scales the gradients of what is trained to a norm of at most `maximum`; returns their norm before. On
    /// the GPU the next step scales them as it reads them, and the norm is read when it is asked for.
    auto clip(double maximum) { return scaling_.clip(maximum, has_gradients_as_before()); }

    /// The backward pass of a loss, times `factor`: of f16 weights with the loss scaled (see LossScaling),
    /// which `clip` and `step` undo. A step whose gradients are not finite is left out then.
    template <class Loss>
    void backward(const Loss& loss, double factor = 1) {
        if constexpr (has_loss_scale) {
            using G = GradientOf<typename Loss::value_type, Device>;
            const Storage seed = scaling_.template seed<G>(factor);
            tenon::backward(loss, std::span<const G>(static_cast<const G*>(seed.data()), 1));
        } else {
            tenon::backward(loss, factor);
        }
    }

    /// What the next backward pass scales the loss by.
    auto loss_scale() const requires(has_loss_scale) { return scaling_.loss_scale(); }
    /// Begins anew, with another scale at the beginning, or other rules.
    void set_loss_scaling(const LossScaling& options) requires(has_loss_scale) { scaling_.set(options); }

    /// Number of calls of `step`; a parameter without a gradient sits some of them out.
    std::int64_t steps() const { return steps_; }

    /// Takes the master copies from the parameters anew, which something other than this has changed.
    void read_weights() {
        if constexpr (Weights<T, Master>::has_master)
            for (Entry& entry : entries_)
                if (entry.master)
                    Kernel<ElementwiseUpdate, Device>::copy(static_cast<const T*>(entry.parameter->data),
                                                            entry.size(),
                                                            static_cast<Master*>(entry.master.data()));
        has_read_weights_ = true;
    }

    /// Calls visit(std::string_view name, ElementType type, std::int64_t count, void* data) for all that a
    /// resumed run needs, in a fixed order: "steps"; with a scale of the loss "loss_scale", and its age,
    /// "loss_scale_age"; and of each parameter "<its name>.steps", its master copy where there is one, "<its
    /// name>.master", and its arrays, "<its name>.first_moment". Data is the device's memory, or, of a
    /// counter, perhaps the host's, which `Memory<Device>::copy` reads and writes alike. A name is gone after
    /// the call. The rate is not among it: the caller sets it, perhaps anew for a run that is taken up.
    template <class F>
    void for_each_state(F&& visit) {
        if (!has_read_weights_) read_weights();
        visit(std::string_view("steps"), ElementType::i64, std::int64_t{1}, static_cast<void*>(&steps_));
        if constexpr (has_loss_scale) {
            visit(std::string_view("loss_scale"), ElementType::f32, std::int64_t{1},
                  static_cast<void*>(scaling_.scale_data()));
            visit(std::string_view("loss_scale_age"), ElementType::i64, std::int64_t{1},
                  static_cast<void*>(scaling_.age_data()));
        }
        for (Entry& entry : entries_) {
            const std::string steps = entry.name + ".steps";
            visit(std::string_view(steps), ElementType::i64, std::int64_t{1},
                  static_cast<void*>(counts_.of(entry)));
            if (entry.master) {
                const std::string master = entry.name + ".master";
                visit(std::string_view(master), element_type_of<Master>(), entry.size(), entry.master.data());
            }
            for (auto& state : entry.states) {
                const std::string name = entry.name + '.' + state.name;
                visit(std::string_view(name), element_type_of<C>(), state.count, state.storage.data());
            }
        }
    }

    double rate;  ///< of the next step
    Seed seed;    ///< of stochastic rounding

protected:
    using Entry = TrainedParameter<T, C, Master>;
    using GradientScale = typename Kernel<GradientNorm, Device>::Scale;

    /// `kind` is the optimizer's name, for messages. Throws Error where a parameter that is not frozen is not
    /// tracked, of an element type that is neither T nor `Master`, or there twice.
    template <TreatmentRule Rule>
    Optimizer(const char* kind, const ParameterList& parameters, double rate, const Rule& rule) : rate(rate) {
        for (const auto& [name, parameter] : parameters) {
            const Treatment treatment = rule(std::string_view(name), std::as_const(*parameter));
            if (treatment.frozen) continue;
            require_trainable(kind, name, *parameter);
            trained_.push_back(parameter);
            entries_.push_back({name, parameter, treatment, entries_.size(), 0, nullptr, false, {}, {}});
            if (parameter->type != element_type_of<Master>())
                entries_.back().master = allocated<Master>(parameter->size());
        }
        scaling_ = Scaling(trained_);
        counts_ = Counts(entries_);
    }

    /// Notes the rule of each parameter that has a gradient.
    virtual void prepare() = 0;
    /// Updates each parameter that has a gradient, whose factor is `scale`.
    virtual void enqueue(const GradientScale& scale) = 0;

    /// What is trained; it stays where it is for as long as the optimizer lives, moved or not.
    std::vector<Entry>& entries() { return entries_; }

    /// The list for a pass: those for which a condition holds.
    template <class Condition>
    std::vector<Entry*> entries_where(const Condition& condition) {
        std::vector<Entry*> chosen;
        for (Entry& entry : entries_)
            if (condition(std::as_const(entry))) chosen.push_back(&entry);
        return chosen;
    }

    std::vector<Entry*> all_entries() {
        return entries_where([](const Entry&) { return true; });
    }

    /// Zeros that go with a parameter from step to step.
    static void add_state(Entry& entry, const char* name, std::int64_t count) {
        Storage storage = allocated<C>(count);
        Memory<Device>::fill(static_cast<C*>(storage.data()), count, C(0));
        entry.states.push_back({name, count, std::move(storage)});
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
    using Scaling = typename Kernel<GradientNorm, Device>::template Scaling<C, has_loss_scale>;
    using Counts = typename Kernel<ElementwiseUpdate, Device>::template Counts<Entry, T>;

    template <class X>
    static Storage allocated(std::int64_t count) {
        return Storage(Memory<Device>::allocate(static_cast<std::size_t>(count) * sizeof(X)));
    }

    bool has_any_gradient() const {
        return std::any_of(trained_.begin(), trained_.end(),
                           [](const ParameterBase* parameter) { return parameter->gradient->written; });
    }
    /// Whether a replayed backward pass has made gradients.
    bool has_gradients_as_before() const { return is_prepared_ && !has_any_gradient(); }

    void note_gradients() {
        if (!has_read_weights_) read_weights();
        for (Entry& entry : entries_) entry.has_gradient = entry.parameter->gradient->written;
    }

    void require_trainable(const char* kind, const std::string& name, const ParameterBase& parameter) const {
        const std::string where = std::string(kind) + ": parameter " + name + ": expected ";
        if (!parameter.gradient) throw Error(where + "a tracked parameter, got one that only runs forward");
        constexpr ElementType own = element_type_of<T>(), master = element_type_of<Master>();
        if (parameter.type != own && parameter.type != master)
            throw Error(where + "elements of type " + std::string(name_of(own)) +
                        (own == master ? "" : " or " + std::string(name_of(master))) + ", got " +
                        std::string(name_of(parameter.type)));
        if (std::find(trained_.begin(), trained_.end(), &parameter) != trained_.end())
            throw Error(where + "each parameter once, got it twice");
    }

    std::int64_t steps_ = 0;
    bool has_read_weights_ = false, is_prepared_ = false, must_skip_ = false;
    std::vector<Entry> entries_;
    std::vector<ParameterBase*> trained_;
    Scaling scaling_;
    Counts counts_;
};

}  // namespace tenon
