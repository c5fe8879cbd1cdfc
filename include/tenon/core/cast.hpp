#pragma once

#include <tenon/core/elements.hpp>
#include <tenon/core/on_host.hpp>
#include <tenon/core/tensor.hpp>
#include <tenon/core/to_device.hpp>

namespace tenon {

/// The elements of x in another type, packed: `cast<bf16>(x)`. Each is rounded once, to nearest; reals that
/// become integers are truncated, and must fit. The host does it, on x's device or not. Outside of
/// differentiation.
template <Element To, TensorLike X>
auto cast(const X& x) {
    static_assert(!X::is_tracked, "cast carries no gradient: write cast<…>(detach(x)) where that is meant");
    const auto& from = on_host(x);
    auto result = Tensor<To, typename X::shape_type>::with_extents(x.extents());
    const Elements elements(from.view());
    for (std::int64_t i = 0; i < elements.size(); ++i) result.data()[i] = convert<To>(elements[i]);
    return to_device<typename X::device_type>(result);
}

}  // namespace tenon
