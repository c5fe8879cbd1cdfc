#pragma once

#include <tenon/core/elements.hpp>
#include <tenon/core/tensor.hpp>

namespace tenon {

/// The elements of x in another type, packed: `cast<bf16>(x)`. Each is rounded once, to nearest; reals that
/// become integers are truncated, and must fit. Outside of differentiation.
template <Element To, TensorLike X>
auto cast(const X& x) {
    static_assert(!X::is_tracked, "cast carries no gradient: write cast<…>(detach(x)) where that is meant");
    static_assert(std::same_as<typename X::device_type, Cpu>,
                  "cast works on the host: copy the tensor to the Cpu");
    auto result = Tensor<To, typename X::shape_type>::with_extents(x.extents());
    const Elements elements(x.view());
    for (std::int64_t i = 0; i < elements.size(); ++i) result.data()[i] = convert<To>(elements[i]);
    return result;
}

}  // namespace tenon
