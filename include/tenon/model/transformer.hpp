#pragma once

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <tenon/autograd/recompute.hpp>
#include <tenon/core/named_range.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/model/rotations.hpp>
#include <tenon/nn/adapter_slot.hpp>
#include <tenon/nn/attention_of.hpp>
#include <tenon/nn/block.hpp>
#include <tenon/nn/initialize.hpp>
#include <tenon/op/cross_entropy/logits.hpp>
#include <tenon/op/embedding/embedding.hpp>

namespace tenon {

/// A decoder-only Transformer language model: blocks of attention and feed-forward layers, and a head of its
/// own or tied to the embedding. C is the configuration (see TransformerDefaults), D and P the device and
/// precision. A plain model only runs forward, and compiles only that; `Trainable<Transformer<…>>` has
/// gradients, too.
template <class C, class D = Cpu, Precision P = F32, class Tracking = Untracked>
class Transformer : detail::CheckConfiguration<C> {
    using Resolved = detail::Resolved<C>;
    static constexpr bool has_positions = C::positions == Positions::learned,
                          has_logit_options =
                              C::logit_scale != 1 || C::logit_soft_cap != 0 || C::base_width != 0;

public:
    using Configuration = C;
    using Device = D;
    using Precision = P;
    using Setting = tenon::Setting<D, P, Tracking>;
    using Value = typename P::storage;
    using Gradient = typename P::gradient;
    using MakeAttention =
        detail::AttentionOf<Setting, C::width, C::heads, Resolved::key_value_heads, Resolved::head_width, C>;
    using Attention = typename MakeAttention::type;
    using Layer = Block<Setting, Attention, C::width, C::hidden, C>;
    using LastNorm = Norm<Setting, C::width, C::placement == NormPlacement::post ? NormKind::none : C::norm>;
    static constexpr bool is_tracked = Tracking::is_tracked;

    /// Elements are uninitialized, to be loaded. `given` has the extents that C leaves open, and all other
    /// numbers. Throws ShapeError where other extents are not C's, or where they do not fit together.
    explicit Transformer(const TransformerSizes& given = sizes_of<C>())
        : Transformer(Numbers{resolved_for<C>(given)}) {}

    /// The same without memory for elements; see `allocate_parameters`.
    explicit Transformer(const TransformerSizes& given, const UnallocatedParameters&) : Transformer(given) {}

    /// With the first values of the configuration's initializer.
    explicit Transformer(Seed seed, const TransformerSizes& given = sizes_of<C>());

    /// A model that only runs forward, on the same parameters.
    template <class Trained>
        requires(!Tracking::is_tracked && Trained::is_tracked)
    explicit Transformer(Transformer<C, D, P, Trained>& trained)
        : Transformer(Numbers{trained.sizes, trained.rotations_}, UnallocatedParameters()) {
        share_parameters(trained, *this);
    }

    /// Token ids [batch, time] -> logits [batch, time, vocabulary], lazy. Throws ShapeError where time is
    /// more than the context, Error where an id is not below the vocabulary.
    template <TokenTensor Ids>
    auto operator()(const Ids& ids) const {
        return run(ids, 0, without_cache, NoDropout());
    }

    /// The same, and what the model's mixtures of experts do in the pass is added to a record.
    template <TokenTensor Ids, class Record>
        requires(Record::is_kept)
    auto operator()(const Ids& ids, Record& record) const {
        return run(ids, 0, without_cache, NoDropout(), record);
    }
    template <TokenTensor Ids, class Record>
        requires(Record::is_kept)
    auto operator()(const Ids& ids, const DropoutKey& key, Record& record) const {
        return run(ids, 0, without_cache, ModelDropout(sizes.dropout, key, sizes.depth), record);
    }

    /// The same in training, with the configuration's dropout.
    template <TokenTensor Ids>
    auto operator()(const Ids& ids, const DropoutKey& key) const {
        if (sizes.dropout == 0 && !is_adapted) return run(ids, 0, without_cache, NoDropout());
        return run(ids, 0, without_cache, ModelDropout(sizes.dropout, key, sizes.depth));
    }

    /// The same for tokens that follow those whose keys and values a cache holds; it is extended.
    template <TokenTensor Ids, class Cache>
        requires requires(Cache& cache) { cache.advance(1); }
    auto operator()(const Ids& ids, Cache& cache) const {
        auto logits = run(
            ids, cache.length(), [&](int layer) { return cache.layer(layer); }, NoDropout());
        cache.advance(ids.extents()[1]);
        return logits;
    }

    /// The logits, as without a cache, and a look inside: calls see(place, states) with the hidden states
    /// [batch, time, width] after the embedding, place 0, after each block, and after the last norm, place
    /// depth + 1.
    template <TokenTensor Ids, class See>
    auto observe(const Ids& ids, See&& see) const {
        auto x = embedded(ids, 0);
        see(0, x);
        const auto rotations = rotations_in_pass(0, ids.extents()[1]);
        for (int i = 0; i < sizes.depth; ++i) {
            x = blocks[static_cast<std::size_t>(i)](x, rotations(i), NoCache(), NoDropout());
            see(i + 1, x);
        }
        const auto states = norm(x);
        see(sizes.depth + 1, states);
        return logits_of(states);
    }

