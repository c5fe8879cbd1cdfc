#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <tenon/model/configuration.hpp>
#include <tenon/nn/block.hpp>
#include <tenon/nn/initialize.hpp>
#include <tenon/nn/masked.hpp>
#include <tenon/nn/token_mask.hpp>
#include <tenon/op/embedding/embedding.hpp>

namespace tenon {

namespace mismatch {
/// An Encoder's mask is no [batch, time] of its ids.
template <class Mask, class Ids>
struct encoder_mask_differs_from_ids;
/// An Encoder's token types are no [batch, time] of its ids.
template <class Types, class Ids>
struct encoder_types_differ_from_ids;
}  // namespace mismatch

/// What an Encoder has after its blocks; published checkpoints of one architecture differ in it.
struct EncoderHeads {
    bool pooler = false;       ///< see Encoder::pooled
    bool predictions = false;  ///< see Encoder::predictions

    friend constexpr bool operator==(const EncoderHeads&, const EncoderHeads&) = default;
};

/// What prepares states for the prediction of masked tokens: norm(f(W x + b)), f the feed-forward layers'.
/// The logits are its products with the embedding of each token, or if that is not tied with a matrix of its
/// own, plus a bias for each.
template <class Setting, auto Vocabulary, auto Width, class Features>
class PredictionHead {
    template <class S>
    using Parameter = typename Setting::template Parameter<S>;

public:
    PredictionHead(double norm_epsilon, int vocabulary, int width, bool tied)
        : transform(width, width), norm(norm_epsilon, width), bias(Role::bias, Extents(vocabulary)) {
        if (!tied) weight.emplace(Role::head, Extents(vocabulary, width));
    }

    template <TensorLike X, class Embedding>
    auto operator()(const X& states, const Embedding& embedding) const {
        constexpr MatmulOptions right{.transpose_right = true};
        const auto prepared = norm(detail::activation<Features::feed_forward>(transform(states)));
        return evaluate(matmul<right>(prepared, (weight ? *weight : embedding).tensor()) + bias);
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit.part("transform", transform);
        visit.part("norm", norm);
        if (weight) visit("weight", *weight);
        visit("bias", bias);
    }

    Linear<Setting, Width, Width, true> transform;
    Norm<Setting, Width, Features::norm> norm;
    std::optional<Parameter<Shape<Vocabulary, Width>>> weight;
    Parameter<Shape<Vocabulary>> bias;
};

/// A bidirectional Transformer: every token attends to all tokens of its sequence. What goes in is the sum of
/// the embeddings of token, position and token type, normed; what comes out are hidden states. C is the
/// configuration (see TransformerDefaults), with learned positions; the rest is as in Transformer, whose
/// layers these are.
template <class C, class D = Cpu, Precision P = F32, class Tracking = Untracked>
class Encoder : detail::CheckConfiguration<C> {
    static_assert(C::positions == Positions::learned, "an Encoder has learned positions");
    static_assert(!C::mixture_of_experts, "an Encoder has no mixtures of experts");
    using Resolved = detail::Resolved<C>;

public:
    using Configuration = C;
    using Device = D;
    using Precision = P;
    using Setting = tenon::Setting<D, P, Tracking>;
    using Value = typename P::storage;
    using Gradient = typename P::gradient;
    using Attention =
        SelfAttention<Setting, C::width, C::heads, Resolved::key_value_heads, Resolved::head_width, C>;
    using Layer = Block<Setting, Attention, C::width, C::hidden, C>;
    using LastNorm = Norm<Setting, C::width, C::placement == NormPlacement::post ? NormKind::none : C::norm>;
    using Pooler = Linear<Setting, C::width, C::width, true>;
    using Predictions = PredictionHead<Setting, C::vocabulary, C::width, C>;
    static constexpr bool is_tracked = Tracking::is_tracked, is_encoder = true;

