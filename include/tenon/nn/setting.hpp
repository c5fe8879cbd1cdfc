#pragma once

#include <concepts>
#include <type_traits>

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/precision.hpp>

namespace tenon {
namespace detail {

template <class Weight, class Value, class Device, class Tracking>
inline constexpr bool may_have_weights = std::same_as<Weight, Value> ||
                                         (std::same_as<Device, Cpu> && !Tracking::is_tracked);

/// How linear layers' matrices lie: of a model that may borrow them from a file, with strides that are known
/// at run time, which products on the CPU take as they are (but for those of 8 bits, which want it packed).
template <class Device, class Precision, class Tracking>
using LayoutOfMatrix =
    std::conditional_t<std::same_as<Device, Cpu> && !Tracking::is_tracked && !linear_in_float8<Precision>,
                       Strided, RowMajor>;

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

    /// The matrices of experts, the embedding or the head.
    template <class S>
    using Weight = tenon::Parameter<WeightOf<PrecisionType>, S, Device, Tracking>;

    /// The matrix of a linear layer.
    template <class S>
    using Matrix = tenon::Parameter<WeightOf<PrecisionType>, S, Device, Tracking,
                                    detail::LayoutOfMatrix<Device, PrecisionType, Tracking>>;

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
