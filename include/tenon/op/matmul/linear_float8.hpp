#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <tenon/op/matmul/float8_format.hpp>
#include <tenon/op/matmul/matmul_add.hpp>

namespace tenon {

/// A linear layer's products in 8 bits: factors are scaled so that their greatest magnitude is the format's,
/// and rounded; sums are of f32 (Micikevicius et al. 2022, "FP8 Formats for Deep Learning").
struct LinearFloat8 {};

namespace detail {

/// A matrix [rows, columns] in 8 bits, packed: an element is what is stored times the scale, which lies in
/// the device's memory before the elements.
struct Float8Matrix {
    static constexpr std::int64_t header = 256;

    Storage storage;
    Float8 format = Float8::e4m3;
    std::int64_t rows = 0, columns = 0;

    template <class Device>
    static Float8Matrix create(Float8 format, std::int64_t rows, std::int64_t columns) {
        const auto bytes = static_cast<std::size_t>(header + rows * columns);
        return {Storage(Memory<Device>::allocate(bytes)), format, rows, columns};
    }

    float* scale() const { return static_cast<float*>(storage.data()); }
    std::uint8_t* data() const { return static_cast<std::uint8_t*>(storage.data()) + header; }
};

/// A matrix in 8 bits, and its transpose, which is what a product's other factor is read as.
struct Float8Pair {
    Float8Matrix matrix, transposed;
};

/// The weight is [columns, depth].
inline constexpr MatmulOptions linear_options{.transpose_right = true};

/// Whether products of [rows, depth] x [depth, columns], and those of their gradients, are taken in 8 bits:
/// the units of a GPU want multiples of 16.
constexpr bool suits_float8(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
    return rows > 0 && rows % 16 == 0 && columns % 16 == 0 && depth % 16 == 0;
}

template <class Device, class T>
struct LinearFloat8Node : Node {
    Float8Matrix x_transposed, weight_transposed;
    SlotReference x, weight, bias, addend;

    void backward() {
        const auto* upstream = upstream_of<T, Device>(*this);
        const std::int64_t rows = x_transposed.columns, columns = weight_transposed.columns;
        if (x || weight) {
            const Float8Pair gradient =
                Kernel<LinearFloat8, Device>::round(upstream, rows, columns, Float8::e5m2, bool(weight));
            if (x)
                Kernel<LinearFloat8, Device>::multiply(gradient.matrix, weight_transposed,
                                                       contribute<T, Device>(*x));
            if (weight)
                Kernel<LinearFloat8, Device>::multiply(gradient.transposed, x_transposed,
                                                       contribute<T, Device>(*weight));
        }
        if (bias)
            Kernel<Matmul, Device>::gradient_bias(rows, columns, upstream, contribute<T, Device>(*bias));
        hand_over_output<T, Device>(*this, addend);
    }
};

}  // namespace detail

/// x weightᵀ + bias + addend, [..., In] and [Out, In] -> [..., Out], with products in 8 bits: e4m3 forward,
/// and e5m2 for the gradient that comes back. The bias and the addend may be Nothing(). Where the rows of x,
/// In or Out are no multiple of 16 it is `matmul_add`, whose shapes are its own, too. On a GPU it needs
/// compute capability 8.9 and throws Error without.
template <Argument X, Argument Weight, detail::ArgumentOrNothing Bias = Nothing,
          detail::ArgumentOrNothing Addend = Nothing>
auto linear_float8(X&& given, Weight&& given_weight, Bias&& given_bias = {}, Addend&& given_addend = {}) {
    using detail::linear_options;
    const auto x = contiguous(evaluate(std::forward<X>(given)));
    const auto weight = contiguous(evaluate(std::forward<Weight>(given_weight)));
    const auto bias = detail::packed_or_nothing(std::forward<Bias>(given_bias));
    const auto addend = detail::packed_or_nothing(std::forward<Addend>(given_addend));
    using Y = decltype(matmul_add<linear_options>(x, weight, bias, addend));
    using T = typename Y::value_type;
    using D = typename Y::device_type;
    const Deduction deduction = matmul_rule(x.extents(), weight.extents(), linear_options);
    detail::require_product(deduction, x, weight);
    const std::int64_t columns = weight.extents()[0], depth = weight.extents()[1],
                       rows = depth == 0 ? 0 : x.size() / depth;
    if (!detail::suits_float8(rows, columns, depth))
        return matmul_add<linear_options>(x, weight, bias, addend);
    const auto addends = detail::addends_of<T>(deduction.extents, bias, addend);
    auto y = Tensor<T, typename Y::shape_type, D>::with_extents(deduction.extents);
    const auto round = [&](const T* factor, std::int64_t count) {
        return Kernel<LinearFloat8, D>::round(factor, count, depth, Float8::e4m3, Y::is_tracked);
    };
    const detail::Float8Pair left = round(x.data(), rows), second = round(weight.data(), columns);
    Kernel<LinearFloat8, D>::forward(left.matrix, second.matrix, y.data(), addends);
    if constexpr (Y::is_tracked)
        return track<detail::LinearFloat8Node<D, T>>(
            y, left.transposed, second.transposed, detail::slot_or_none(x), detail::slot_or_none(weight),
            detail::slot_or_none(bias), detail::slot_or_none(addend));
    else
        return y;
}

}  // namespace tenon
