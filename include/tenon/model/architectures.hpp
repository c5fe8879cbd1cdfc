#pragma once

#include <tenon/model/cs336.hpp>
#include <tenon/model/gpt2.hpp>
#include <tenon/model/llama.hpp>

namespace tenon {

template <class... A>
struct ArchitectureList {};

/// The architectures that checkpoints are read as: one file each, in alphabetical order.
using Architectures = ArchitectureList<Cs336, Gpt2, Llama>;

/// An architecture and a model's numbers, as a checkpoint's configuration says them.
struct Architecture {
    int index = -1;         ///< in Architectures; -1: none that is known
    std::string_view name;  ///< empty: none that is known
    TransformerSizes sizes;
    CheckpointNames names;

    constexpr explicit operator bool() const { return index >= 0; }
};

namespace detail {

template <class... A>
constexpr Architecture find_architecture(const ConfigurationTable& table, ArchitectureList<A...>) {
    Architecture found;
    int index = 0;
    (void)((A::recognizes(table) ? (found = {index, A::name, A::sizes(table), A::names}, true)
                                 : (++index, false)) ||
           ...);
    return found;
}

template <int index, class First, class... Rest>
constexpr auto architecture_at(ArchitectureList<First, Rest...>) {
    if constexpr (index == 0)
        return First();
    else
        return architecture_at<index - 1>(ArchitectureList<Rest...>());
}

template <class F, class First, class... Rest>
auto visit_architecture(int index, F& f, ArchitectureList<First, Rest...>) {
    if constexpr (sizeof...(Rest) > 0)
        if (index > 0) return visit_architecture(index - 1, f, ArchitectureList<Rest...>());
    return f(First());
}

}  // namespace detail

/// The architecture that a configuration names, at compile time or run time. Throws FileError where it is
/// known and a number is missing.
constexpr Architecture find_architecture(const ConfigurationTable& table) {
    return detail::find_architecture(table, Architectures{});
}

/// The architecture of a number known at compile time: `ArchitectureAt<architecture.index>::Features`.
template <int index>
using ArchitectureAt = decltype(detail::architecture_at<index>(Architectures()));

/// Calls f with the architecture that was found, as a value of its type, and returns what f does: where a
/// model's features are read from a file. It compiles f for every architecture.
///
///     visit_architecture(architecture, [&]<class A>(A) {
///         using Model = Transformer<DynamicTransformer<typename A::Features>>;
///         …
///     });
template <class F>
auto visit_architecture(const Architecture& architecture, F&& f) {
    if (!architecture) throw Error("visit_architecture: expected a known architecture, got none");
    return detail::visit_architecture(architecture.index, f, Architectures());
}

}  // namespace tenon