    /// Whether keys that were stored in a sequence of so many tokens are of no use in one of `length`: rotary
    /// frequencies may be others (see RotaryScalingKind::long_factors).
    bool outgrows_cache([[maybe_unused]] int stored, [[maybe_unused]] int length) const {
        if constexpr (C::positions == Positions::rotary)
            return rotations_.changes(stored, length);
        else
            return false;
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit("embedding.weight", embedding);
        if constexpr (has_positions) visit("positions.weight", positions);
        for (std::size_t i = 0; i < blocks.size(); ++i) visit.part("blocks." + std::to_string(i), blocks[i]);
        visit.part("norm", norm);
        if (head) visit("head.weight", *head);
        embedding_adapter_.visit_place(visit, "embedding.weight", embedding);
        head_adapter_.visit_place(visit, "head.weight", head ? *head : embedding);
    }

private:
    template <class S>
    using Parameter = typename Setting::template Parameter<S>;
    template <class S>
    using Weight = typename Setting::template Weight<S>;
    using Rotations =
        std::conditional_t<C::positions == Positions::rotary, tenon::Rotations<ComputeOf<Value>, D>, Absent>;

    /// Sizes, worked out, and what is computed from them once.
    struct Numbers {
        TransformerSizes sizes;
        Rotations rotations{sizes};
    };

public:
    const TransformerSizes sizes;
    Weight<Shape<C::vocabulary, C::width>> embedding;
    [[no_unique_address]] std::conditional_t<has_positions, Parameter<Shape<C::context, C::width>>, Absent>
        positions;
    std::vector<Layer> blocks;
    LastNorm norm;
    std::optional<Weight<Shape<C::vocabulary, C::width>>> head;

private:
    template <class, class, tenon::Precision, class>
    friend class Transformer;

    explicit Transformer(const Numbers& numbers)
        : sizes(numbers.sizes),
          embedding(Role::embedding, Extents(sizes.vocabulary, sizes.width)),
          positions(Role::position, Extents(sizes.context, sizes.width)),
          norm(sizes.norm_epsilon, sizes.width),
          rotations_(numbers.rotations) {
        if (!has_logit_options &&
            (sizes.logit_scale != 1 || sizes.logit_soft_cap != 0 || sizes.base_width != 0))
            throw Error(
                "transformer: expected logits without a scale, a cap and a base width, as the "
                "configuration's type has none of these, got sizes that have one");
        SelfAttentionOptions options{.rotary_pairs = sizes.rotary_pairs, .norm_epsilon = sizes.norm_epsilon};
        const double mup_scale = sizes.base_width > 0 ? 1.0 / sizes.head_width : 0;
        options.attention.scale =
            static_cast<float>(sizes.attention_scale > 0 ? sizes.attention_scale : mup_scale);
        options.attention.soft_cap = static_cast<float>(sizes.attention_soft_cap);
        const LatentSizes latent{sizes.latent_width, sizes.query_latent_width,
                                 sizes.rotary_width, sizes.value_width,
                                 sizes.latent_bias,  sizes.rotary_scaling.score_factor()};
        MixtureSizes mixture{{{.experts_per_token = sizes.experts_per_token,
                               .normalized = sizes.normalized_experts,
                               .scale = sizes.expert_scale,
                               .groups = sizes.expert_groups,
                               .chosen_groups = sizes.chosen_groups,
                               .group_score = sizes.group_score},
                              sizes.capacity_factor},
                             sizes.experts,
                             sizes.shared_hidden};
        blocks.reserve(static_cast<std::size_t>(sizes.depth));
        for (int i = 0; i < sizes.depth; ++i) {
            options.attention.window = sizes.window_of(i);
            mixture.dense_hidden = sizes.dense_layers.has(i) ? sizes.dense_hidden : 0;
            blocks.emplace_back(MakeAttention::make(options, sizes.width, sizes.heads, sizes.key_value_heads,
                                                    sizes.head_width, latent),
                                sizes.norm_epsilon, sizes.width, sizes.hidden, mixture);
        }
        if (!sizes.tied) head.emplace(Role::head, Extents(sizes.vocabulary, sizes.width));
        if (sizes.base_width > 0)
            for_each_parameter(*this, [&](std::string_view, ParameterBase& parameter) {
                if (parameter.role == Role::matrix) parameter.rate_scale = 1 / growth();
            });
    }
    Transformer(const Numbers& numbers, const UnallocatedParameters&) : Transformer(numbers) {}

    static NoCache without_cache(int) { return {}; }

    static constexpr bool is_adapted = requires { requires Setting::is_adapted; };

    /// Tells adapters of a pass that something drops out in.
    template <class Drop>
    static auto training_pass([[maybe_unused]] const Drop& drop) {
        if constexpr (is_adapted && !std::same_as<Drop, NoDropout>)
            return TrainingPass(drop.key());
        else
            return Absent();
    }

