#pragma once

#include <concepts>

#include <tenon/op/operation.hpp>

namespace tenon {

/// Normalization of rows where it has a kernel of its own: (x - mean x) / sqrt(var x + epsilon) · gain +
/// bias, or without the mean. On other devices `rms_norm` and `layer_norm` are expressions.
struct NormRows {};

/// Whether `Kernel<NormRows, Device>` is there.
template <class Device>
inline constexpr bool has_norm_kernel = std::same_as<Device, Cuda>;

namespace detail {

/// Rows to be normalized, shapes erased. Null: no gain, no bias.
template <class T>
struct NormInputs {
    const T *x = nullptr, *gain = nullptr, *bias = nullptr;
    std::int64_t rows = 0, width = 0;
    double epsilon = 0;
};

/// The gradients' places; null pointers where none is wanted.
template <class G>
struct NormGradients {
    Contribution<G> x, gain, bias;
};

/// Kept for the gradient beside the inputs: of each row the mean, if it is `centered`, and the inverse of the
/// deviation.
template <bool centered, class Device, class T>
struct NormNode : Node {
    Saved<T> x, gain, bias;
    NormInputs<T> inputs;
    Storage statistics;

    void backward() {
        using C = ComputeOf<T>;
        const auto place = [](const SlotReference& slot) {
            return slot ? contribute<T, Device>(*slot) : Contribution<GradientOf<T, Device>>{};
        };
        Kernel<NormRows, Device>::template backward<centered>(
            inputs, static_cast<const C*>(statistics.data()), upstream_of<T, Device>(*this),
            NormGradients<GradientOf<T, Device>>{place(x.slot), place(gain.slot), place(bias.slot)});
    }
};

/// Absent: no bias.
struct NoBias {
    static constexpr bool is_tracked = false;
};

/// x, gain and bias are packed, and of one element type.
template <bool centered, TensorLike X, TensorLike Gain, class Bias>
auto normalize_rows(const X& x, const Gain& gain, const Bias& bias, double epsilon) {
    using T = typename X::value_type;
    using D = typename X::device_type;
    using C = ComputeOf<T>;
    constexpr bool has_bias = !std::same_as<Bias, NoBias>;
    constexpr bool is_tracked = any_tracked<X, Gain, Bias>;
    NormInputs<T> inputs{
        x.data(), gain.data(), nullptr, x.extents().count(0, X::rank - 1), x.extents()[X::rank - 1], epsilon};
    if constexpr (has_bias) inputs.bias = bias.data();
    auto y = Tensor<T, typename X::shape_type, D>::with_extents(x.extents());
    Storage statistics;
    if constexpr (is_tracked)
        statistics = Storage(Memory<D>::allocate(static_cast<std::size_t>(2 * inputs.rows) * sizeof(C)));
    Kernel<NormRows, D>::template forward<centered>(inputs, y.data(), static_cast<C*>(statistics.data()));
    if constexpr (is_tracked) {
        Saved<T> saved_bias;
        if constexpr (has_bias) saved_bias = save(bias);
        return track<NormNode<centered, D, T>>(y, save(x), save(gain), std::move(saved_bias), inputs,
                                               std::move(statistics));
    } else {
        return y;
    }
}

/// Whether a kernel takes these operands: tensors of one element type. Others are parts of an expression.
template <class X, class... Weights>
inline constexpr bool has_norm_kernel_for =
    has_norm_kernel<typename X::device_type>&& X::is_packed &&
    ((TensorLike<Weights> && std::same_as<typename X::value_type, typename Weights::value_type>)&&...);

}  // namespace detail
}  // namespace tenon
