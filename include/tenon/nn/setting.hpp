#pragma once

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/precision.hpp>

namespace tenon {

/// Where and how a model computes: what its layers share, and do not otherwise know.
template <class DeviceType, Precision PrecisionType, class TrackingType>
struct Setting {
    using Device = DeviceType;
    using Precision = PrecisionType;
    using Tracking = TrackingType;
    using Value = typename PrecisionType::storage;

    template <class S>
    using Parameter = tenon::Parameter<Value, S, Device, Tracking>;

    /// A norm's gain or bias. These are few, and what one is rounded by all rows have in common: they are
    /// kept as the optimizer keeps parameters, and so need no second copy.
    template <class S>
    using NormParameter = tenon::Parameter<typename PrecisionType::master, S, Device, Tracking>;

    /// What enters a model's first block, as its blocks take it.
    template <class X>
    static const X& entering(const X& x) {
        return x;
    }
};

namespace detail {
template <class Model>
struct MakeTrainable;  // beside each model
}

/// The same model with gradients.
template <class Model>
using Trainable = typename detail::MakeTrainable<Model>::type;

}  // namespace tenon
