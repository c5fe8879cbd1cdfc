#pragma once

#include <tenon/model/architectures.hpp>

namespace tenon {

/// What a checkpoint's configuration says, where the compiler knows it: `tenon_checkpoint` writes the table.
template <const ConfigurationTable& table>
struct StaticCheckpoint {
    static constexpr bool is_supported = true;
    static constexpr Architecture architecture = find_architecture(table);
    static constexpr TransformerSizes sizes = architecture.sizes;
    using Features = typename decltype([] {
        if constexpr (architecture.is_encoder)
            return EncoderAt<architecture.index>();
        else
            return ArchitectureAt<architecture.index>();
    }())::Features;
    using Configuration = StaticTransformer<sizes, Features>;
};

}  // namespace tenon
