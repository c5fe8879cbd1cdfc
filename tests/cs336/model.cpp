// The language model of CS336's first assignment against PyTorch's.

#include <doctest/doctest.h>

#include "adapters.hpp"
#include "values.hpp"

using namespace cs336;

namespace {

struct Sizes : TransformerDefaults {
    static constexpr int vocabulary = cs336::vocabulary, context = cs336::context, width = d_model,
                         depth = layers, heads = cs336::heads, hidden = d_ff;
    static constexpr double rotary_base = rope_theta;
};

/// The same with every number known at run time only.
constexpr TransformerSizes sizes = sizes_of<Sizes>();

constexpr Tolerance tolerance{.relative = 1e-2, .absolute = 1e-4};

auto in_indices() { return value<std::int64_t, Shape<batch, queries>>("in_indices"); }

}  // namespace

TEST_CASE("run_transformer_block") {
    using Hidden = Shape<batch, queries, d_model>;
    const auto y = run_transformer_block<d_model, heads, d_ff>(context, rope_theta, state_dict(),
                                                               value<float, Hidden>("in_embeddings"));
    CHECK(all_close(y, value<float, Hidden>("transformer_block"), {.relative = 1e-4, .absolute = 1e-6}));
}

TEST_CASE("run_transformer_lm") {
    const auto expected = value<float, Shape<batch, queries, vocabulary>>("transformer_lm");
    CHECK(all_close(run_transformer_lm<Sizes>(state_dict(), in_indices()), expected, tolerance));
}

TEST_CASE("run_transformer_lm with every extent known at run time") {
    const auto model =
        load_model<Transformer<DynamicTransformer<>, Device>>(sizes, state_dict(), Cs336::names);
    const auto expected = value<float, Shape<batch, queries, vocabulary>>("transformer_lm");
    CHECK(all_close(model(in_indices()).tensor(), expected, tolerance));
}

TEST_CASE("run_transformer_lm of truncated input") {
    const auto ids = contiguous(slice<1>(in_indices(), 0, queries / 2));
    const auto expected = value<float, Shape<batch, queries / 2, vocabulary>>("transformer_lm_truncated");
    CHECK(all_close(run_transformer_lm<Sizes>(state_dict(), ids), expected,
                    {.relative = 1e-4, .absolute = 1e-4}));
}
