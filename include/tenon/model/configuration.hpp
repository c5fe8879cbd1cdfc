#pragma once

#include <algorithm>
#include <cmath>

#include <tenon/core/mismatch.hpp>
#include <tenon/model/layer_set.hpp>
#include <tenon/nn/features.hpp>
#include <tenon/op/experts/route_options.hpp>
#include <tenon/op/rotary/rotary.hpp>

namespace tenon {

/// What a Transformer's configuration says where it says nothing else. A configuration is a type:
///
///     struct TinyStories : TransformerDefaults {
///         static constexpr int vocabulary = 10'000, context = 256, width = 512, depth = 4, heads = 16,
///         hidden = 1344;
///     };
///
/// It has features (see DefaultFeatures), always known to the compiler, and numbers. Each of the extents may
/// be `dyn` instead; it is then given in TransformerSizes when the model is made.
struct TransformerDefaults : DefaultFeatures {
    static constexpr int key_value_heads = 0;  ///< 0: as many as heads
    static constexpr int head_width = 0;       ///< 0: width / heads
    static constexpr bool tied = false;        ///< the head's weight is the embedding's
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::interleaved;
    static constexpr double rotary_base = 10'000;
    static constexpr double norm_epsilon = 1e-5;
    static constexpr int window = 0;                 ///< of attention, in tokens; 0: all of the past
    static constexpr double attention_scale = 0;     ///< 0: 1 / sqrt(head_width), or muP's
    static constexpr double attention_soft_cap = 0;  ///< 0: none
    static constexpr double logit_scale = 1;         ///< a factor of the logits
    static constexpr double logit_soft_cap = 0;      ///< 0: none
    static constexpr double dropout = 0;             ///< probability, in passes that are given a DropoutKey
    /// If positive, the model is parametrized by muP (Yang et al. 2022, "Tensor programs V", table 8), so
    /// that the rates that suit this width suit every width: matrices' initial variances and rates (of Adam
    /// and its like) fall as 1 / width, logits are divided by width / base_width, and scores by the width of
    /// a head.
    static constexpr int base_width = 0;
    static constexpr int experts = 0;                  ///< of a mixture of them; `hidden` is one expert's
    static constexpr int experts_per_token = 0;        ///< that a token is sent to
    static constexpr int shared_hidden = 0;            ///< of the expert that all tokens take
    static constexpr bool normalized_experts = false;  ///< a token's weights add up to 1, times the scale
    static constexpr double expert_scale = 1;          ///< a factor of experts' weights
    static constexpr double capacity_factor = 0;       ///< of experts (see MixtureOptions); 0: dropless
    static constexpr int rotary_width = 0;  ///< of a head's first elements, those that are turned; 0: all
    static constexpr RotaryScaling rotary_scaling = {};
    static constexpr double window_rotary_base = 0;    ///< of layers with the window, unscaled; 0: as others
    static constexpr LayerSet windowless_layers = {};  ///< that attend to all of the past nonetheless
    static constexpr LayerSet unturned_layers = {};    ///< without rotary positions, or any
    /// Experts are chosen from the best groups of neighbours (see RouteOptions).
    static constexpr int expert_groups = 1, chosen_groups = 1;
    static constexpr GroupScore group_score = GroupScore::maximum;
    static constexpr LayerSet dense_layers = {};  ///< that are no mixtures of experts, among those that are…
    static constexpr int dense_hidden = 0;        ///< …and their hidden width
    /// Of latent attention (see LatentAttention), where `head_width` is that of queries and keys, and
    /// `rotary_width` the part of it that is turned.
    static constexpr int latent_width = 0, query_latent_width = 0, value_width = 0;
    static constexpr bool latent_bias = false;
    static constexpr int token_types = 0;  ///< of an Encoder's tokens
};

/// A Transformer's numbers as values.
struct TransformerSizes {
    int vocabulary = 0, context = 0, width = 0, depth = 0, heads = 0, key_value_heads = 0, head_width = 0,
        hidden = 0;
    bool tied = false;
    RotaryPairs rotary_pairs = RotaryPairs::interleaved;
    double rotary_base = 10'000, norm_epsilon = 1e-5;
    int window = 0;
    double attention_scale = 0, attention_soft_cap = 0, logit_scale = 1, logit_soft_cap = 0, dropout = 0;
    int base_width = 0;
    int rotary_width = 0;
    RotaryScaling rotary_scaling = {};
    double window_rotary_base = 0;
    LayerSet windowless_layers = {}, unturned_layers = {};
    int experts = 0, experts_per_token = 0, shared_hidden = 0;
    bool normalized_experts = false;
    double expert_scale = 1, capacity_factor = 0;
    int expert_groups = 1, chosen_groups = 1;
    GroupScore group_score = GroupScore::maximum;
    LayerSet dense_layers = {};
    int dense_hidden = 0;
    int latent_width = 0, query_latent_width = 0, value_width = 0;
    bool latent_bias = false;
    int token_types = 0;

