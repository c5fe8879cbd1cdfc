#pragma once

#include <utility>

#include <tenon/expression/functions.hpp>
#include <tenon/op/matmul/matmul_add.hpp>

namespace tenon {

/// The feed-forward layer of GPT-2: gelu_tanh(x upᵀ + up_bias) downᵀ + down_bias + addend. On a GPU GELU and
/// its derivative ride along with the products.
struct GeluFeedForward {};

namespace detail {

/// The sizes of x [rows, width] upᵀ [width, hidden].
inline Product up_product(std::int64_t rows, std::int64_t width, std::int64_t hidden) {
    return {1, rows, hidden, width, width, 1, 0, 1, width, 0};
}

template <class Device, class T>
struct GeluFeedForwardNode : Node {
    Saved<T> x, up, down;
    Storage inner, activated;  // what GELU is of, and GELU: [rows, hidden]
    SlotReference up_bias, down_bias, addend;

    void backward() {
        using G = GradientOf<T, Device>;
        const G* const upstream = upstream_of<T, Device>(*this);
        const std::int64_t hidden = up.view.extents[0], width = up.view.extents[1],
                           out = down.view.extents[0];
        const std::int64_t rows = x.view.extents.count() / width;
        const Product first = up_product(rows, width, hidden), second = up_product(rows, hidden, out);
        if (down.slot)
            Kernel<Matmul, Device>::gradient_b(second, second, upstream,
                                               static_cast<const T*>(activated.data()),
                                               contribute<T, Device>(*down.slot));
        if (down_bias)
            Kernel<Matmul, Device>::gradient_bias(rows, out, upstream, contribute<T, Device>(*down_bias));
        if (x.slot || up.slot || up_bias) {
            activated.reset();
            const Storage memory(
                Memory<Device>::allocate(static_cast<std::size_t>(rows * hidden) * sizeof(G)));
            G* const slopes = static_cast<G*>(memory.data());
            Kernel<GeluFeedForward, Device>::gradient_inner(second, upstream, down.view.data,
                                                            static_cast<const T*>(inner.data()), slopes);
            inner.reset();
            if (up.slot)
                Kernel<Matmul, Device>::gradient_b(first, first, slopes, x.view.data,
                                                   contribute<T, Device>(*up.slot));
            if (up_bias)
                Kernel<Matmul, Device>::gradient_bias(rows, hidden, slopes, contribute<T, Device>(*up_bias));
            if (x.slot)
                Kernel<Matmul, Device>::gradient_a(first, slopes, up.view.data,
                                                   contribute<T, Device>(*x.slot));
        }
        hand_over_output<T, Device>(*this, addend);
    }
};

}  // namespace detail

/// [..., Width] with up [Hidden, Width] and down [Out, Hidden] -> [..., Out]. Each bias and the addend may be
/// Nothing(). Shapes must fit as in `matmul_add`, of which it is made where the device has no kernel of its
/// own.
template <TensorLike X, Argument Up, detail::ArgumentOrNothing UpBias, Argument Down,
          detail::ArgumentOrNothing DownBias, detail::ArgumentOrNothing Addend = Nothing>
auto gelu_feed_forward(const X& x, const Up& up, const UpBias& up_bias, const Down& down,
                       const DownBias& down_bias, const Addend& addend = {}) {
    constexpr MatmulOptions right{.transpose_right = true};
    using D = typename X::device_type;
    using T = typename X::value_type;
    if constexpr (!Kernel<GeluFeedForward, D>::is_fused) {
        return matmul_add<right>(gelu_tanh(matmul_add<right>(x, up, up_bias)), down, down_bias, addend);
    } else {
        using Inner = decltype(matmul_add<right>(x, up, up_bias));
        using Y = decltype(matmul_add<right>(std::declval<const Inner&>(), down, down_bias, addend));
        const auto states = contiguous(x);
        const auto first = contiguous(evaluate(up));
        const auto second = contiguous(evaluate(down));
        const auto first_bias = detail::packed_or_nothing(up_bias);
        const auto second_bias = detail::packed_or_nothing(down_bias);
        const auto sum = detail::packed_or_nothing(addend);
        const Deduction inner = matmul_rule(states.extents(), first.extents(), right);
        detail::require_product(inner, states, first);
        const Deduction outer = matmul_rule(inner.extents, second.extents(), right);
        if (!outer.ok())
            throw_mismatch<mismatch::matmul_inner_extents_differ>(inner.extents, second.extents());
        const auto inner_addends = detail::addends_of<T>(inner.extents, first_bias, Nothing());
        const auto outer_addends = detail::addends_of<T>(outer.extents, second_bias, sum);
        const std::int64_t hidden = first.extents()[0], width = first.extents()[1];
        const std::int64_t rows = states.extents().count(0, X::rank - 1);
        const auto allocate = [&] {
            return Storage(Memory<D>::allocate(static_cast<std::size_t>(rows * hidden) * sizeof(T)));
        };
        const Storage before = allocate(), activated = allocate();
        auto y = Tensor<T, typename Y::shape_type, D>::with_extents(outer.extents);
        Kernel<GeluFeedForward, D>::forward(detail::up_product(rows, width, hidden), states.data(),
                                            first.data(), inner_addends.bias, static_cast<T*>(before.data()),
                                            static_cast<T*>(activated.data()));
        Kernel<Matmul, D>::forward(detail::up_product(rows, hidden, second.extents()[0]),
                                   static_cast<const T*>(activated.data()), second.data(), y.data(),
                                   outer_addends);
        if constexpr (Y::is_tracked)
            return track<detail::GeluFeedForwardNode<D, T>>(
                y, save(states), save(first), save(second), before, activated,
                detail::slot_or_none(first_bias), detail::slot_or_none(second_bias),
                detail::slot_or_none(sum));
        else
            return y;
    }
}

}  // namespace tenon
