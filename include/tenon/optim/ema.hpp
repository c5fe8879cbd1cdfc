#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/core/error.hpp>
#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// One weights' average.
template <class T>
struct Average {
    std::string name;
    ParameterBase* parameter;
    Storage storage;
    Storage weights_aside;  ///< while the average is in the model, and rounded there

    std::int64_t size() const { return parameter->size(); }
    /// The weights; null where they are of the average's type.
    T* weights() const { return is_wide() ? nullptr : static_cast<T*>(parameter->data); }
    /// The weights that are of the average's type; else null.
    ComputeOf<T>* wide_weights() const {
        return is_wide() ? static_cast<ComputeOf<T>*>(parameter->data) : nullptr;
    }
    ComputeOf<T>* data() const { return static_cast<ComputeOf<T>*>(storage.data()); }

private:
    bool is_wide() const { return parameter->type == element_type_of<ComputeOf<T>>(); }
};

/// Names the averages' update where kernels are declared: of a Pass<T> over a list of averages,
/// `prepare(share)` notes what they take of the weights, and `run()` makes the update, on the GPU in one
/// launch; `swap` exchanges two arrays.
struct EmaUpdate {};

struct EmaOptions {
    double decay = 0.999;  ///< what an average keeps of itself at an update
    bool warmup = false;  ///< at update t, from 0, at most (1 + t) / (10 + t), so that the start is forgotten
};

/// Exponential moving averages of a model's weights (Polyak, Juditsky 1992, and as it is done since):
/// average = decay · average + (1 - decay) · weight, one pass. They begin as the weights are; those of 16-bit
/// weights have 32.
///
///     Ema ema{model, {.decay = 0.999}};
///     ... optimizer.step(); ema.update();
///     {
///         const auto averaged = ema.swap_in();  // the model has the averages until the scope ends
///         evaluate(model);
///     }
template <class T, class Device>
class Ema {
public:
    using device_type = Device;

    /// For the parameters of a model, which must stay where it is, or for bare ones. Throws Error where one
    /// is of an element type that is neither T nor the averages', or the decay not from 0 to 1.
    explicit Ema(const ParameterList& parameters, EmaOptions options = {}) : options_(options) {
        if (!(options.decay >= 0 && options.decay <= 1))
            throw Error("Ema: expected a decay from 0 to 1, got " + std::to_string(options.decay));
        for (const auto& [name, parameter] : parameters) {
            constexpr ElementType own = element_type_of<T>(), wide = element_type_of<ComputeOf<T>>();
            if (parameter->type != own && parameter->type != wide)
                throw Error("Ema: parameter " + name + ": expected elements of type " +
                            std::string(name_of(own)) +
                            (own == wide ? "" : " or " + std::string(name_of(wide))) + ", got " +
                            std::string(name_of(parameter->type)));
            averages_.push_back({name, parameter, allocated<ComputeOf<T>>(parameter->size()), {}});
            const Average<T>& average = averages_.back();
            if (average.weights())
                copy(average.weights(), average.size(), average.data());
            else
                copy(average.wide_weights(), average.size(), average.data());
        }
        pass_ = Pass(averages_);
    }
    Ema(const Ema&) = delete;
    Ema& operator=(const Ema&) = delete;
    Ema(Ema&&) = default;

    /// Moves the averages towards the weights; call it after each step. Throws Error while they are swapped.
    void update() {
        prepare_update();
        enqueue_update();
    }

    /// The first part of an update, for one that is captured in a graph and replayed: called before each
    /// replay. Throws as `update` does.
    void prepare_update() {
        if (is_swapped_) throw Error("Ema: expected the weights in the model at an update, got the averages");
        const auto t = static_cast<double>(updates_++);
        const double decay = options_.warmup ? std::min(options_.decay, (1 + t) / (10 + t)) : options_.decay;
        pass_.prepare(static_cast<ComputeOf<T>>(1 - decay));
    }
    /// The second, which is captured.
    void enqueue_update() { pass_.run(); }

    /// While it lives, the averages are in the model's memory, and the weights wait here.
    class Swapped {
    public:
        explicit Swapped(Ema& ema) : ema_(ema) { ema_.exchange(true); }
        Swapped(const Swapped&) = delete;
        Swapped& operator=(const Swapped&) = delete;
        ~Swapped() { ema_.exchange(false); }

    private:
        Ema& ema_;
    };

    /// Exchanges averages and weights, in place and in one pass, until what it returns is gone: whatever
    /// shares the model's memory sees the averages. Throws Error where they are exchanged already.
    [[nodiscard]] Swapped swap_in() {
        if (is_swapped_) throw Error("Ema: expected the weights in the model, got the averages already");
        return Swapped(*this);
    }

    /// Number of calls of `update`.
    std::int64_t updates() const { return updates_; }

    /// Throws Error while the averages are in the model, where a checkpoint takes the weights to be.
    void require_checkpoint() const {
        if (is_swapped_)
            throw Error("Ema: expected the weights in the model at a checkpoint, got the averages");
    }

    /// See Optimizer::for_each_state: "updates", and of each parameter "<its name>.average".
    template <class F>
    void for_each_state(F&& visit) {
        visit(std::string_view("updates"), ElementType::i64, std::int64_t{1}, static_cast<void*>(&updates_));
        for (Average<T>& average : averages_) {
            const std::string name = average.name + ".average";
            visit(std::string_view(name), element_type_of<ComputeOf<T>>(), average.size(),
                  static_cast<void*>(average.data()));
        }
    }

private:
    using Pass = typename Kernel<EmaUpdate, Device>::template Pass<T>;

    template <class X>
    static Storage allocated(std::int64_t count) {
        return Storage(Memory<Device>::allocate(static_cast<std::size_t>(count) * sizeof(X)));
    }
    template <class From, class To>
    static void copy(const From* from, std::int64_t count, To* to) {
        if constexpr (std::same_as<From, To>)
            Memory<Device>::copy(from, count, to);
        else
            Kernel<ElementwiseUpdate, Device>::copy(from, count, to);
    }

    void exchange(bool is_swapped) {
        for (Average<T>& average : averages_) {
            if (average.wide_weights()) {
                Kernel<EmaUpdate, Device>::swap(average.wide_weights(), average.data(), average.size());
            } else if (is_swapped) {
                average.weights_aside = allocated<T>(average.size());
                copy(average.weights(), average.size(), static_cast<T*>(average.weights_aside.data()));
                copy(average.data(), average.size(), average.weights());
            } else {
                copy(static_cast<const T*>(average.weights_aside.data()), average.size(), average.weights());
                average.weights_aside.reset();
            }
        }
        is_swapped_ = is_swapped;
    }

    EmaOptions options_;
    std::int64_t updates_ = 0;
    bool is_swapped_ = false;
    std::vector<Average<T>> averages_;
    Pass pass_;
};

template <class Model>
Ema(Model&, EmaOptions = {}) -> Ema<typename Model::Value, typename Model::Device>;

}  // namespace tenon