    /// The window of a layer's attention; 0: all of the past.
    constexpr int window_of(int layer) const { return windowless_layers.has(layer) ? 0 : window; }

    /// Of the queries and keys that are turned, the width that the turned elements are the first of.
    constexpr int turned_head_width() const { return latent_width > 0 ? rotary_width : head_width; }

    friend constexpr bool operator==(const TransformerSizes&, const TransformerSizes&) = default;
};

/// The configuration with these features whose numbers are all given at run time.
template <class Features = TransformerDefaults>
struct DynamicTransformer : Features {
    static constexpr auto vocabulary = dyn, context = dyn, width = dyn, depth = dyn, heads = dyn,
                          key_value_heads = dyn, head_width = dyn, hidden = dyn, experts = dyn,
                          token_types = dyn;
};

/// The configuration with these features and numbers known at compile time: `StaticTransformer<sizes>` for a
/// constant of static storage.
template <const TransformerSizes& sizes, class Features = TransformerDefaults>
struct StaticTransformer : Features {
    static constexpr int vocabulary = sizes.vocabulary, context = sizes.context, width = sizes.width,
                         depth = sizes.depth, heads = sizes.heads, key_value_heads = sizes.key_value_heads,
                         head_width = sizes.head_width, hidden = sizes.hidden;
    static constexpr bool tied = sizes.tied;
    static constexpr RotaryPairs rotary_pairs = sizes.rotary_pairs;
    static constexpr double rotary_base = sizes.rotary_base, norm_epsilon = sizes.norm_epsilon;
    static constexpr int window = sizes.window;
    static constexpr double attention_scale = sizes.attention_scale,
                            attention_soft_cap = sizes.attention_soft_cap, logit_scale = sizes.logit_scale,
                            logit_soft_cap = sizes.logit_soft_cap, dropout = sizes.dropout;
    static constexpr int base_width = sizes.base_width, rotary_width = sizes.rotary_width;
    static constexpr RotaryScaling rotary_scaling = sizes.rotary_scaling;
    static constexpr double window_rotary_base = sizes.window_rotary_base;
    static constexpr LayerSet windowless_layers = sizes.windowless_layers,
                              unturned_layers = sizes.unturned_layers;
    static constexpr int experts = sizes.experts, experts_per_token = sizes.experts_per_token,
                         shared_hidden = sizes.shared_hidden;
    static constexpr bool normalized_experts = sizes.normalized_experts;
    static constexpr double expert_scale = sizes.expert_scale, capacity_factor = sizes.capacity_factor;
    static constexpr int expert_groups = sizes.expert_groups, chosen_groups = sizes.chosen_groups;
    static constexpr GroupScore group_score = sizes.group_score;
    static constexpr LayerSet dense_layers = sizes.dense_layers;
    static constexpr int dense_hidden = sizes.dense_hidden;
    static constexpr int latent_width = sizes.latent_width, query_latent_width = sizes.query_latent_width,
                         value_width = sizes.value_width;
    static constexpr bool latent_bias = sizes.latent_bias;
    static constexpr int token_types = sizes.token_types;
};

/// Whether two configurations have the same features: whether the parameters of models of theirs mean the
/// same.
template <class A, class B>
inline constexpr bool same_features =
    A::norm == B::norm&& A::placement == B::placement&& A::parallel == B::parallel&& A::query_key_norm ==
    B::query_key_norm&& A::positions == B::positions&& A::feed_forward ==
    B::feed_forward&& A::query_key_value_bias == B::query_key_value_bias&& A::attention_output_bias ==
    B::attention_output_bias&& A::feed_forward_bias == B::feed_forward_bias&& A::scaled_embedding ==
    B::scaled_embedding&& A::mixture_of_experts == B::mixture_of_experts&& A::router_score ==
    B::router_score&& A::router_bias == B::router_bias&& A::shared_expert ==
    B::shared_expert&& A::shared_expert_gate == B::shared_expert_gate&& A::has_dense_layers ==
    B::has_dense_layers&& A::latent_attention == B::latent_attention;

namespace mismatch {
/// A Transformer's width is no multiple of its number of heads, and no head width is given.
template <class Width, class Heads>
struct transformer_width_is_no_multiple_of_heads;
/// A Transformer's number of heads is no multiple of that of its keys and values.
template <class Heads, class KeyValueHeads>
struct transformer_heads_are_no_multiple_of_key_value_heads;
/// Rotary positions need an even head width.
template <class Width, class HeadWidth>
struct transformer_head_width_is_odd;
/// A block whose branches run in parallel has its norms before them: `placement` is NormPlacement::pre.
template <class Configuration>
struct transformer_parallel_branches_need_norms_before_them;
}  // namespace mismatch

namespace detail {

/// The faults of a configuration's codes, in the order of the mismatches above; 0 for none.
constexpr int transformer_fault(Positions positions, ExtentCode width, ExtentCode heads,
                                ExtentCode key_value_heads, ExtentCode head_width) {
    if (!is_exact(heads)) return 0;
    if (head_width == 0 && is_exact(width) && (heads == 0 || width % heads != 0)) return 1;
    if (is_exact(key_value_heads) && key_value_heads != 0 && heads % key_value_heads != 0) return 2;
    const ExtentCode resolved = head_width != 0 ? head_width : is_exact(width) ? width / heads : dyn_code;
    return positions == Positions::rotary && is_exact(resolved) && resolved % 2 != 0 ? 3 : 0;
}

/// A configuration with its defaults worked out.
template <class C>
struct Resolved {
    static constexpr auto key_value_heads = [] {
        if constexpr (extent_code(C::key_value_heads) == 0)
            return C::heads;
        else
            return C::key_value_heads;
    }();
    static constexpr auto head_width = [] {
        if constexpr (extent_code(C::head_width) != 0)
            return C::head_width;
        else if constexpr (is_exact(extent_code(C::width)) && is_exact(extent_code(C::heads)))
            return C::width / C::heads;
        else
            return dyn;
    }();
};

template <class C>
constexpr int configuration_fault() {
    if (!block_fits(C::parallel, C::placement)) return 4;
    return transformer_fault(C::latent_attention ? Positions::none : C::positions, extent_code(C::width),
                             extent_code(C::heads), extent_code(C::key_value_heads),
                             extent_code(C::head_width));
}

/// A base class: incomplete, and named after the fault, for a configuration that does not fit together.
template <class C, int fault = configuration_fault<C>()>
struct CheckConfiguration {};
template <class C>
struct CheckConfiguration<C, 1>
    : mismatch::transformer_width_is_no_multiple_of_heads<Shape<C::width>, Shape<C::heads>> {};
template <class C>
struct CheckConfiguration<C, 2>
    : mismatch::transformer_heads_are_no_multiple_of_key_value_heads<Shape<C::heads>,
                                                                     Shape<C::key_value_heads>> {};
template <class C>
struct CheckConfiguration<C, 3>
    : mismatch::transformer_head_width_is_odd<Shape<C::width>, Shape<Resolved<C>::head_width>> {};
template <class C>
struct CheckConfiguration<C, 4> : mismatch::transformer_parallel_branches_need_norms_before_them<C> {};

}  // namespace detail

/// The numbers of a configuration; those that it leaves open are 0.
template <class C>
constexpr TransformerSizes sizes_of() {
    auto number = [](auto extent) { return is_exact(extent_code(extent)) ? extent_code(extent) : 0; };
    TransformerSizes sizes;
    sizes.vocabulary = number(C::vocabulary);
    sizes.context = number(C::context);
    sizes.width = number(C::width);
    sizes.depth = number(C::depth);
    sizes.heads = number(C::heads);
    sizes.key_value_heads = number(detail::Resolved<C>::key_value_heads);
    sizes.head_width = number(detail::Resolved<C>::head_width);
    sizes.hidden = number(C::hidden);
    sizes.tied = C::tied;
    sizes.rotary_pairs = C::rotary_pairs;
    sizes.rotary_base = C::rotary_base;
    sizes.norm_epsilon = C::norm_epsilon;
    sizes.window = C::window;
    sizes.attention_scale = C::attention_scale;
    sizes.attention_soft_cap = C::attention_soft_cap;
    sizes.logit_scale = C::logit_scale;
    sizes.logit_soft_cap = C::logit_soft_cap;
    sizes.dropout = C::dropout;
    sizes.base_width = C::base_width;
    sizes.rotary_width = C::rotary_width;
    sizes.rotary_scaling = C::rotary_scaling;
    sizes.window_rotary_base = C::window_rotary_base;
    sizes.windowless_layers = C::windowless_layers;
    sizes.unturned_layers = C::unturned_layers;
    sizes.experts = number(C::experts);
    sizes.experts_per_token = C::experts_per_token;
    sizes.shared_hidden = C::shared_hidden;
    sizes.normalized_experts = C::normalized_experts;
    sizes.expert_scale = C::expert_scale;
    sizes.capacity_factor = C::capacity_factor;
    sizes.expert_groups = C::expert_groups;
    sizes.chosen_groups = C::chosen_groups;
    sizes.group_score = C::group_score;
    sizes.dense_layers = C::dense_layers;
    sizes.dense_hidden = C::dense_hidden;
    sizes.latent_width = C::latent_width;
    sizes.query_latent_width = C::query_latent_width;
    sizes.value_width = C::value_width;
    sizes.latent_bias = C::latent_bias;
    sizes.token_types = number(C::token_types);
    return sizes;
}

/// Sizes with their defaults worked out. Throws ShapeError with the words of the compile error where they do
/// not fit together.
inline TransformerSizes resolved(TransformerSizes sizes, Positions positions = Positions::rotary) {
    const auto fail = [](const std::string& expected, double value) {
        throw ShapeError("transformer: expected " + expected + ", got " + std::to_string(value));
    };
    const auto require = [](const char* name, int value) {
        if (value <= 0)
            throw ShapeError(std::string("transformer: expected a positive ") + name + ", got " +
                             std::to_string(value));
    };
    const auto require_finite = [&](const char* name, double value) {
        if (!(value >= 0 && value < 1e30)) fail(std::string(name) + " from 0 on, finite", value);
    };
    require("vocabulary", sizes.vocabulary);
    require("context", sizes.context);
    require("width", sizes.width);
    require("depth", sizes.depth);
    require("number of heads", sizes.heads);
    require("hidden width", sizes.hidden);
    const int fault =
        detail::transformer_fault(sizes.latent_width > 0 ? Positions::none : positions, sizes.width,
                                  sizes.heads, sizes.key_value_heads, sizes.head_width);
    if (fault == 1)
        throw_mismatch<mismatch::transformer_width_is_no_multiple_of_heads>(Extents(sizes.width),
                                                                            Extents(sizes.heads));
    if (fault == 2)
        throw_mismatch<mismatch::transformer_heads_are_no_multiple_of_key_value_heads>(
            Extents(sizes.heads), Extents(sizes.key_value_heads));
    if (sizes.key_value_heads == 0) sizes.key_value_heads = sizes.heads;
    if (sizes.head_width == 0) sizes.head_width = sizes.width / sizes.heads;
    if (sizes.rotary_width == 0) sizes.rotary_width = sizes.head_width;
    if (fault == 3)
        throw_mismatch<mismatch::transformer_head_width_is_odd>(Extents(sizes.width),
                                                                Extents(sizes.head_width));
    require("number of key and value heads", sizes.key_value_heads);
    require("head width", sizes.head_width);
    if (std::int64_t{sizes.heads} * sizes.head_width > 0x7fffffff)
        throw ShapeError("transformer: expected heads times head width below 2^31, got " +
                         std::to_string(sizes.heads) + " times " + std::to_string(sizes.head_width));
    if (!(sizes.rotary_base > 0 && sizes.rotary_base < 1e300))
        fail("a positive rotary base", sizes.rotary_base);
    if (sizes.rotary_width < 0 || sizes.rotary_width > sizes.head_width)
        fail("a rotary width of at most a head's, " + std::to_string(sizes.head_width), sizes.rotary_width);
    require_finite("a rotary base of layers with a window", sizes.window_rotary_base);
    require_finite("a width of latent attention", sizes.latent_width);
    if (sizes.latent_width > 0) {
        require("width of values", sizes.value_width);
        require_finite("a width of latent queries", sizes.query_latent_width);
        if (sizes.rotary_width % 2 != 0 || sizes.rotary_width >= sizes.head_width)
            fail("an even rotary width below a head's, " + std::to_string(sizes.head_width),
                 sizes.rotary_width);
        if (std::int64_t{sizes.heads} * std::max(sizes.value_width, sizes.latent_width) > 0x7fffffff)
            throw ShapeError("transformer: expected heads times their widths below 2^31, got " +
                             std::to_string(sizes.heads) + " times " + std::to_string(sizes.latent_width));
    }
    if (!(sizes.norm_epsilon >= 0 && sizes.norm_epsilon < 1))
        fail("a norm's epsilon from 0 to 1", sizes.norm_epsilon);
    if (!(sizes.dropout >= 0 && sizes.dropout < 1)) fail("a dropout of 0 or more, below 1", sizes.dropout);
    require_finite("a window of attention", sizes.window);
    require_finite("a scale of attention", sizes.attention_scale);
    require_finite("a soft cap of attention", sizes.attention_soft_cap);
    require_finite("a soft cap of the logits", sizes.logit_soft_cap);
    require_finite("a base width", sizes.base_width);
    if (!(std::abs(sizes.logit_scale) < 1e30)) fail("a finite scale of the logits", sizes.logit_scale);
    require_finite("a number of experts", sizes.experts);
    if (sizes.experts_per_token < 0 || sizes.experts_per_token > sizes.experts)
        fail("at most " + std::to_string(sizes.experts) + " experts for a token", sizes.experts_per_token);
    require_finite("a hidden width of a shared expert", sizes.shared_hidden);
    require_finite("a capacity factor of experts", sizes.capacity_factor);
    if (!(std::abs(sizes.expert_scale) < 1e30)) fail("a finite scale of experts", sizes.expert_scale);
    require("number of groups of experts", sizes.expert_groups);
    require("number of groups that experts are chosen from", sizes.chosen_groups);
    if (sizes.dense_layers != LayerSet()) require("hidden width of dense layers", sizes.dense_hidden);
    return sizes;
}

namespace detail {

/// Throws ShapeError where an extent that a configuration's type gives (others are 0 in `own`) is another in
/// `given`.
[[gnu::noinline]] inline void require_extents(const TransformerSizes& own, const TransformerSizes& given) {
    const auto require = [](const char* name, int expected, int got) {
        if (expected != 0 && expected != got)
            throw ShapeError(std::string("transformer: expected a ") + name + " of " +
                             std::to_string(expected) + ", the configuration's, got " + std::to_string(got));
    };
    require("vocabulary", own.vocabulary, given.vocabulary);
    require("context", own.context, given.context);
    require("width", own.width, given.width);
    require("depth", own.depth, given.depth);
    require("number of heads", own.heads, given.heads);
    require("number of key and value heads", own.key_value_heads, given.key_value_heads);
    require("head width", own.head_width, given.head_width);
    require("hidden width", own.hidden, given.hidden);
    require("number of experts", own.experts, given.experts);
    require("number of token types", own.token_types, given.token_types);
}

}  // namespace detail

/// Sizes for a model of configuration C: worked out, and checked against the extents that C gives.
template <class C>
TransformerSizes resolved_for(const TransformerSizes& given) {
    const TransformerSizes sizes = resolved(given, C::positions);
    if (C::mixture_of_experts != (sizes.experts_per_token > 0))
        throw ShapeError("transformer: expected " + std::string(C::mixture_of_experts ? "" : "no ") +
                         "experts for a token, as the configuration's type says, got " +
                         std::to_string(sizes.experts_per_token));
    if (C::latent_attention != (sizes.latent_width > 0))
        throw ShapeError("transformer: expected " + std::string(C::latent_attention ? "a" : "no") +
                         " width of latent attention, as the configuration's type says, got " +
                         std::to_string(sizes.latent_width));
    if (!C::has_dense_layers && sizes.dense_layers != LayerSet())
        throw ShapeError(
            "transformer: expected no dense layers among mixtures of experts, as the configuration's type "
            "says, got some");
    detail::require_extents(sizes_of<C>(), sizes);
    return sizes;
}

/// Number of parameters of the norms of a Transformer of these sizes, worked out, with the features of C.
template <class C = TransformerDefaults>
constexpr std::int64_t norm_parameter_count(const TransformerSizes& s) {
    constexpr int norm_vectors = C::norm == NormKind::none ? 0 : C::norm == NormKind::layer ? 2 : 1;
    constexpr int block_norms = C::placement == NormPlacement::both ? 4 : 2,
                  last_norms = C::placement == NormPlacement::post ? 0 : 1;
    const std::int64_t query = std::int64_t{s.heads} * s.head_width,
                       key = std::int64_t{s.key_value_heads} * s.head_width;
    const std::int64_t query_key_norm = C::query_key_norm == QueryKeyNorm::none   ? 0
                                        : C::query_key_norm == QueryKeyNorm::head ? 2 * s.head_width
                                                                                  : query + key;
    const std::int64_t latent_norm =
        C::latent_attention ? std::int64_t{s.latent_width} + s.query_latent_width : 0;
    return s.depth * (query_key_norm + latent_norm) +
           (std::int64_t{s.depth} * block_norms + last_norms) * norm_vectors * s.width;
}

/// Number of parameters of the routers of mixtures of experts.
template <class C = TransformerDefaults>
constexpr std::int64_t router_parameter_count(const TransformerSizes& s) {
    if (!C::mixture_of_experts) return 0;
    return std::int64_t{s.depth - s.dense_layers.count(s.depth)} * s.experts *
           (std::int64_t{s.width} + (C::router_bias ? 1 : 0));
}

namespace detail {

/// Number of elements of the matrices of a layer's latent attention: each is used once for a token.
constexpr std::int64_t latent_matrix_elements(const TransformerSizes& s) {
    const std::int64_t width = s.width, heads = s.heads, query = heads * s.head_width,
                       value = heads * s.value_width, plain = query - heads * s.rotary_width;
    return (s.query_latent_width > 0 ? (width + query) * s.query_latent_width : width * query) +
           width * (s.latent_width + s.rotary_width) + (plain + value) * s.latent_width + value * width;
}

}  // namespace detail

/// Number of parameters of a Transformer of these sizes, worked out, with the features of C.
template <class C = TransformerDefaults>
constexpr std::int64_t parameter_count(const TransformerSizes& s) {
    const std::int64_t width = s.width, hidden = s.hidden, query = std::int64_t{s.heads} * s.head_width,
                       key = std::int64_t{s.key_value_heads} * s.head_width;
    const std::int64_t attention =
        C::latent_attention
            ? detail::latent_matrix_elements(s) +
                  (s.latent_bias ? width + s.query_latent_width + s.latent_width + s.rotary_width : 0)
            : 2 * width * (query + key) + (C::query_key_value_bias ? query + 2 * key : 0) +
                  (C::attention_output_bias ? width : 0);
    constexpr int ups = is_gated(C::feed_forward) ? 2 : 1;
    const std::int64_t feed_forward =
        C::mixture_of_experts
            ? s.experts * 3 * width * hidden + (C::shared_expert ? 3 * width * s.shared_hidden : 0) +
                  (C::shared_expert_gate ? width : 0)
            : (ups + 1) * width * hidden + (C::feed_forward_bias ? ups * hidden + width : 0);
    const std::int64_t embedding = width * s.vocabulary * (s.tied ? 1 : 2) +
                                   (C::positions == Positions::learned ? width * s.context : 0);
    const std::int64_t dense = C::has_dense_layers ? s.dense_layers.count(s.depth) : 0;
    return embedding + s.depth * attention + (s.depth - dense) * feed_forward +
           dense * 3 * width * s.dense_hidden + router_parameter_count<C>(s) + norm_parameter_count<C>(s);
}

}  // namespace tenon
