#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <tenon/core/element.hpp>
#include <tenon/core/error.hpp>
#include <tenon/core/tracking.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/op/cross_entropy/targets.hpp>

/// What a model costs, known before it runs: all of this works in constant expressions.
namespace tenon {

inline namespace literals {
/// Bytes: 80_GiB.
consteval std::int64_t operator""_KiB(unsigned long long count) { return std::int64_t(count) << 10; }
consteval std::int64_t operator""_MiB(unsigned long long count) { return std::int64_t(count) << 20; }
consteval std::int64_t operator""_GiB(unsigned long long count) { return std::int64_t(count) << 30; }
}  // namespace literals

/// Floating-point operations that one token costs, by what they are for; a product of [m, k] and [k, n] is
/// 2 m k n of them. What is not a product (norms, softmax, activations) is left out, as is usual.
struct TransformerFlops {
    double projections = 0;  ///< queries, keys, values and the output of attention
    double scores = 0;       ///< queries times keys, and weights times values
    double feed_forward = 0;
    double head = 0;

    constexpr double total() const { return projections + scores + feed_forward + head; }

    friend constexpr TransformerFlops operator*(double factor, const TransformerFlops& flops) {
        return {factor * flops.projections, factor * flops.scores, factor * flops.feed_forward,
                factor * flops.head};
    }
};

namespace detail {

/// The hidden width that a token's feed-forward layer has: of all the experts that it is sent to; where
/// layers are dense among mixtures, on average over the layers.
template <class C>
constexpr double active_hidden(const TransformerSizes& s) {
    if (!C::mixture_of_experts) return s.hidden;
    const double mixture = double(s.experts_per_token) * s.hidden + (C::shared_expert ? s.shared_hidden : 0);
    if (!C::has_dense_layers) return mixture;
    const double dense = s.dense_layers.count(s.depth);
    return (dense * s.dense_hidden + (s.depth - dense) * mixture) / s.depth;
}

}  // namespace detail

/// Of the forward pass, a token, in sequences of `time` tokens (0: the context), of a Transformer with the
/// features of C and these sizes, worked out. Each token is counted as attending to all `time` (or to its
/// window), as the literature does, though the causal mask spares half of it.
template <class C>
constexpr TransformerFlops forward_flops(const TransformerSizes& s, int time = 0) {
    if (time == 0) time = s.context;
    const double width = s.width, query = double(s.heads) * s.head_width,
                 key = double(s.key_value_heads) * s.head_width;
    double seen = 0;  // by a token, in all layers
    for (int layer = 0; layer < s.depth; ++layer)
        seen += s.window_of(layer) > 0 ? std::min(s.window_of(layer), time) : time;
    return {.projections = s.depth * 2 *
                           (C::latent_attention ? double(detail::latent_matrix_elements(s))
                                                : width * (2 * query + 2 * key)),
            .scores = 2 * (query + (C::latent_attention ? double(s.heads) * s.value_width : query)) * seen,
            .feed_forward =
                s.depth * 2 * width * detail::active_hidden<C>(s) * (is_gated(C::feed_forward) ? 3 : 2),
            .head = 2 * width * s.vocabulary};
}
template <class Model>
constexpr TransformerFlops forward_flops(int time = 0) {
    using C = typename Model::Configuration;
    return forward_flops<C>(sizes_of<C>(), time);
}

/// Of a training step, a token: the backward pass does each product twice more.
template <class Model>
constexpr TransformerFlops training_flops(int time = 0) {
    return 3 * forward_flops<Model>(time);
}

/// The layers that have adapters (see Adapters), which are trained in the model's place.
struct AdaptedLayers {
    int rank = 0;  ///< 0: there are none, and the model is trained
    bool query = true, key = false, value = true, output = false;
    bool gate = false, up = false, down = false;  ///< of dense layers and shared experts
    bool router = false, experts = false;         ///< of mixtures of experts
    bool embedding = false, head = false;
    bool dropout = false;  ///< of what adapters read

    /// All linear layers of blocks.
    static constexpr AdaptedLayers all(int rank) {
        return {rank, true, true, true, true, true, true, true, true, true};
    }
};

/// A training step, as far as its memory depends on it.
struct TrainingStep {
    int batch = 1;
    int time = 0;            ///< 0: the context
    int moments = 2;         ///< numbers that the optimizer keeps of each parameter; AdamW: 2
    bool recompute = false;  ///< as if the configuration said so: blocks keep their inputs alone
    AdaptedLayers adapters = {};
};

namespace detail {
/// Bytes, of which there may be more than can be said.
constexpr std::int64_t saturated(double bytes) {
    return bytes < 9.2e18 ? static_cast<std::int64_t>(bytes) : std::numeric_limits<std::int64_t>::max();
}
}  // namespace detail

/// Bytes that training takes; what is more than 64 bits can say is the greatest that they can.
struct TrainingMemory {
    std::int64_t parameters = 0;
    std::int64_t master = 0;       ///< the optimizer's copy of the parameters, where its type is another
    std::int64_t gradients = 0;    ///< of parameters
    std::int64_t optimizer = 0;    ///< moments
    std::int64_t activations = 0;  ///< what the forward pass keeps for the backward pass
    std::int64_t transient = 0;    ///< what the loss and a block's backward pass have beside them

