#pragma once

#include <cmath>

#include <tenon/core/elements.hpp>
#include <tenon/core/on_host.hpp>
#include <tenon/core/tensor.hpp>

namespace tenon {

namespace mismatch {
/// Tensors of shapes A and B are compared element by element.
template <class A, class B>
struct compared_extents_differ;
}  // namespace mismatch

/// Whether two tensors have the same extents and equal elements. As numbers do, NaN differs from NaN.
template <TensorLike A, TensorLike B>
    requires std::same_as<typename A::value_type, typename B::value_type>
bool operator==(const A& a, const B& b) {
    if (!(a.extents() == b.extents())) return false;
    const auto& first = on_host(a);
    const auto& second = on_host(b);
    const Elements x(first.view());
    const Elements y(second.view());
    for (std::int64_t i = 0; i < x.size(); ++i)
        if (!(x[i] == y[i])) return false;
    return true;
}

/// How far numbers may lie apart: by `absolute` + `relative` times the size of the reference.
struct Tolerance {
    double relative = 1e-5;
    double absolute = 1e-8;
};

/// Whether each element of a lies within the tolerance of b's. Element types may differ. Throws ShapeError
/// where the extents do.
template <TensorLike A, TensorLike B>
    requires(may_convert(A::shape_type::codes, B::shape_type::codes))
bool all_close(const A& a, const B& b, const Tolerance& tolerance = {}) {
    if (!(a.extents() == b.extents()))
        throw_mismatch<mismatch::compared_extents_differ>(a.extents(), b.extents());
    const auto& first = on_host(a);
    const auto& second = on_host(b);
    const Elements x(first.view());
    const Elements reference(second.view());
    for (std::int64_t i = 0; i < x.size(); ++i) {
        const double p = convert<double>(x[i]), q = convert<double>(reference[i]);
        // Infinities are close to themselves, NaN to nothing.
        const bool is_close = std::abs(p - q) <= tolerance.absolute + tolerance.relative * std::abs(q);
        if (p != q && (std::isinf(q) || !is_close)) return false;
    }
    return true;
}
template <TensorLike A, TensorLike B>
    requires(!may_convert(A::shape_type::codes, B::shape_type::codes))
mismatch::compared_extents_differ<typename A::shape_type, typename B::shape_type> all_close(
    const A&, const B&, const Tolerance& = {});

/// The norm of the difference over the norm of the reference b (0 where they are equal). Throws ShapeError
/// where the extents differ.
template <TensorLike A, TensorLike B>
    requires(may_convert(A::shape_type::codes, B::shape_type::codes))
double relative_error(const A& a, const B& b) {
    if (!(a.extents() == b.extents()))
        throw_mismatch<mismatch::compared_extents_differ>(a.extents(), b.extents());
    const auto& first = on_host(a);
    const auto& second = on_host(b);
    const Elements x(first.view());
    const Elements reference(second.view());
    double difference = 0, norm = 0;
    for (std::int64_t i = 0; i < x.size(); ++i) {
        const double p = convert<double>(x[i]), q = convert<double>(reference[i]);
        difference += (p - q) * (p - q);
        norm += q * q;
    }
    return difference == 0 ? 0 : std::sqrt(difference / norm);
}
template <TensorLike A, TensorLike B>
    requires(!may_convert(A::shape_type::codes, B::shape_type::codes))
mismatch::compared_extents_differ<typename A::shape_type, typename B::shape_type> relative_error(const A&,
                                                                                                 const B&);

}  // namespace tenon
