#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include <tenon/core/on_host.hpp>
#include <tenon/core/to_device.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/nn/token_mask.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// How the states of a sequence's tokens become one vector.
enum class Pooling {
    mean,              ///< of the states of all tokens
    mean_root_length,  ///< their sum over the root of their number
    max,               ///< the greatest of each element
    first,             ///< the state of the first token (BERT's [CLS])
};

namespace mismatch {
/// pool(states, mask): the mask is no [batch, time] of states [batch, time, width].
template <class States, class Mask>
struct pool_mask_differs_from_states;
}  // namespace mismatch

namespace detail {

/// Of each token [batch, time, 1] a number: of(is a token, how many there are in its sequence). The host
/// reads the mask.
template <class T, class Mask, class Of>
auto of_tokens(const Mask& given, Of of) {
    const auto& mask = on_host(given);
    const int batch = mask.extents()[0], time = mask.extents()[1];
    auto result = Tensor<T, Shape<dyn, dyn, 1>>::uninitialized(batch, time);
    for (int row = 0; row < batch; ++row) {
        const bool* const is_token = mask.data() + std::int64_t{row} * time;
        int count = 0;
        for (int i = 0; i < time; ++i) count += is_token[i];
        T* const to = result.data() + std::int64_t{row} * time;
        for (int i = 0; i < time; ++i) to[i] = convert<T>(of(is_token[i], count));
    }
    return to_device<typename Mask::device_type>(result);
}

}  // namespace detail

/// States [batch, time, width] of the tokens of a mask -> [batch, width], as sentence embeddings are made
/// (Reimers, Gurevych 2019, "Sentence-BERT"). Padding has no part in it, whatever its states. A sequence
/// without a token yields zeros, of `max` -infinity. Throws ShapeError where run-time extents differ.
template <TensorLike X, TokenMask Mask>
    requires(X::rank == 3 && detail::OfTokens<X, Mask>)
auto pool(const X& states, const Mask& mask, Pooling pooling) {
    using T = typename X::value_type;
    if (!detail::has_tokens_of(states.extents(), mask.extents()))
        throw_mismatch<mismatch::pool_mask_differs_from_states>(states.extents(), mask.extents());
    if (pooling == Pooling::first) return contiguous(select<1>(states, 0));
    if (pooling == Pooling::max) {
        const auto addend = detail::of_tokens<T>(mask, [](bool is_token, int) {
            return is_token ? 0.0 : -std::numeric_limits<double>::infinity();
        });
        return evaluate(max<axis<1>>(states + addend));
    }
    const auto weight = detail::of_tokens<T>(mask, [&](bool is_token, int count) {
        const double n = count;
        return !is_token ? 0.0 : pooling == Pooling::mean ? 1 / n : 1 / std::sqrt(n);
    });
    return evaluate(sum<axis<1>>(states * weight));
}
template <TensorLike X, TokenMask Mask>
    requires(X::rank != 3 || !detail::OfTokens<X, Mask>)
mismatch::pool_mask_differs_from_states<typename X::shape_type, typename Mask::shape_type> pool(const X&,
                                                                                                const Mask&,
                                                                                                Pooling);

/// Vectors of the last axis, made as long as 1; one shorter than 1e-12 is divided by that. Lazy.
template <Argument X>
auto normalized(X&& vectors) {
    const auto x = evaluate(std::forward<X>(vectors));
    return x / max(sqrt(sum<keep_axis<-1>>(square(x))), 1e-12);
}

}  // namespace tenon