    /// Elements are uninitialized, to be loaded. `given` has the extents that C leaves open, and all other
    /// numbers. Throws ShapeError where other extents are not C's, or where they do not fit together.
    explicit Encoder(const TransformerSizes& given = sizes_of<C>(), const EncoderHeads& heads = {})
        : sizes(resolved_for<C>(given)),
          embedding(Role::embedding, Extents(sizes.vocabulary, sizes.width)),
          positions(Role::position, Extents(sizes.context, sizes.width)),
          types(Role::embedding, Extents(sizes.token_types, sizes.width)),
          embedding_norm(sizes.norm_epsilon, sizes.width),
          norm(sizes.norm_epsilon, sizes.width) {
        if (sizes.token_types < 1)
            throw ShapeError("encoder: expected a positive number of token types, got " +
                             std::to_string(sizes.token_types));
        SelfAttentionOptions options{.norm_epsilon = sizes.norm_epsilon};
        options.attention = {.causal = false,
                             .scale = static_cast<float>(sizes.attention_scale),
                             .soft_cap = static_cast<float>(sizes.attention_soft_cap)};
        blocks.reserve(static_cast<std::size_t>(sizes.depth));
        for (int i = 0; i < sizes.depth; ++i)
            blocks.emplace_back(
                Attention(options, sizes.width, sizes.heads, sizes.key_value_heads, sizes.head_width),
                sizes.norm_epsilon, sizes.width, sizes.hidden);
        if (heads.pooler) pooler.emplace(sizes.width, sizes.width);
        if (heads.predictions) head.emplace(sizes.norm_epsilon, sizes.vocabulary, sizes.width, sizes.tied);
    }

    /// The same without memory for elements; see `allocate_parameters`.
    Encoder(const TransformerSizes& given, const EncoderHeads& heads, const UnallocatedParameters&)
        : Encoder(given, heads) {}

    Encoder(Encoder&&) = default;

    /// With the first values of the configuration's initializer.
    explicit Encoder(Seed seed, const TransformerSizes& given = sizes_of<C>(),
                     const EncoderHeads& heads = {});

    /// An encoder that only runs forward, on the same parameters.
    explicit Encoder(Encoder<C, D, P, Tracked>& trained) requires(!Tracking::is_tracked)
        : Encoder(trained.sizes, trained.heads(), UnallocatedParameters()) {
        share_parameters(trained, *this);
    }

    EncoderHeads heads() const { return {pooler.has_value(), head.has_value()}; }

    /// Token ids [batch, time] -> hidden states [batch, time, width], of sequences without padding. Throws
    /// ShapeError where time is more than the context, Error where an id is not below the vocabulary.
    template <TokenTensor Ids>
    auto operator()(const Ids& ids) const {
        return run(ids, Masked<>(), FirstType(), NoDropout());
    }

    /// The same of sequences with padding: no token attends to where the mask has false. States of padding
    /// are computed, and mean nothing; those of tokens do not depend on it.
    template <TokenTensor Ids, TokenMask Mask>
        requires(detail::OfTokens<Ids, Mask>)
    auto operator()(const Ids& ids, const Mask& mask) const {
        return run(ids, masked(ids, mask), FirstType(), NoDropout());
    }

    /// The same with a type of each token, int [batch, time], where not all are of the first: the text of a
    /// pair that it is in. Throws Error where one is not below the number of types.
    template <TokenTensor Ids, TokenMask Mask, TokenTensor Types>
        requires(detail::OfTokens<Ids, Mask>&& detail::OfTokens<Ids, Types>)
    auto operator()(const Ids& ids, const Mask& mask, const Types& token_types) const {
        return run(ids, masked(ids, mask), token_types, NoDropout());
    }

    /// The same in training, with the configuration's dropout.
    template <TokenTensor Ids, TokenMask Mask, TokenTensor Types>
        requires(detail::OfTokens<Ids, Mask>&& detail::OfTokens<Ids, Types>)
    auto operator()(const Ids& ids, const Mask& mask, const Types& token_types, const DropoutKey& key) const {
        return run(ids, masked(ids, mask), token_types, ModelDropout(sizes.dropout, key, sizes.depth));
    }

    template <TokenTensor Ids, TokenMask Mask, class... Rest>
        requires(!detail::OfTokens<Ids, Mask>)
    mismatch::encoder_mask_differs_from_ids<typename Mask::shape_type, typename Ids::shape_type>
    operator()(const Ids&, const Mask&, const Rest&...) const;
    template <TokenTensor Ids, TokenMask Mask, TokenTensor Types, class... Rest>
        requires(detail::OfTokens<Ids, Mask> && !detail::OfTokens<Ids, Types>)
    mismatch::encoder_types_differ_from_ids<typename Types::shape_type, typename Ids::shape_type>
    operator()(const Ids&, const Mask&, const Types&, const Rest&...) const;

    /// What the pooler makes of states [batch, time, width]: tanh(W first + b) of those of the first token,
    /// [batch, width]. Throws Error where there is no pooler.
    template <TensorLike X>
    auto pooled(const X& states) const {
        if (!pooler) throw Error("encoder: expected a pooler, got an encoder without");
        return evaluate(tanh((*pooler)(select<1>(states, 0))));
    }