    constexpr std::int64_t total() const {
        return detail::saturated(double(parameters) + double(master) + double(gradients) + double(optimizer) +
                                 double(activations) + double(transient));
    }
};

namespace detail {

/// Numbers for each token that a feed-forward layer keeps, on average over the layers: what goes into its
/// function, and comes out.
template <class C>
constexpr double kept_by_feed_forward(const TransformerSizes& s) {
    const double hidden = active_hidden<C>(s) * (is_gated(C::feed_forward) ? 3 : 2);
    if (!C::mixture_of_experts) return hidden;
    // Of a mixture of experts also the rows that they read and give, and logits and scores of its router.
    const double share = C::has_dense_layers ? 1 - double(s.dense_layers.count(s.depth)) / s.depth : 1;
    return hidden + share * (2.0 * s.experts_per_token * s.width + 2.0 * s.experts);
}

/// Numbers for each token that a block keeps for its backward pass, its input included.
template <class C>
constexpr double kept_by_block(const TransformerSizes& s) {
    const double width = s.width, query = double(s.heads) * s.head_width,
                 key = double(s.key_value_heads) * s.head_width;
    constexpr int inputs = C::parallel ? 1 : 2;  // of the branches, on the residual
    constexpr int normed = C::norm == NormKind::none ? 0 : C::placement == NormPlacement::both ? 4 : 2;
    const double raw = C::query_key_norm == QueryKeyNorm::none ? 0 : query + key;
    // Of latents what their norms read and give; the last number: log-sum-exp.
    const double attention = (C::latent_attention ? 2.0 * (s.latent_width + s.query_latent_width) +
                                                        2 * query + 2.0 * s.heads * s.value_width
                                                  : raw + query + 2 * key + query) +
                             s.heads;
    return (inputs + normed) * width + attention + kept_by_feed_forward<C>(s);
}

/// Numbers of all adapters.
struct AdapterNumbers {
    double parameters = 0;
    double routers = 0;  ///< of them, which are kept as the optimizer keeps parameters
    double ranks = 0;    ///< that each token has between A and B
    double inputs = 0;   ///< that all adapters read of each token, and that may drop out
};

template <class C>
constexpr AdapterNumbers adapter_numbers(const TransformerSizes& s, const AdaptedLayers& layers) {
    if (layers.rank == 0) return {};
    if (C::latent_attention) throw Error("accounting: expected no adapters of latent attention, got some");
    AdapterNumbers sum;
    const auto add = [&](double times, bool has, double in, double out) {
        if (!has) return;
        sum.parameters += times * layers.rank * (in + out);
        sum.ranks += times * layers.rank;
        sum.inputs += times * in;
    };
    const double width = s.width, query = double(s.heads) * s.head_width,
                 key = double(s.key_value_heads) * s.head_width;
    add(s.depth, layers.query, width, query);
    add(s.depth, layers.key, width, key);
    add(s.depth, layers.value, width, key);
    add(s.depth, layers.output, query, width);
    const auto add_feed_forward = [&](double times, double hidden) {
        add(times, layers.gate && is_gated(C::feed_forward), width, hidden);
        add(times, layers.up, width, hidden);
        add(times, layers.down, hidden, width);
    };
    const double dense = C::mixture_of_experts ? s.dense_layers.count(s.depth) : s.depth;
    add_feed_forward(dense, C::mixture_of_experts ? s.dense_hidden : s.hidden);
    if (C::shared_expert) add_feed_forward(s.depth - dense, s.shared_hidden);
    if (C::mixture_of_experts) {
        const double mixtures = s.depth - dense;
        const double before = sum.parameters;
        add(mixtures, layers.router, width, s.experts);
        sum.routers = sum.parameters - before;
        if (layers.experts) {  // each has matrices, of which a token passes some
            sum.parameters += mixtures * s.experts * layers.rank * (2 * width + 3.0 * s.hidden);
            sum.ranks += mixtures * s.experts_per_token * layers.rank * 2;
            sum.inputs += mixtures * s.experts_per_token * (width + s.hidden);
        }
    }
    add(1, layers.head, width, s.vocabulary);
    add(1, layers.embedding, width, s.vocabulary);
    if (layers.embedding) sum.inputs -= width;  // nothing drops out of it
    return sum;
}

/// Numbers for each token that blocks keep where adapters are trained in their place, and what adapters
/// elsewhere do: what frozen layers read is not needed, but for what an adapter reads, too. Of mixtures of
/// experts it is counted nonetheless.
template <class C>
constexpr double kept_by_adapted_blocks(const TransformerSizes& s, const AdaptedLayers& layers) {
    constexpr bool has_norms = C::norm != NormKind::none;
    const AdapterNumbers adapters = adapter_numbers<C>(s, layers);
    const bool reads_first = !layers.dropout && (layers.query || layers.key || layers.value),
               reads_second = !layers.dropout && (layers.up || layers.gate);
    double block = kept_by_block<C>(s);
    if (has_norms && !reads_first) block -= s.width;
    if (has_norms && !reads_second) block -= s.width;
    if (!C::mixture_of_experts && (layers.dropout || !layers.down)) block -= s.hidden;
    // A head's adapter keeps the states that it reads.
    const double states = layers.head && !layers.dropout ? s.width : 0;
    return s.depth * block + adapters.ranks + states + (layers.dropout ? adapters.inputs : 0);
}

}  // namespace detail

/// Bytes that a step of training takes, of a Transformer of these sizes, worked out.
template <class Model>
constexpr TrainingMemory training_memory(const TransformerSizes& s, const TrainingStep& step) {
    using C = typename Model::Configuration;
    using P = typename Model::Precision;
    using Activation = typename P::storage;
    constexpr double activation_bytes = sizeof(Activation),
                     gradient_bytes = sizeof(GradientOf<Activation, typename Model::Device>);
    // Norms' and routers' parameters are their own master copies.
    const double count = double(parameter_count<C>(s)),
                 norms = double(norm_parameter_count<C>(s) + router_parameter_count<C>(s));
    const double tokens = double(step.batch) * (step.time > 0 ? step.time : s.context);
    const double width = s.width, block = detail::kept_by_block<C>(s);
    TrainingMemory memory;
    const bool is_adapted = step.adapters.rank > 0;
    const detail::AdapterNumbers adapters = detail::adapter_numbers<C>(s, step.adapters);
    const double own = adapters.parameters, trained = is_adapted ? own : count,
                 copied = is_adapted ? own - adapters.routers : count - norms;
    memory.parameters = detail::saturated((count - norms + own - adapters.routers) * activation_bytes +
                                          (norms + adapters.routers) * sizeof(typename P::master));
    memory.master = sizeof(typename P::master) != sizeof(Activation)
                        ? detail::saturated(copied * sizeof(typename P::master))
                        : 0;
    memory.gradients = detail::saturated(trained * sizeof(typename P::gradient));
    memory.optimizer = detail::saturated(step.moments * trained * sizeof(typename P::gradient));
    // The last norm's argument; what the head reads is not kept, but its gradient prepared in its stead.
    constexpr bool has_last_norm = C::norm != NormKind::none && C::placement != NormPlacement::post;
    const bool recomputes = step.recompute || C::recompute;
    const double blocks = is_adapted ? detail::kept_by_adapted_blocks<C>(s, step.adapters) : s.depth * block;
    const double kept = (recomputes ? s.depth * width : blocks) + (has_last_norm ? width : 0);
    memory.activations = detail::saturated(tokens * (kept * activation_bytes + width * gradient_bytes));
    // Gradients of the widest layer's inputs and outputs; a block that runs again; logits.
    const double branch = detail::kept_by_feed_forward<C>(s);
    const double logits = std::min<double>(tokens, CrossEntropy::gradient_block) * s.vocabulary;
    memory.transient = detail::saturated(
        tokens * ((branch + 3 * width) * gradient_bytes + (recomputes ? block * activation_bytes : 0)) +
        logits * gradient_bytes);
    return memory;
}
template <class Model>
constexpr TrainingMemory training_memory(const TrainingStep& step) {
    return training_memory<Model>(sizes_of<typename Model::Configuration>(), step);
}

/// Whether a step of training takes at most so many bytes: `static_assert(fits_in<Model, 80_GiB>({.batch =
/// 8}));`
template <class Model, std::int64_t bytes>
constexpr bool fits_in(const TrainingStep& step) {
    return training_memory<Model>(step).total() <= bytes;
}

/// The largest batch that fits into so many bytes; 0 if none does.
template <class Model>
constexpr int largest_batch(std::int64_t bytes, TrainingStep step = {}) {
    const auto fits = [&](int batch) {
        step.batch = batch;
        return training_memory<Model>(step).total() <= bytes;
    };
    int batch = 0;
    for (int next = 1 << 20; next > 0; next /= 2)
        if (fits(batch + next)) batch += next;
    return batch;
}

/// The share of a peak, in floating-point operations a second, that training uses: model FLOPs utilization
/// (Chowdhery et al. 2022, "PaLM", appendix B). `flops` is what one token costs.
constexpr double model_flops_utilization(double flops, double tokens_a_second, double peak) {
    return flops * tokens_a_second / peak;
}

}  // namespace tenon
