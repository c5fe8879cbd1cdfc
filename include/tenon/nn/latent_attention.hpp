#pragma once

#include <cmath>
#include <optional>

#include <tenon/nn/attention_of.hpp>
#include <tenon/op/concatenate/concatenate.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// Causal self-attention whose keys and values are made of one narrow vector, the latent, and whose positions
/// are told by elements of their own, which all heads' keys share (DeepSeek-AI 2024, "DeepSeek-V2":
/// multi-head latent attention): [batch, time, Width] -> the same. Queries may be made of a latent, too.
///
/// A cache keeps the latent and the turned elements alone, whatever the number of heads. There a head's
/// queries are multiplied with what would make its keys, and the values' factor comes after the sum, so that
/// nothing is made again of what is stored: all heads attend to the latents themselves.
template <class Setting, auto Width, auto Heads, class Features = DefaultFeatures>
class LatentAttention {
    template <class S>
    using Parameter = typename Setting::template Parameter<S>;
    using LatentNorm = Norm<Setting, dyn, NormKind::rms>;
    static constexpr MatmulOptions right{.transpose_right = true};
    static constexpr double norm_epsilon = 1e-6;  // as published: not the model's

    /// x + bias, where there is one: that is not known to the type.
    using Bias = std::optional<Parameter<Shape<dyn>>>;
    template <class X>
    static X biased(X x, const Bias& bias) {
        if (bias) return x + *bias;
        return x;
    }
    static Bias make_bias(bool is_made, int width) {
        Bias bias;
        if (is_made) bias.emplace(Role::bias, Extents(width));
        return bias;
    }

    /// A shape whose last axis is open.
    template <class S>
    using Open = ShapeOf<detail::Resized<S, S::rank - 1, dyn_code>>;

public:
    /// `head_width`: of queries and keys. A scale of 0 in the options is 1 / sqrt(head_width) and the sizes'
    /// factor.
    explicit LatentAttention(const SelfAttentionOptions& options, int width, int heads, int head_width,
                             const LatentSizes& sizes)
        : query(heads * (head_width - sizes.rotary_width),
                sizes.query_latent_width > 0 ? sizes.query_latent_width : width),
          turned_query(heads * sizes.rotary_width,
                       sizes.query_latent_width > 0 ? sizes.query_latent_width : width),
          latent(sizes.latent_width, width),
          turned_key(sizes.rotary_width, width),
          latent_norm(norm_epsilon, sizes.latent_width),
          key(heads * (head_width - sizes.rotary_width), sizes.latent_width),
          value(heads * sizes.value_width, sizes.latent_width),
          output(width, heads * sizes.value_width),
          query_latent_bias(
              make_bias(sizes.has_bias && sizes.query_latent_width > 0, sizes.query_latent_width)),
          latent_bias(make_bias(sizes.has_bias, sizes.latent_width)),
          turned_key_bias(make_bias(sizes.has_bias, sizes.rotary_width)),
          output_bias(make_bias(sizes.has_bias, width)),
          options_(options),
          sizes_(sizes),
          heads_(heads),
          plain_width_(head_width - sizes.rotary_width) {
        if (sizes.query_latent_width > 0) {
            query_latent.emplace(sizes.query_latent_width, width);
            query_latent_norm.emplace(norm_epsilon, sizes.query_latent_width);
        }
        if (options.attention.scale == 0)
            options_.attention.scale = static_cast<float>(sizes.score_factor / std::sqrt(double(head_width)));
    }

    /// `cache`: NoCache, or one layer's memory (see SelfAttention), which is given rows [batch, time, 1,
    /// latent and turned]. `rotations`: a RotaryTable of the turned elements' width.
    template <TensorLike X, class Rotations, class Cache>
    auto operator()(const X& x, const Rotations& rotations, Cache&& cache) const {
        return biased(output(attended(x, rotations, cache)), output_bias);
    }

    /// The result plus an addend, on a device whose products add.
    template <TensorLike X, class Rotations, class Cache, TensorLike Addend>
    auto added(const X& x, const Rotations& rotations, Cache&& cache, const Addend& addend) const {
        return biased(output.added(attended(x, rotations, cache), addend), output_bias);
    }

    void visit_parameters(ParameterVisitor& visit) {
        const auto linear = [&](std::string_view name, auto& layer, Bias& bias) {
            visit.part(name, layer);
            if (bias) visit(std::string(name) + ".bias", *bias);
        };
        if (query_latent) {
            linear("query_latent", *query_latent, query_latent_bias);
            visit.part("query_latent_norm", *query_latent_norm);
        }
        // A checkpoint keeps both parts of a head's queries in one tensor, which has another name where they
        // are made of a latent.
        visit.part(query_latent ? "latent_query" : "query", query);
        visit.part(query_latent ? "turned_latent_query" : "turned_query", turned_query);
        linear("latent", latent, latent_bias);
        linear("turned_key", turned_key, turned_key_bias);
        visit.part("latent_norm", latent_norm);
        visit.part("key", key);
        visit.part("value", value);
        linear("output", output, output_bias);
    }