    /// What the states [batch, time, width] of masked tokens say that these are: logits [batch, time,
    /// vocabulary]. Throws Error where there is no head for it.
    template <TensorLike X>
    auto predictions(const X& states) const {
        if (!head) throw Error("encoder: expected a head that predicts tokens, got an encoder without");
        return (*head)(states, embedding);
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit("embedding.weight", embedding);
        visit("positions.weight", positions);
        visit("types.weight", types);
        visit.part("embedding_norm", embedding_norm);
        for (std::size_t i = 0; i < blocks.size(); ++i) visit.part("blocks." + std::to_string(i), blocks[i]);
        visit.part("norm", norm);
        if (pooler) visit.part("pooler", *pooler);
        if (head) visit.part("head", *head);
    }

private:
    template <class S>
    using Parameter = typename Setting::template Parameter<S>;

    /// Stands for token types that are all the first.
    struct FirstType {};

    template <class Mask, class Ids>
    struct MaskOfQueries {
        static constexpr Extents extents{Ids::shape_type::codes[0], Ids::shape_type::codes[1],
                                         Mask::shape_type::codes[1]};
    };

public:
    const TransformerSizes sizes;
    Parameter<Shape<C::vocabulary, C::width>> embedding;
    Parameter<Shape<C::context, C::width>> positions;
    Parameter<Shape<C::token_types, C::width>> types;
    Norm<Setting, C::width, C::norm> embedding_norm;
    std::vector<Layer> blocks;
    LastNorm norm;
    std::optional<Pooler> pooler;
    std::optional<Predictions> head;

private:
    /// The mask as attention takes it: the same keys for every query.
    template <class Ids, class Mask>
    static auto masked(const Ids& ids, const Mask& mask) {
        if (!detail::has_tokens_of(ids.extents(), mask.extents()))
            throw_mismatch<mismatch::encoder_mask_differs_from_ids>(mask.extents(), ids.extents());
        const int time = mask.extents()[1];
        using View = Tensor<bool, ShapeOf<MaskOfQueries<Mask, Ids>>, D, Untracked, Strided>;
        const View keys(mask.storage(), mask.data(), Extents(mask.extents()[0], time, time),
                        Strided{Strides{{time, 0, 1}}});
        return Masked<View>{{keys}};
    }

    template <class Ids, class Types>
    auto type_rows([[maybe_unused]] const Ids& ids, [[maybe_unused]] const Types& token_types) const {
        if constexpr (std::same_as<Types, FirstType>) {
            return select<0>(types.tensor(), 0);
        } else {
            if (!detail::has_tokens_of(ids.extents(), token_types.extents()))
                throw_mismatch<mismatch::encoder_types_differ_from_ids>(token_types.extents(), ids.extents());
            return tenon::embedding(types, token_types);
        }
    }

    template <class Ids, class Masks, class Types, class Drop>
    auto run(const Ids& ids, const Masks& masks, const Types& token_types, const Drop& drop) const {
        static_assert(Ids::rank == 2, "an Encoder takes token ids of shape [batch, time]");
        const int time = ids.extents()[1];
        if (time > sizes.context)
            throw ShapeError("encoder: expected at most " + std::to_string(sizes.context) +
                             " tokens, the context, got " + std::to_string(time));
        auto x = embedding_norm(tenon::embedding(embedding, ids) + slice<0>(positions.tensor(), 0, time) +
                                type_rows(ids, token_types));
        if constexpr (!std::same_as<Drop, NoDropout>) x = drop(x, 0);
        for (std::size_t i = 0; i < blocks.size(); ++i)
            x = blocks[i](x, Absent(), masks, drop.of_block(static_cast<int>(i)));
        return norm(x);
    }
};

// Not inline, so that where the class is declared to be instantiated elsewhere this needs no kernel.
template <class C, class D, Precision P, class Tracking>
Encoder<C, D, P, Tracking>::Encoder(Seed seed, const TransformerSizes& given, const EncoderHeads& heads)
    : Encoder(given, heads) {
    initialize(*this, seed, {C::initializer, sizes.depth, sizes.base_width, sizes.width});
}

namespace detail {
template <class C, class D, Precision P, class Tracking>
struct MakeTrainable<Encoder<C, D, P, Tracking>> {
    using type = Encoder<C, D, P, Tracked>;
};
}  // namespace detail

/// Number of parameters of an encoder type, without heads.
template <class Model>
    requires(Model::is_encoder)
constexpr std::int64_t parameter_count() {
    using C = typename Model::Configuration;
    TransformerSizes sizes = sizes_of<C>();
    sizes.tied = true;
    const int norm_vectors = Norm<typename Model::Setting, C::width, C::norm>::has_bias ? 2 : 1;
    return parameter_count<C>(sizes) + std::int64_t{sizes.token_types + norm_vectors} * sizes.width;
}

}  // namespace tenon
