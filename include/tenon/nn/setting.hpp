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
};

}  // namespace tenon
