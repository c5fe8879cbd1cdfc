#pragma once

#include <tenon/op/experts/route_options.hpp>

/// What models that may have mixtures of experts say of them, without what only those need.
namespace tenon {

/// The numbers of a mixture of experts that are no extents of its parameters' types.
struct MixtureOptions {
    RouteOptions route;
    /// An expert takes at most so many times the assignments that it would have if all were balanced, and
    /// drops the others; 0: all (dropless).
    double capacity_factor = 0;
};

/// The numbers of a block's mixture of experts.
struct MixtureSizes {
    MixtureOptions options;
    int experts = 0, shared_hidden = 0;
    int dense_hidden = 0;  ///< if positive, the layer is no mixture, but dense, of this hidden width
};

template <class Setting>
class RoutingRecord;

/// Stands for a record that nobody asked for.
struct NoRoutingRecord {
    static constexpr bool is_kept = false;
};

}  // namespace tenon
