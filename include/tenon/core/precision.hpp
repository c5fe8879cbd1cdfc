#pragma once

#include <tenon/core/element.hpp>

namespace tenon {

/// A precision names five types: what parameters and activations are stored in, what arithmetic is done in,
/// what sums add up in, what gradients are kept in, and what the optimizer's master copy of the parameters
/// is.
template <class P>
concept Precision = requires {
    typename P::storage;
    typename P::arithmetic;
    typename P::accumulation;
    typename P::gradient;
    typename P::master;
};

/// All in 32 bits.
struct F32 {
    using storage = float;
    using arithmetic = float;
    using accumulation = float;
    using gradient = float;
    using master = float;
};

/// All in 64 bits, for checks.
struct F64 {
    using storage = double;
    using arithmetic = double;
    using accumulation = double;
    using gradient = double;
    using master = double;
};

}  // namespace tenon
