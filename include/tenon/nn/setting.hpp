#pragma once

#include <concepts>

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/precision.hpp>

namespace tenon {
namespace detail {

template <class Weight, class Value, class Device, class Tracking>
inline constexpr bool may_have_weights = std::same_as<Weight, Value> ||
                                         (std::same_as<Device, Cpu> && !Tracking::is_tracked);

}  // namespace detail

/// Where and how a model computes: what its layers share, and do not otherwise know.
template <class DeviceType, Precision PrecisionType, class TrackingType>
struct Setting {
    using Device = DeviceType;
    using Precision = PrecisionType;
    using Tracking = TrackingType;
    using Value = typename PrecisionType::storage;

    static_assert(detail::may_have_weights<WeightOf<PrecisionType>, Value, Device, Tracking>,
                  "weights of the type that a file has are for models on the CPU that only run forward");

    template <class S>
    using Parameter = tenon::Parameter<Value, S, Device, Tracking>;

    /// A matrix: of a linear layer or of experts, the embedding or the head.
    template <class S>
    using Weight = tenon::Parameter<WeightOf<PrecisionType>, S, Device, Tracking>;

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
