#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <tenon/core/error.hpp>
#include <tenon/core/random.hpp>
#include <tenon/op/operation.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// Dropout: each element becomes zero with this probability, and is else divided by the probability of
/// staying (Srivastava et al. 2014). Which ones do is a pure function of seed, stream and the element's
/// number, so that it is the same for any number of threads and on every device; give each layer and step a
/// stream of its own.
struct Dropout {
    double probability = 0;
    Seed seed = {};
    std::uint64_t stream = 0;
    /// If set, the device reads there how many times `streams_a_step` the stream is to be further: what
    /// changes from step to step while the work stays the same. It must not change until the backward pass
    /// has run.
    const std::uint64_t* step = nullptr;
    std::uint64_t streams_a_step = 0;

    /// An element goes whose random word is less: word i % 4 of block i / 4, for element i in row-major
    /// order.
    TENON_HOST_DEVICE constexpr std::uint32_t threshold() const {
        const double words = probability * 0x1p32;
        return words < 0xffffffffu ? static_cast<std::uint32_t>(words + 0.5) : 0xffffffffu;
    }

    /// For who may read `step`.
    TENON_HOST_DEVICE constexpr std::uint64_t stream_now() const {
        return stream + (step ? *step * streams_a_step : 0);
    }

    TENON_HOST_DEVICE constexpr bool drops(std::uint64_t element) const {
        return Philox(seed, stream_now())(element / 4).word[element % 4] < threshold();
    }
};

namespace detail {

/// What goes is determined anew for the gradient, not kept.
template <class Device, class T>
struct DropoutNode : Node {
    SlotReference slot;
    Dropout options;

    void backward() {
        if (!slot) return;
        Kernel<Dropout, Device>::run(upstream_of<T, Device>(*this), slot->count, options,
                                     contribute<T, Device>(*slot));
    }
};

}  // namespace detail

/// Drops elements of x, for training; with probability 0 it is x itself. Throws Error unless the probability
/// is at least 0 and below 1.
template <Argument A>
auto dropout(A&& argument, const Dropout& options) {
    const auto x = contiguous(evaluate(std::forward<A>(argument)));
    using X = std::remove_const_t<decltype(x)>;
    using T = typename X::value_type;
    using D = typename X::device_type;
    if (!(options.probability >= 0 && options.probability < 1))
        throw Error("dropout: expected a probability of at least 0 and below 1, got " +
                    std::to_string(options.probability));
    if (options.probability == 0) return x;
    auto y = Tensor<T, typename X::shape_type, D>::with_extents(x.extents());
    Kernel<Dropout, D>::run(static_cast<const T*>(x.data()), x.size(), options, Contribution<T>{y.data()});
    if constexpr (X::is_tracked)
        return X(track<detail::DropoutNode<D, T>>(y, gradient_slot(x), options));
    else
        return X(y);
}
template <class A>
    requires NamedExpression<A> NamedExpressionError<Dropout, A> dropout(A&&, const Dropout&);

}  // namespace tenon
