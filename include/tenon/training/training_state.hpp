#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/autograd/parameter.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {
namespace detail {

template <class Part>
struct DeviceOf {
    using type = Cpu;
};
template <class Part>
    requires requires { typename Part::device_type; }
struct DeviceOf<Part> {
    using type = typename Part::device_type;
};

}  // namespace detail

/// Views, under names, of all that a training run is made of: what must be the same again for the run to go
/// on as if it had never stopped. Batches and random numbers here are functions of a seed and a counter, so
/// that their state is the counter.
///
///     TrainingState state;
///     state.add_parameters("model", model);
///     state.add_part("optimizer", optimizer);
///     state.add_value("step", step);
///     state.add_setting("seed", "42");
///
/// What is added must stay where it is for as long as the state is used.
class TrainingState {
public:
    struct Item {
        std::string name;
        ElementType type;
        std::vector<std::int64_t> shape;
        std::span<std::byte> bytes;  ///< of the memory of the host, or of a device
        /// How they are copied between a device and the host; null where they are the host's.
        void (*copy)(const std::byte* from, std::int64_t count, std::byte* to) = nullptr;

        /// Fills them from memory of the host.
        void read_from(const std::byte* from) const {
            if (copy)
                copy(from, static_cast<std::int64_t>(bytes.size()), bytes.data());
            else
                std::copy_n(from, bytes.size(), bytes.data());
        }
    };

    /// A text that says how the run was set up. One that decides what the numbers mean, such as the text that
    /// is learned, must agree when a run is taken up; another, such as a rate, may have been changed.
    struct Setting {
        std::string name, value;
        bool may_change;
    };

    /// The parameters of a model. Throws Error where one is borrowed.
    template <class Model>
    void add_parameters(const std::string& name, Model& model) {
        for_each_parameter(model, [&](std::string_view parameter_name, ParameterBase& parameter) {
            const Extents& extents = parameter.extents;
            add<typename Model::Device>(name + "." + std::string(parameter_name), parameter.type,
                                        {extents.size, extents.size + extents.rank}, parameter.size(),
                                        parameter.own_data());
        });
    }

    /// What has a state of its own and shows it by `for_each_state(visit)`, which calls visit(name,
    /// ElementType, count, data) for each piece: an optimizer, an average of the weights. Data may be memory
    /// of its `device_type`, if it names one. Where the part cannot always be written or filled, its
    /// `require_checkpoint()` throws when it cannot.
    template <class Part>
    void add_part(const std::string& name, Part& part) {
        part.for_each_state([&](std::string_view piece, ElementType type, std::int64_t count, void* data) {
            add<typename detail::DeviceOf<Part>::type>(name + "." + std::string(piece), type, {count}, count,
                                                       data);
        });
        if constexpr (requires { part.require_checkpoint(); })
            requirements_.push_back([&part] { part.require_checkpoint(); });
    }

    /// A number.
    template <class T>
        requires(std::same_as<T, double> || std::same_as<T, std::int64_t> || std::same_as<T, std::uint64_t>)
    void add_value(const std::string& name, T& value) { add<Cpu>(name, element_type_of<T>(), {}, 1, &value); }

    void add_setting(const std::string& name, const std::string& value, bool may_change = false) {
        settings_.push_back({name, value, may_change});
    }

    /// Throws what a part throws that cannot be written or filled now.
    void require_checkpoint() const {
        for (const auto& requirement : requirements_) requirement();
    }

    const std::vector<Item>& items() const { return items_; }
    const std::vector<Setting>& settings() const { return settings_; }

private:
    template <class Device>
    void add(std::string name, ElementType type, std::vector<std::int64_t> shape, std::int64_t count,
             void* data) {
        const std::size_t size = static_cast<std::size_t>(count) * size_of(type);
        items_.push_back({std::move(name), type, std::move(shape), {static_cast<std::byte*>(data), size}});
        if constexpr (!std::same_as<Device, Cpu>)
            items_.back().copy = &Memory<Device>::template copy<std::byte>;
    }

    std::vector<Item> items_;
    std::vector<Setting> settings_;
    std::vector<std::function<void()>> requirements_;
};

}  // namespace tenon
