#pragma once

#include <optional>
#include <string>
#include <vector>

#include <tenon/model/configuration.hpp>
#include <tenon/nn/block.hpp>
#include <tenon/nn/initialize.hpp>
#include <tenon/op/cross_entropy/logits.hpp>
#include <tenon/op/embedding/embedding.hpp>

namespace tenon {

/// A decoder-only Transformer language model: pre-norm blocks of grouped-query attention with rotary
/// positions and SwiGLU, a last norm, and a head of its own or tied to the embedding. C is the configuration
/// (see TransformerDefaults), D and P the device and precision. A plain model only runs forward, and compiles
/// only that; `Trainable<Transformer<…>>` has gradients, too.
template <class C, class D = Cpu, Precision P = F32, class Tracking = Untracked>
class Transformer : detail::CheckConfiguration<C> {
    using Resolved = detail::Resolved<C>;

public:
    using Configuration = C;
    using Device = D;
    using Precision = P;
    using Setting = tenon::Setting<D, P, Tracking>;
    using Value = typename P::storage;
    using Gradient = typename P::gradient;
    using Attention =
        SelfAttention<Setting, C::width, C::heads, Resolved::key_value_heads, Resolved::head_width>;
    using Layer = Block<Setting, Attention, C::width, C::hidden>;
    static constexpr bool is_tracked = Tracking::is_tracked;

    /// Elements are uninitialized, to be loaded. `given` has the numbers that C leaves open; throws
    /// ShapeError where its other numbers are not C's, or where they do not fit together.
    explicit Transformer(const TransformerSizes& given = sizes_of<C>())
        : sizes(resolved(given)),
          embedding(Role::embedding, Extents(sizes.vocabulary, sizes.width)),
          norm(sizes.norm_epsilon, sizes.width),
          rotations_(sizes.context, sizes.head_width, sizes.rotary_base) {
        blocks.reserve(static_cast<std::size_t>(sizes.depth));
        for (int i = 0; i < sizes.depth; ++i)
            blocks.emplace_back(Attention(sizes.rotary_pairs, sizes.width, sizes.heads, sizes.key_value_heads,
                                          sizes.head_width),
                                sizes.norm_epsilon, sizes.width, sizes.hidden);
        if (!sizes.tied) head.emplace(Role::head, Extents(sizes.vocabulary, sizes.width));
    }

    /// Initialized as CS336 does.
    explicit Transformer(Seed seed, const TransformerSizes& given = sizes_of<C>()) : Transformer(given) {
        initialize(*this, seed);
    }

    /// A model that only runs forward, on the same parameters.
    explicit Transformer(Transformer<C, D, P, Tracked>& trained) requires(!Tracking::is_tracked)
        : Transformer(trained.sizes) {
        std::vector<ParameterBase*> sources;
        for_each_parameter(
            trained, [&](std::string_view, ParameterBase& parameter) { sources.push_back(&parameter); });
        std::size_t next = 0;
        for_each_parameter(*this, [&](std::string_view, ParameterBase& parameter) {
            parameter.storage = sources[next]->storage;
            parameter.data = sources[next++]->data;
        });
    }

    /// Token ids [batch, time] -> logits [batch, time, vocabulary], lazy. Time is at most the context.
    template <TokenTensor Ids>
    auto operator()(const Ids& ids) const {
        return run(ids, [](int) { return NoCache{}; });
    }

    /// The same for tokens that follow those whose keys and values a cache holds; it is extended.
    template <TokenTensor Ids, class Cache>
    auto operator()(const Ids& ids, Cache& cache) const {
        auto logits = run(ids, [&](int layer) { return cache.layer(layer); });
        cache.advance(ids.extents()[1]);
        return logits;
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit("embedding.weight", embedding);
        for (std::size_t i = 0; i < blocks.size(); ++i) visit.part("blocks." + std::to_string(i), blocks[i]);
        visit.part("norm", norm);
        if (head) visit("head.weight", *head);
    }

    const TransformerSizes sizes;
    typename Setting::template Parameter<Shape<C::vocabulary, C::width>> embedding;
    std::vector<Layer> blocks;
    Norm<Setting, C::width> norm;
    std::optional<typename Setting::template Parameter<Shape<C::vocabulary, C::width>>> head;

private:
    template <class Ids, class CacheOf>
    auto run(const Ids& ids, CacheOf cache_of) const {
        static_assert(Ids::rank == 2, "a Transformer takes token ids of shape [batch, time]");
        auto x = tenon::embedding(embedding, ids);
        for (std::size_t i = 0; i < blocks.size(); ++i)
            x = blocks[i](x, rotations_, cache_of(static_cast<int>(i)));
        return Logits(norm(x), (head ? *head : embedding).tensor());
    }

    RotaryTable<ComputeOf<Value>, D> rotations_;
};

namespace detail {
template <class Model>
struct MakeTrainable;
template <class C, class D, class P, class Tracking>
struct MakeTrainable<Transformer<C, D, P, Tracking>> {
    using type = Transformer<C, D, P, Tracked>;
};
}  // namespace detail

/// The same model with gradients.
template <class Model>
using Trainable = typename detail::MakeTrainable<Model>::type;

/// Number of parameters of a model type.
template <class Model>
constexpr std::int64_t parameter_count() {
    return parameter_count(sizes_of<typename Model::Configuration>());
}

}  // namespace tenon
