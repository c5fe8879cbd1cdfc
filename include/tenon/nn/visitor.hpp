#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/huge_pages.hpp>
#include <tenon/core/precision.hpp>

namespace tenon {

struct AdapterPlace;

/// Walks the parameters of a model, each under its full name, shapes erased: initializing, counting, loading,
/// saving and optimizing are written against it. A callback that `takes_adapter_places` (see
/// `nn/adapted.hpp`) is called with these, too.
class ParameterVisitor {
public:
    template <class F>
    explicit ParameterVisitor(F& callback)
        : context_(&callback), call_([](void* context, std::string_view name, ParameterBase& parameter) {
              (*static_cast<F*>(context))(name, parameter);
          }) {
        if constexpr (requires { requires F::takes_adapter_places; })
            call_place_ = [](void* context, std::string_view name, AdapterPlace& place) {
                (*static_cast<F*>(context))(name, place);
            };
    }

    /// Visits a parameter of the layer at hand.
    void operator()(std::string_view name, ParameterBase& parameter) {
        const std::size_t length = path_.size();
        path_ += name;
        call_(context_, path_, parameter);
        path_.resize(length);
    }

    /// Visits the place for an adapter of the layer at hand whose weight is called so.
    void operator()(std::string_view name, AdapterPlace& place) {
        if (!call_place_) return;
        const std::size_t length = path_.size();
        path_ += name;
        call_place_(context_, path_, place);
        path_.resize(length);
    }

    /// Visits a part of the layer at hand, whose parameters' names begin with `name` and a dot.
    template <class Layer>
    void part(std::string_view name, Layer& layer) {
        const std::size_t length = path_.size();
        path_ += name;
        path_ += '.';
        layer.visit_parameters(*this);
        path_.resize(length);
    }

private:
    std::string path_;
    void* context_;
    void (*call_)(void*, std::string_view, ParameterBase&);
    void (*call_place_)(void*, std::string_view, AdapterPlace&) = nullptr;
};

/// Calls f(name, parameter) for every parameter of a model, in a fixed order.
template <class Model, class F>
void for_each_parameter(Model& model, F&& f) {
    ParameterVisitor visitor(f);
    model.visit_parameters(visitor);
}

/// Lets the parameters of `to` be those of `from`, a model with the same. Throws Error where `from` has
/// borrowed one whose strides `to` cannot take.
template <class From, class To>
void share_parameters(From& from, To& to) {
    std::vector<ParameterBase*> sources;
    for_each_parameter(from,
                       [&](std::string_view, ParameterBase& parameter) { sources.push_back(&parameter); });
    std::size_t next = 0;
    for_each_parameter(to, [&](std::string_view, ParameterBase& parameter) {
        const ParameterBase& source = *sources[next++];
        if (!source.is_packed() && !parameter.takes_strides)
            throw Error("share_parameters: expected a packed parameter, got one with strides");
        parameter.storage = source.storage;
        parameter.data = source.data;
        parameter.strides = source.strides;
    });
}

namespace detail {

/// Whether a model's matrices are of the types that a file has.
template <class Model>
inline constexpr bool has_stored_weights = requires {
    requires std::same_as<tenon::WeightOf<typename Model::Precision>, StoredReal>;
};

}  // namespace detail

/// Returns f(std::type_identity<T>()), where T is a parameter's element type: what its model stores
/// parameters in, or what the optimizer keeps them in, which some are of, or a file's.
template <class Model, class F>
decltype(auto) visit_element_type(const ParameterBase& parameter, F&& f) {
    using T = typename Model::Value;
    using Master = MasterOf<Model>;
    if constexpr (!std::same_as<T, Master>)
        if (parameter.type == element_type_of<Master>()) return f(std::type_identity<Master>());
    if constexpr (detail::has_stored_weights<Model>) {
        if (parameter.type == ElementType::bf16) return f(std::type_identity<bf16>());
        if (parameter.type == ElementType::f16) return f(std::type_identity<f16>());
    }
    return f(std::type_identity<T>());
}

/// Takes the memory of a model's parameters that have none (see UnallocatedParameters); uninitialized. On the
/// host it is one block, of huge pages where there are such.
template <class Model>
void allocate_parameters(Model& model) {
    if constexpr (std::same_as<typename Model::Device, Cpu>) {
        constexpr std::size_t line = 64;
        const auto bytes_of = [](const ParameterBase& parameter) {
            const std::size_t bytes = detail::bytes_of(parameter.extents, size_of(parameter.type));
            return (bytes + line - 1) / line * line;
        };
        std::size_t all = 0;
        for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
            if (!parameter.data) all += bytes_of(parameter);
        });
        const Storage block(Memory<Cpu>::allocate(all));
        detail::prefer_huge_pages(block.data(), all);
        auto* next = static_cast<std::byte*>(block.data());
        for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
            if (parameter.data) return;
            parameter.place(block, next);
            next += bytes_of(parameter);
        });
        return;
    }
    for_each_parameter(model, [](std::string_view, ParameterBase& parameter) {
        if (parameter.data) return;
        Storage own(Memory<typename Model::Device>::allocate(
            detail::bytes_of(parameter.extents, size_of(parameter.type))));
        void* const elements = own.data();
        parameter.place(std::move(own), elements);
    });
}

}  // namespace tenon
