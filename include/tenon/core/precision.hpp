#pragma once

#include <tenon/core/element.hpp>

namespace tenon {

/// A precision names five types: what parameters and activations are stored in, what arithmetic is done in,
/// what sums add up in, what gradients of parameters are kept in, and what the optimizer keeps as the master
/// copy of the parameters. Where `master` is `storage` there is no copy: the parameters are their own. So are
/// the gains and biases of norms, which are of the `master` type in the model, too. A sixth, `weight`, may
/// say what matrices are stored in, where that is not `storage`.
template <class P>
concept Precision = requires {
    typename P::storage;
    typename P::arithmetic;
    typename P::accumulation;
    typename P::gradient;
    typename P::master;
};

/// All in 32 bits.
struct F32 {
    using storage = float;
    using arithmetic = float;
    using accumulation = float;
    using gradient = float;
    using master = float;
};

/// All in 32 bits, but for matrices (of linear layers and experts, embedding and head), each of which is of
/// the type that its file has it in: f32, bf16 or f16. So all can stay where the file is mapped (see
/// `borrow_model`), and generation reads no more bytes than the file has. Each number becomes a float in a
/// register: results are, to the last bit, those of F32 with the same numbers, both loaded or both borrowed
/// from a file of f32. Between what is loaded and what is borrowed last bits may differ where a file has
/// matrices transposed (see `borrow_model`). For models on the CPU that only run forward.
struct StoredWeights : F32 {
    using weight = StoredReal;
};

/// All in 64 bits, for checks.
struct F64 {
    using storage = double;
    using arithmetic = double;
    using accumulation = double;
    using gradient = double;
    using master = double;
};

/// bfloat16 in memory, 32 bits in arithmetic, gradients of parameters and the optimizer, which keeps the
/// parameters in 32 bits, too, and rounds them to nearest at each step (Micikevicius et al. 2018, "Mixed
/// precision training"; Kalamkar et al. 2019, "A study of BFLOAT16 for deep learning training").
struct MixedBf16 {
    using storage = bf16;
    using arithmetic = float;
    using accumulation = float;
    using gradient = float;
    using master = float;
};

/// bfloat16 parameters and nothing beside them: a step is rounded up or down with the probability that makes
/// its mean exact, for to nearest small steps would be lost (Gupta et al. 2015, "Deep learning with limited
/// numerical precision").
struct PureBf16 : MixedBf16 {
    using master = bf16;
};

/// binary16 in memory, else as MixedBf16. Its range is small: gradients need a LossScaler, which scales the
/// loss so that they do not vanish.
struct MixedF16 : MixedBf16 {
    using storage = f16;
};

/// As MixedBf16, and linear layers multiply in 8 bits: weights and activations of 3 bits of significand,
/// gradients of 2, each scaled by its greatest magnitude (Micikevicius et al. 2022, "FP8 Formats for Deep
/// Learning"). Embedding, attention, norms and the head stay in 16 bits, as is usual. See `linear_float8`.
struct MixedFp8 : MixedBf16 {
    static constexpr bool linear_in_float8 = true;
};

namespace detail {

template <class P>
struct WeightOf {
    using type = typename P::storage;
};
template <class P>
    requires requires { typename P::weight; }
struct WeightOf<P> {
    using type = typename P::weight;
};

}  // namespace detail

/// What a precision stores matrices in.
template <class P>
using WeightOf = typename detail::WeightOf<P>::type;

/// Whether a precision's linear layers multiply in 8 bits.
template <class P>
inline constexpr bool linear_in_float8 = requires {
    requires P::linear_in_float8;
};

namespace detail {

template <class Model>
struct MasterOf {
    using type = typename Model::Value;
};
template <class Model>
    requires requires { typename Model::Precision::master; }
struct MasterOf<Model> {
    using type = typename Model::Precision::master;
};

}  // namespace detail

/// What an optimizer keeps a model's parameters in: as its precision says; where it names none, as they are
/// stored.
template <class Model>
using MasterOf = typename detail::MasterOf<Model>::type;

}  // namespace tenon
