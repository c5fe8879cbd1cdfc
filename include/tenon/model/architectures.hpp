#pragma once

#include <tenon/model/cs336.hpp>
#include <tenon/model/llama.hpp>

namespace tenon {

template <class... A>
struct ArchitectureList {};

/// The architectures that checkpoints are read as: one file each, in alphabetical order.
using Architectures = ArchitectureList<Cs336, Llama>;

/// An architecture and a model's numbers, as a checkpoint's configuration says them.
struct Architecture {
    std::string_view name;  ///< empty: none that is known
    TransformerSizes sizes;
    CheckpointNames names;

    constexpr explicit operator bool() const { return !name.empty(); }
};

namespace detail {
template <class... A>
constexpr Architecture find_architecture(const ConfigurationTable& table, ArchitectureList<A...>) {
    Architecture found;
    (void)((A::recognizes(table) ? (found = {A::name, A::sizes(table), A::names}, true) : false) || ...);
    return found;
}
}  // namespace detail

/// The architecture that a configuration names, at compile time or run time. Throws FileError where it is
/// known and a number is missing.
constexpr Architecture find_architecture(const ConfigurationTable& table) {
    return detail::find_architecture(table, Architectures{});
}

}  // namespace tenon
