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

/// Rows to be normalized, shapes erased, and weights of type Weight. Null: no gain, no bias.
template <class T, class Weight>
struct NormInputs {
    const T* x = nullptr;
    const Weight *gain = nullptr, *bias = nullptr;
    std::int64_t rows = 0, width = 0;
    double epsilon = 0;
};

/// The places of gradients, of type G those of rows and of type H those of weights; null pointers where none
/// is wanted.
template <class G, class H>
struct NormGradients {
    Contribution<G> x;
    Contribution<H> gain, bias;
};

/// Kept for the gradient beside the inputs: of each row the mean, if it is `centered`, and the inverse of the
/// deviation.
template <bool centered, class Device, class T, class Weight>
struct NormNode : Node {
    Saved<T> x;
    Saved<Weight> gain, bias;
    NormInputs<T, Weight> inputs;
    Storage statistics;

    void backward() {
        using C = ComputeOf<T>;
        Kernel<NormRows, Device>::template backward<centered>(
            inputs, static_cast<const C*>(statistics.data()), upstream_of<T, Device>(*this),
            NormGradients<GradientOf<T, Device>, GradientOf<Weight, Device>>{place(x), place(gain),
                                                                             place(bias)});
    }

private:
    template <class V>
    static Contribution<GradientOf<V, Device>> place(const Saved<V>& saved) {
        return saved.slot ? contribute<V, Device>(*saved.slot) : Contribution<GradientOf<V, Device>>{};
    }
};

/// Absent: no bias.
struct NoBias {
    static constexpr bool is_tracked = false;
};

/// x, gain and bias are as `has_norm_kernel_for` says.
template <bool centered, TensorLike X, TensorLike Gain, class Bias>
auto normalize_rows(const X& x, const Gain& gain, const Bias& bias, double epsilon) {
    using T = typename X::value_type;
    using Weight = typename Gain::value_type;
    using D = typename X::device_type;
    using C = ComputeOf<T>;
    constexpr bool has_bias = !std::same_as<Bias, NoBias>;
    constexpr bool is_tracked = any_tracked<X, Gain, Bias>;
    NormInputs<T, Weight> inputs{
        x.data(), gain.data(), nullptr, x.extents().count(0, X::rank - 1), x.extents()[X::rank - 1], epsilon};
    if constexpr (has_bias) inputs.bias = bias.data();
    auto y = Tensor<T, typename X::shape_type, D>::with_extents(x.extents());
    Storage statistics;
    if constexpr (is_tracked)
        statistics = Storage(Memory<D>::allocate(static_cast<std::size_t>(2 * inputs.rows) * sizeof(C)));
    Kernel<NormRows, D>::template forward<centered>(inputs, y.data(), static_cast<C*>(statistics.data()));
    if constexpr (is_tracked) {
        Saved<Weight> saved_bias;
        if constexpr (has_bias) saved_bias = save(bias);
        return track<NormNode<centered, D, T, Weight>>(y, save(x), save(gain), std::move(saved_bias), inputs,
                                                       std::move(statistics));
    } else {
        return y;
    }
}

template <class X>
concept PackedTensor = TensorLike<X> && X::is_packed;

/// Whether a kernel takes these operands: packed tensors, the weights of one element type, which is that of x
/// or of its arithmetic. Others are parts of an expression.
template <class X, class Gain, class Bias = Gain>
inline constexpr bool has_norm_kernel_for = false;
template <PackedTensor X, PackedTensor Gain, PackedTensor Bias>
inline constexpr bool has_norm_kernel_for<X, Gain, Bias> =
    has_norm_kernel<typename X::device_type>&&
        std::same_as<typename Gain::value_type, typename Bias::value_type> &&
    (std::same_as<typename Gain::value_type, typename X::value_type> ||
     std::same_as<typename Gain::value_type, ComputeOf<typename X::value_type>>);

}  // namespace detail
}  // namespace tenon
