#include <vector>

#include <doctest/doctest.h>

#include <tenon/cuda.hpp>

#include "../support.hpp"

// A whole training step and a generated token of a small model, in every precision: what nothing else sees is
// that they take no memory from the driver, and that two runs have the same bits. It uses every kernel that a
// model has.

using namespace tenon;

namespace {

struct Small : TransformerDefaults {
    static constexpr int vocabulary = 320, context = 40, width = 64, depth = 2, heads = 2, hidden = 128;
};

/// One whose heads are narrow and shared, with other norms, biases, dropout and recomputed blocks.
struct Other : Small {
    static constexpr NormKind norm = NormKind::layer;
    static constexpr int key_value_heads = 1;
    static constexpr Positions positions = Positions::learned;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::gelu_tanh;
    static constexpr bool query_key_value_bias = true, attention_output_bias = true, feed_forward_bias = true,
                          tied = true, recompute = true;
    static constexpr double dropout = 0.1;
};

using Ids = Tensor<std::uint16_t, Shape<3, 40>, Cuda>;

Ids ids_of(int step) {
    std::vector<std::uint16_t> ids;
    for (int i = 0; i < 120; ++i) ids.push_back(static_cast<std::uint16_t>((i * i + 7 * step) % 320));
    return Ids::from(ids);
}

/// The losses of some steps, and the parameters after them; `each` is called after each step.
template <class C, class P, class Each>
std::vector<double> train(int steps, Each&& each) {
    Trainable<Transformer<C, Cuda, P>> model(seed(1));
    AdamW optimizer(model, {.rate = 1e-2});
    std::vector<double> result;
    for (int step = 0; step < steps; ++step) {
        const auto loss =
            cross_entropy(model(ids_of(step), DropoutKey{seed(2), std::uint64_t(step)}), ids_of(step + 1));
        backward(loss);
        optimizer.clip(1);
        optimizer.step();
        result.push_back(static_cast<double>(loss.item()));
        each(step);
    }
    const std::vector<double> parameters = support::all_elements(model);
    result.insert(result.end(), parameters.begin(), parameters.end());
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("a steady step takes no memory from the driver, lowers the loss, and comes out the same",
                   P, F32, MixedBf16, PureBf16) {
    std::size_t reserved = 0;
    const auto keep = [&](int step) {
        if (step == 2) reserved = Memory<Cuda>::reserved_bytes();
    };
    const auto first = train<Small, P>(8, keep);
    CHECK(Memory<Cuda>::reserved_bytes() == reserved);
    CHECK(first[7] < first[0]);
    CHECK(train<Small, P>(8, [](int) {}) == first);
}

TEST_CASE("the same of a model with other layers, whose blocks are computed again") {
    std::size_t reserved = 0;
    const auto keep = [&](int step) {
        if (step == 2) reserved = Memory<Cuda>::reserved_bytes();
    };
    const auto first = train<Other, MixedBf16>(8, keep);
    CHECK(Memory<Cuda>::reserved_bytes() == reserved);
    CHECK(first[7] < first[0]);
    CHECK(train<Other, MixedBf16>(8, [](int) {}) == first);
}

TEST_CASE("a generated token takes no memory from the driver") {
    const Transformer<Small, Cuda, MixedBf16> model(seed(1));
    Generator generator(model, {.temperature = 0.8, .top_k = 20}, seed(3));
    const std::int32_t prompt[] = {1, 2, 3};
    generator.feed(prompt);
    for (int i = 0; i < 4; ++i) generator.next();
    const std::size_t reserved = Memory<Cuda>::reserved_bytes();
    for (int i = 0; i < 20; ++i) {
        const std::int32_t token = generator.next();
        CHECK(token >= 0);
        CHECK(token < Small::vocabulary);
    }
    CHECK(Memory<Cuda>::reserved_bytes() == reserved);
}
