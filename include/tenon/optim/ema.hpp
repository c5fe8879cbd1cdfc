#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/core/error.hpp>
#include <tenon/optim/optimizer.hpp>

namespace tenon {

/// Names the averages' update where kernels are declared.
struct EmaUpdate {};

struct EmaOptions {
    double decay = 0.999;  ///< what an average keeps of itself at an update
    bool warmup = false;  ///< at update t, from 0, at most (1 + t) / (10 + t), so that the start is forgotten
};

/// Exponential moving averages of a model's weights (Polyak, Juditsky 1992, and as it is done since):
/// average = decay · average + (1 - decay) · weight, one pass. They begin as the weights are.
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
    /// For the parameters of a model, which must stay where it is, or for bare ones. Throws Error where one
    /// is not of element type T, or the decay not from 0 to 1.
    explicit Ema(const ParameterList& parameters, EmaOptions options = {}) : options_(options) {
        if (!(options.decay >= 0 && options.decay <= 1))
            throw Error("Ema: expected a decay from 0 to 1, got " + std::to_string(options.decay));
        for (const auto& [name, parameter] : parameters) {
            if (parameter->type != element_type_of<T>())
                throw Error("Ema: parameter " + name + ": expected elements of type " +
                            std::string(name_of(element_type_of<T>())) + ", got " +
                            std::string(name_of(parameter->type)));
            const std::size_t bytes = static_cast<std::size_t>(parameter->size()) * sizeof(T);
            averages_.push_back({name, parameter, Storage(Memory<Device>::allocate(bytes))});
            Memory<Device>::copy(averages_.back().weights(), parameter->size(), averages_.back().data());
        }
    }
    Ema(const Ema&) = delete;
    Ema& operator=(const Ema&) = delete;
    Ema(Ema&&) = default;

    /// Moves the averages towards the weights; call it after each step. Throws Error while they are swapped.
    void update() {
        if (is_swapped_) throw Error("Ema: expected the weights in the model at an update, got the averages");
        const auto t = static_cast<double>(updates_++);
        const double decay = options_.warmup ? std::min(options_.decay, (1 + t) / (10 + t)) : options_.decay;
        for (Average& average : averages_)
            Kernel<EmaUpdate, Device>::run(average.weights(), average.data(), average.parameter->size(),
                                           static_cast<T>(1 - decay));
    }

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
        for (Average& average : averages_) {
            const std::string name = average.name + ".average";
            visit(std::string_view(name), element_type_of<T>(), average.parameter->size(),
                  static_cast<void*>(average.data()));
        }
    }

private:
    struct Average {
        std::string name;
        ParameterBase* parameter;
        Storage storage;

        T* weights() const { return static_cast<T*>(parameter->data); }
        T* data() const { return static_cast<T*>(storage.data()); }
    };

    void exchange(bool is_swapped) {
        for (Average& average : averages_)
            Kernel<EmaUpdate, Device>::swap(average.weights(), average.data(), average.parameter->size());
        is_swapped_ = is_swapped;
    }

    EmaOptions options_;
    std::int64_t updates_ = 0;
    bool is_swapped_ = false;
    std::vector<Average> averages_;
};

template <class Model>
Ema(Model&, EmaOptions = {}) -> Ema<typename Model::Value, typename Model::Device>;

}  // namespace tenon