    static auto range_of([[maybe_unused]] int block) {
        if constexpr (C::named_ranges)
            return NamedRange<D>("blocks." + std::to_string(block));
        else
            return Absent();
    }

    /// How much wider than muP's base the model is.
    double growth() const {
        return sizes.base_width > 0 ? static_cast<double>(sizes.width) / sizes.base_width : 1;
    }

    /// `first_position`: a number, or in the device's memory a tensor [1] of one, for one token.
    template <class Ids, class Position>
    auto embedded(const Ids& ids, const Position& first_position) const {
        static_assert(Ids::rank == 2, "a Transformer takes token ids of shape [batch, time]");
        auto x = embedding_adapter_.added_rows(ids, Setting::entering(tenon::embedding(embedding, ids)));
        if constexpr (C::scaled_embedding) x = x * std::sqrt(static_cast<double>(sizes.width));
        if constexpr (!TensorLike<Position>) {
            const int end = first_position + ids.extents()[1];
            if (end > sizes.context)
                throw ShapeError("transformer: expected at most " + std::to_string(sizes.context) +
                                 " tokens, the context, got " + std::to_string(end));
            if constexpr (has_positions) x = x + slice<0>(positions.tensor(), first_position, end);
        } else if constexpr (has_positions) {
            x = x + tenon::embedding(positions, first_position);
        }
        return x;
    }

    template <class Ids, class Position, class CacheOf, class Drop, class Record = NoRoutingRecord>
    auto run(const Ids& ids, const Position& first_position, CacheOf cache_of, const Drop& drop,
             Record&& record = {}) const {
        constexpr bool runs_again =
                           C::recompute && is_tracked && std::same_as<decltype(cache_of(0)), NoCache>,
                       is_told = std::remove_cvref_t<Record>::is_kept;
        static_assert(!runs_again || !std::same_as<std::remove_cvref_t<Record>, RoutingRecord<Setting>>,
                      "blocks that run again would tell a plain record twice");
        auto x = embedded(ids, first_position);
        if constexpr (!std::same_as<Drop, NoDropout>) x = drop(x, 0);
        [[maybe_unused]] const auto pass = training_pass(drop);
        const auto rotations = rotations_in_pass(first_position, ids.extents()[1]);
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            const int block = static_cast<int>(i);
            [[maybe_unused]] const auto range = range_of(block);
            if constexpr (runs_again)
                x = recompute(
                    [this, block, table = rotations(block), drop_of_block = drop.of_block(block),
                     to = std::addressof(record)](const auto& input) {
                        const Layer& layer = blocks[static_cast<std::size_t>(block)];
                        [[maybe_unused]] const auto pass = training_pass(drop_of_block);
                        if constexpr (is_told) {
                            RoutingRecord<Setting> own;
                            const auto y = layer(input, table, NoCache(), drop_of_block, own);
                            return to->told(y, own);
                        } else {
                            static_cast<void>(to);
                            return layer(input, table, NoCache(), drop_of_block);
                        }
                    },
                    x);
            else
                x = blocks[i](x, rotations(block), cache_of(block), drop.of_block(block), record);
        }
        return logits_of(norm(x));
    }

    /// Of each layer, the table that turns its queries and keys.
    template <class Position>
    auto rotations_in_pass([[maybe_unused]] const Position& first_position, [[maybe_unused]] int time) const {
        if constexpr (C::positions != Positions::rotary)
            return [](int) { return Absent(); };
        else if constexpr (TensorLike<Position>)  // of one token
            return rotations_;
        else
            return rotations_.in_pass(first_position, time);
    }

    template <class States>
    auto logits_of(const States& states) const {
        const auto& weight = head ? *head : embedding;
        const auto options = [&] {
            if constexpr (has_logit_options)
                return LogitsOptions{sizes.logit_scale / growth(), sizes.logit_soft_cap};
            else
                return PlainLogits();
        }();
        return Logits(states, weight.tensor(), options, head_adapter_.logits_addend(states));
    }

    [[no_unique_address]] Rotations rotations_;
    [[no_unique_address]] AdapterSlot<Setting> embedding_adapter_, head_adapter_;
};

// Not inline, so that where the class is declared to be instantiated elsewhere this needs no kernel.
template <class C, class D, Precision P, class Tracking>
Transformer<C, D, P, Tracking>::Transformer(Seed seed, const TransformerSizes& given) : Transformer(given) {
    initialize(*this, seed, {C::initializer, sizes.depth, sizes.base_width, sizes.width});
}

namespace detail {
template <class C, class D, class P, class Tracking>
struct MakeTrainable<Transformer<C, D, P, Tracking>> {
    using type = Transformer<C, D, P, Tracked>;
};
}  // namespace detail

/// Number of parameters of a model type.
template <class Model>
constexpr std::int64_t parameter_count() {
    using C = typename Model::Configuration;
    return parameter_count<C>(sizes_of<C>());
}

}  // namespace tenon
