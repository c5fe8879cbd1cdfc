// The layers of CS336's first assignment against PyTorch's. Linear and embedding have bounds of 1e-2 there,
// which would hide a fault: here they have those of the rest.

#include <doctest/doctest.h>

#include "adapters.hpp"
#include "values.hpp"

using namespace cs336;

namespace {

constexpr Tolerance tolerance{.relative = 1e-4, .absolute = 1e-6};

using Hidden = Shape<batch, queries, d_model>;

Tensor<float, Hidden, Device> in_embeddings() { return value<float, Hidden>("in_embeddings"); }

/// A matrix of the first block.
template <auto Out, auto In>
Tensor<float, Shape<Out, In>, Device> matrix(const std::string& name) {
    return weight<Shape<Out, In>>("layers.0." + name);
}

Tensor<float, Shape<d_model, d_model>, Device> projection(const std::string& name) {
    return matrix<d_model, d_model>("attn." + name + "_proj");
}

}  // namespace

TEST_CASE("run_linear") {
    const auto y = run_linear(matrix<d_ff, d_model>("ffn.w1"), in_embeddings());
    CHECK(all_close(y, value<float, Shape<batch, queries, d_ff>>("linear"), tolerance));
}

TEST_CASE("run_embedding") {
    const auto table = weight<Shape<vocabulary, d_model>>("token_embeddings");
    const auto ids = value<std::int64_t, Shape<batch, queries>>("in_indices");
    CHECK(run_embedding(table, ids) == value<float, Hidden>("embedding"));
}

TEST_CASE("run_rmsnorm") {
    const auto gain = weight<Shape<d_model>>("layers.0.ln1");
    CHECK(all_close(run_rmsnorm(1e-5, gain, in_embeddings()), value<float, Hidden>("rmsnorm"), tolerance));
}

TEST_CASE("run_silu") {
    CHECK(all_close(run_silu(in_embeddings()), value<float, Hidden>("silu"), tolerance));
}

TEST_CASE("run_swiglu") {
    const auto y = run_swiglu(matrix<d_ff, d_model>("ffn.w1"), matrix<d_model, d_ff>("ffn.w2"),
                              matrix<d_ff, d_model>("ffn.w3"), in_embeddings());
    CHECK(all_close(y, value<float, Hidden>("swiglu"), {.relative = 1e-4, .absolute = 1e-5}));
}

TEST_CASE("run_rope turns consecutive positions, whatever the axes before time") {
    const auto x = value<float, Hidden>("q"), expected = value<float, Hidden>("rope");
    CHECK(all_close(run_rope(rope_theta, context, x), expected, tolerance));
    using Batches = Shape<2, 2, queries, d_model>;
    CHECK(
        all_close(run_rope(rope_theta, context, reshape<Batches>(x)), reshape<Batches>(expected), tolerance));
    CHECK(all_close(run_rope(rope_theta, context, select<0>(x, 3)), select<0>(expected, 3), tolerance));
}

TEST_CASE("run_rope turns token_positions in any order") {
    const auto x = value<float, Hidden>("q");
    const auto positions = cast<int>(value<std::int64_t, Shape<batch, queries>>("token_positions"));
    CHECK(all_close(run_rope(rope_theta, context, x, positions), value<float, Hidden>("rope_positions"),
                    tolerance));
}

TEST_CASE("run_softmax is that of any axis, and overflows for no shift") {
    using S = Shape<3, 5>;
    const auto x = value<float, S>("softmax.x");
    Tensor shifted = x + 100.0;
    CHECK(all_close(run_softmax<-1>(x), value<float, S>("softmax.1"), tolerance));
    CHECK(all_close(run_softmax<1>(shifted), value<float, S>("softmax.1"), tolerance));
    CHECK(all_close(run_softmax<0>(x), value<float, S>("softmax.0"), tolerance));
    CHECK(all_close(run_softmax<0>(shifted), value<float, S>("softmax.0"), tolerance));
}

TEST_CASE("run_scaled_dot_product_attention of [batch, time, width]") {
    using Keys = Shape<batch, keys, d_model>;
    const auto y = run_scaled_dot_product_attention(value<float, Hidden>("q"), value<float, Keys>("k"),
                                                    value<float, Keys>("v"),
                                                    value<bool, Shape<batch, queries, keys>>("mask"));
    CHECK(all_close(y, value<float, Hidden>("scaled_dot_product_attention"), tolerance));
}

TEST_CASE("run_scaled_dot_product_attention of [batch, heads, time, width]") {
    using Queries = Shape<2, 2, queries, d_model>;
    using Keys = Shape<2, 2, keys, d_model>;
    const auto y = run_scaled_dot_product_attention(
        reshape<Queries>(value<float, Hidden>("q")),
        reshape<Keys>(value<float, Shape<batch, keys, d_model>>("k")),
        reshape<Keys>(value<float, Shape<batch, keys, d_model>>("v")),
        reshape<Shape<2, 2, queries, keys>>(value<bool, Shape<batch, queries, keys>>("mask")));
    CHECK(all_close(y, value<float, Queries>("scaled_dot_product_attention_4d"), tolerance));
}

TEST_CASE("run_multihead_self_attention") {
    const auto y = run_multihead_self_attention<heads>(projection("q"), projection("k"), projection("v"),
                                                       projection("output"), in_embeddings());
    CHECK(all_close(y, value<float, Hidden>("multihead_self_attention"), tolerance));
}

TEST_CASE("run_multihead_self_attention_with_rope") {
    const auto y =
        run_multihead_self_attention_with_rope<heads>(context, rope_theta, projection("q"), projection("k"),
                                                      projection("v"), projection("output"), in_embeddings());
    CHECK(all_close(y, value<float, Hidden>("multihead_self_attention_with_rope"), tolerance));
}

TEST_CASE("run_cross_entropy, of large logits too") {
    const auto logits = value<float, Shape<8, 5>>("cross_entropy.logits");
    const auto targets = value<std::int64_t, Shape<8>>("cross_entropy.targets");
    const auto expected = [](const char* name) {
        return doctest::Approx(value<float, Shape<>>(name).item()).epsilon(1e-4);
    };
    CHECK(run_cross_entropy(logits, targets) == expected("cross_entropy"));
    const Tensor large = 1000.0 * logits;
    CHECK(run_cross_entropy(large, targets) == expected("cross_entropy_of_large"));
}