    std::optional<Linear<Setting, dyn, Width>> query_latent;
    std::optional<LatentNorm> query_latent_norm;
    Linear<Setting, dyn, dyn> query, turned_query;  ///< by head, what is not turned, and what is
    Linear<Setting, dyn, Width> latent, turned_key;
    LatentNorm latent_norm;
    Linear<Setting, dyn, dyn> key, value;  ///< of the latent, by head
    Linear<Setting, Width, dyn> output;
    Bias query_latent_bias, latent_bias, turned_key_bias, output_bias;

private:
    /// What the heads gather, [batch, time, heads · value width].
    template <class X, class Rotations, class Cache>
    auto attended(const X& x, const Rotations& rotations, Cache& cache) const {
        const auto turned = [&](const auto& y) {
            return rotary(y, rotations, options_.rotary_pairs, cache.length);
        };
        const auto asked = query_source(x);
        const auto plain_queries = split_axis<2, Heads, dyn>(query(asked), heads_, plain_width_);
        const auto turned_queries =
            turned(split_axis<2, Heads, dyn>(turned_query(asked), heads_, sizes_.rotary_width));
        const auto narrow = latent_norm(biased(latent(x), latent_bias));
        const auto turned_keys =
            turned(split_axis<2, 1, dyn>(biased(turned_key(x), turned_key_bias), 1, sizes_.rotary_width));
        if constexpr (std::same_as<std::remove_cvref_t<Cache>, NoCache>) {
            const auto keys = split_axis<2, Heads, dyn>(key(narrow), heads_, plain_width_);
            const auto values = split_axis<2, Heads, dyn>(value(narrow), heads_, sizes_.value_width);
            return merge_axes<2>(attention(concatenate<3>(plain_queries, turned_queries),
                                           concatenate<3>(keys, turned_keys), values, options_.attention));
        } else {
            const auto rows =
                concatenate<3>(split_axis<2, 1, dyn>(narrow, 1, sizes_.latent_width), turned_keys);
            const auto queries = concatenate<3>(
                times_head<MatmulOptions{}>(plain_queries, key.weight, plain_width_), turned_queries);
            return merge_axes<2>(
                times_head<right>(seen(queries, rows, cache), value.weight, sizes_.value_width));
        }
    }

    /// What queries are made of.
    template <class X>
    auto query_source(const X& x) const {
        using Source = Tensor<typename X::value_type, Open<typename X::shape_type>, typename X::device_type,
                              typename X::tracking_type>;
        if (!query_latent) return Source(x);
        return Source((*query_latent_norm)(biased((*query_latent)(x), query_latent_bias)));
    }

    /// The latents that the heads gather of those stored, [batch, time, heads, latent].
    template <class Q, class Rows, class Cache>
    auto seen(const Q& queries, const Rows& rows, Cache& cache) const {
        if constexpr (requires { cache.attend(queries, rows, sizes_.latent_width, options_.attention); }) {
            return cache.attend(queries, rows, sizes_.latent_width, options_.attention);
        } else {
            const auto stored = cache.extend(rows);
            return attention(queries, stored, slice<3>(stored, 0, sizes_.latent_width), options_.attention);
        }
    }

    /// Each head's vectors, [batch, time, heads, a], times the head's rows of a weight [heads · rows,
    /// latent], or their transpose.
    template <MatmulOptions options, class X, class Weight>
    auto times_head(const X& x, const Weight& weight, int rows) const {
        const auto by_head = transpose<0, 1>(merge_axes<0>(x));  // [heads, batch · time, a]
        const auto factor = split_axis<0, Heads, dyn>(weight.tensor(), heads_, rows);
        const auto product = contiguous(transpose<0, 1>(matmul<options>(by_head, factor)));
        Extents extents = x.extents();
        extents[3] = product.extents()[2];
        return detail::reshaped<Open<typename X::shape_type>>(product, extents);
    }

    SelfAttentionOptions options_;
    LatentSizes sizes_;
    int heads_, plain_width_;
};

namespace detail {

template <class Setting, auto Width, auto Heads, auto KeyValueHeads, auto HeadWidth, class Features>
    requires(Features::latent_attention)
struct AttentionOf<Setting, Width, Heads, KeyValueHeads, HeadWidth, Features> {
    using type = LatentAttention<Setting, Width, Heads, Features>;
    static type make(const SelfAttentionOptions& options, int width, int heads, int, int head_width,
                     const LatentSizes& sizes) {
        return type(options, width, heads, head_width, sizes);
    }
};

}  // namespace detail
}  // namespace tenon
