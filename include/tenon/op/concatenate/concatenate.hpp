#pragma once

#include <cstdint>
#include <string>

#include <tenon/op/operation.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

namespace mismatch {
/// concatenate(a, b): another axis than that along which they are joined differs, and is not 1 in b.
template <class A, class B>
struct concatenate_other_extents_differ;
}  // namespace mismatch

/// a [..., m, ...] and b [..., n, ...] along an axis -> [..., m + n, ...]; b is repeated along other axes
/// where it has 1.
constexpr Deduction concatenate_rule(const Extents& a, const Extents& b, int axis) {
    if (a.rank != b.rank || axis >= a.rank) return {{}, 1};
    Deduction result;
    for (int i = 0; i < a.rank; ++i) {
        if (i == axis) {
            result.extents.append(is_exact(a[i]) && is_exact(b[i]) ? a[i] + b[i] : dyn_code);
        } else {
            if (b[i] != 1 && extents_conflict(a[i], b[i])) return {{}, 1};
            result.extents.append(a[i]);
        }
    }
    return result;
}

namespace detail {

template <class A, class B, int Axis>
struct ConcatenateRule {
    static constexpr Deduction deduction = concatenate_rule(A::codes, B::codes, Axis);
    static constexpr Extents extents = deduction.extents;
};

/// Where one of the operands lies in the result.
struct ConcatenatedPart {
    Extents extents;  ///< of its place, to which it is repeated
    std::int64_t offset;

    /// Its own strides, 0 where it is repeated.
    Strides steps(const Extents& own, Strides strides) const {
        for (int axis = 0; axis < own.rank; ++axis)
            if (own[axis] == 1) strides[axis] = 0;
        return strides;
    }
};

template <class Device, class T>
struct ConcatenateNode : Node {
    struct Operand {
        SlotReference slot;
        ConcatenatedPart part;
        Extents extents;
    };
    Operand first, second;
    Extents extents;

    void backward() {
        using G = GradientOf<T, Device>;
        for (const Operand& operand : {first, second}) {
            if (!operand.slot) continue;
            const Extents& place = operand.part.extents;
            const Storage copy(Memory<Device>::allocate(bytes_of(place, sizeof(G))));
            G* const upstream = static_cast<G*>(output.storage.data()) + operand.part.offset;
            G* const packed = static_cast<G*>(copy.data());
            Kernel<View, Device>::copy(ArrayView<G>{upstream, place, row_major_strides(extents)},
                                       ArrayView<G>{packed, place, row_major_strides(place)});
            Kernel<View, Device>::add(static_cast<const G*>(packed), place,
                                      operand.part.steps(operand.extents, row_major_strides(operand.extents)),
                                      0, operand.slot->count, contribute<T, Device>(*operand.slot));
        }
    }
};

}  // namespace detail

/// One tensor of both, along an axis: [a, m, b] and [a, n, b] -> [a, m + n, b] for axis 1. The second is
/// repeated along other axes where its extent is 1. Throws ShapeError where other extents differ.
template <int Axis, TensorLike A, TensorLike B>
    requires(detail::ConcatenateRule<typename A::shape_type, typename B::shape_type, Axis>::deduction.ok())
auto concatenate(const A& a, const B& b) {
    using T = typename A::value_type;
    using D = typename A::device_type;
    static_assert(std::same_as<T, typename B::value_type>, "concatenate: the element types differ");
    using S = ShapeOf<detail::ConcatenateRule<typename A::shape_type, typename B::shape_type, Axis>>;
    const Deduction deduction = concatenate_rule(a.extents(), b.extents(), Axis);
    if (!deduction.ok()) throw_mismatch<mismatch::concatenate_other_extents_differ>(a.extents(), b.extents());
    auto y = Tensor<T, S, D>::with_extents(deduction.extents);
    const Strides strides = y.strides();
    detail::ConcatenatedPart first{a.extents(), 0}, second{a.extents(), a.extents()[Axis] * strides[Axis]};
    second.extents[Axis] = b.extents()[Axis];
    Kernel<View, D>::copy(a.view(), ArrayView<T>{y.data(), first.extents, strides});
    Kernel<View, D>::copy(ArrayView<T>{b.data(), second.extents, second.steps(b.extents(), b.strides())},
                          ArrayView<T>{y.data() + second.offset, second.extents, strides});
    if constexpr (any_tracked<A, B>) {
        using Node = detail::ConcatenateNode<D, T>;
        return track<Node>(y, typename Node::Operand{gradient_slot(a), first, a.extents()},
                           typename Node::Operand{gradient_slot(b), second, b.extents()}, deduction.extents);
    } else {
        return y;
    }
}
template <int Axis, TensorLike A, TensorLike B>
    requires(!detail::ConcatenateRule<typename A::shape_type, typename B::shape_type, Axis>::deduction.ok())
mismatch::concatenate_other_extents_differ<typename A::shape_type, typename B::shape_type> concatenate(
    const A&, const B&);

}  // namespace tenon
