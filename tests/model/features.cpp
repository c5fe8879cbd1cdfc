#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>

#include "../nn/model.hpp"

// Models that between them have every feature: each is checked as a whole.

using namespace tenon;
using support::at;
using support::Device;
using support::tokens;

namespace {

struct Shared : TransformerDefaults {
    static constexpr int vocabulary = 11, context = 9, width = 8, depth = 2, heads = 2, hidden = 10;
};

/// As GPT-2, with heads of odd width.
struct LikeGpt2 : Shared {
    static constexpr int head_width = 3;
    static constexpr NormKind norm = NormKind::layer;
    static constexpr Positions positions = Positions::learned;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::gelu_tanh;
    static constexpr bool query_key_value_bias = true, attention_output_bias = true, feed_forward_bias = true,
                          tied = true;
    static constexpr Initializer initializer = Initializer::gpt2;
};

/// As OLMo 2, with a window.
struct LikeOlmo2 : Shared {
    static constexpr NormPlacement placement = NormPlacement::output;
    static constexpr QueryKeyNorm query_key_norm = QueryKeyNorm::whole;
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::half_split;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::geglu;
    static constexpr int key_value_heads = 1, window = 3;
};

/// As Gemma's second and third.
struct LikeGemma : Shared {
    static constexpr NormKind norm = NormKind::rms_plus_one;
    static constexpr NormPlacement placement = NormPlacement::both;
    static constexpr QueryKeyNorm query_key_norm = QueryKeyNorm::head;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::geglu_tanh;
    static constexpr bool scaled_embedding = true, tied = true;
    static constexpr int key_value_heads = 1;
    static constexpr double attention_scale = 0.4, attention_soft_cap = 3, logit_soft_cap = 2;
};

/// As GPT-J, and biases of the feed-forward layer alone.
struct LikeGptJ : Shared {
    static constexpr NormKind norm = NormKind::layer_without_bias;
    static constexpr bool parallel = true, feed_forward_bias = true;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::gelu;
};

/// The original Transformer's norms, with ALiBi.
struct PostNorm : Shared {
    static constexpr NormKind norm = NormKind::layer;
    static constexpr NormPlacement placement = NormPlacement::post;
    static constexpr Positions positions = Positions::alibi;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::relu;
    static constexpr bool attention_output_bias = true;
};

/// Ablations: no norm, no positions.
struct Bare : Shared {
    static constexpr NormKind norm = NormKind::none;
    static constexpr Positions positions = Positions::none;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::squared_relu;
};

/// As Qwen 2, parametrized by muP.
struct MupBiased : Shared {
    static constexpr bool query_key_value_bias = true;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::silu;
    static constexpr int base_width = 4;
    static constexpr double logit_scale = 3;
};

struct Capped : TransformerDefaults {
    static constexpr double logit_soft_cap = 2;
};

struct Dropping : Shared {
    static constexpr double dropout = 0.25;
};

struct DroppingBare : Dropping {
    static constexpr NormKind norm = NormKind::none;
};

/// A model none of whose gains is 1, and none of whose biases 0.
template <class Model>
void perturb(Model& model) {
    support::Numbers next(7);
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        auto values = support::elements<typename Model::Value>(parameter);
        for (auto& value : values) value += 0.3 * next();
        support::assign(parameter, values);
    });
}

}  // namespace

TEST_CASE_TEMPLATE("a model with other features", C, LikeGpt2, LikeOlmo2, LikeGemma, LikeGptJ, PostNorm, Bare,
                   MupBiased) {
    using Fixed = Trainable<Transformer<C, Device, F64>>;
    Fixed model(seed(1));
    perturb(model);

    SUBCASE("has the right gradient for every parameter") {
        CHECK(support::worst_gradient_error(model) < 1e-6);
    }

    SUBCASE("is counted from its type") {
        std::int64_t total = 0;
        for_each_parameter(model, [&](std::string_view, ParameterBase& p) { total += p.size(); });
        CHECK(total == parameter_count<Fixed>());
    }

    SUBCASE("has the same bits with every extent open") {
        Trainable<Transformer<DynamicTransformer<C>, Device, F64>> open(seed(1), sizes_of<C>());
        perturb(open);
        AdamW fixed_optimizer(model, {.rate = 0.01}), open_optimizer(open, {.rate = 0.01});
        for (int step = 0; step < 2; ++step) {
            const auto inputs = tokens(2, 5, step), targets = tokens(2, 5, step + 4);
            CHECK(support::train_step(model, fixed_optimizer, inputs, targets) ==
                  support::train_step(open, open_optimizer, inputs, targets));
        }
    }

    SUBCASE("gives token by token, with a cache, what it gives for the whole") {
        const Transformer<C, Device, F64> plain(model);
        const auto ids = tokens(1, 9, 3);
        const auto whole = plain(ids).tensor();
        KeyValueCache cache(plain);
        for (int begin = 0; begin < 9; begin += begin == 0 ? 3 : 1) {
            const int end = begin == 0 ? 3 : begin + 1;
            const auto part = plain(contiguous(slice<1>(ids, begin, end)), cache).tensor();
            for (int i = begin; i < end; ++i)
                for (int token = 0; token < 11; ++token)
                    CHECK(at(part, 0, i - begin, token) ==
                          doctest::Approx(at(whole, 0, i, token)).epsilon(1e-10));
        }
    }

    SUBCASE("does not see what comes later") {
        const Transformer<C, Device, F64> plain(model);
        auto ids = tokens(1, 9, 3);
        const auto before = plain(ids).tensor().clone();
        support::set(ids, (at(ids, 0, 8) + 1) % 11, 0, 8);
        const auto after = plain(ids).tensor();
        CHECK(slice<1>(after, 0, 8) == slice<1>(before, 0, 8));
        CHECK(slice<1>(after, 8, 9) != slice<1>(before, 8, 9));
    }

    SUBCASE("refuses what is longer than its context") {
        CHECK_THROWS_WITH_AS(model(tokens(1, 10, 0)),
                             "transformer: expected at most 9 tokens, the context, got 10", ShapeError);
    }
}

TEST_CASE("what each feature changes, changes the logits") {
    // A number of the configuration that no kernel reads would pass all of the above.
    const auto logits = [](TransformerSizes sizes) {
        Trainable<Transformer<DynamicTransformer<Capped>, Device, F64>> model(seed(1), sizes);
        return support::values(model(tokens(1, 9, 3)).tensor());
    };
    const TransformerSizes sizes{
        .vocabulary = 11, .context = 9, .width = 8, .depth = 2, .heads = 2, .hidden = 10};
    const auto plain = logits(sizes);
    const auto changes = [&](auto change) {
        TransformerSizes changed = sizes;
        change(changed);
        return logits(changed) != plain;
    };
    CHECK_FALSE(changes([](TransformerSizes&) {}));
    CHECK(changes([](TransformerSizes& s) { s.window = 3; }));
    CHECK(changes([](TransformerSizes& s) { s.attention_scale = 0.3; }));
    CHECK(changes([](TransformerSizes& s) { s.attention_soft_cap = 1; }));
    CHECK(changes([](TransformerSizes& s) { s.logit_scale = 2; }));
    CHECK(changes([](TransformerSizes& s) { s.logit_soft_cap = 1; }));
    CHECK(changes([](TransformerSizes& s) { s.base_width = 4; }));
    CHECK(changes([](TransformerSizes& s) { s.rotary_pairs = RotaryPairs::half_split; }));
    CHECK(changes([](TransformerSizes& s) { s.rotary_base = 100; }));
    CHECK(changes([](TransformerSizes& s) { s.norm_epsilon = 0.1; }));
    CHECK(changes([](TransformerSizes& s) { s.rotary_width = 2; }));
    CHECK(changes([](TransformerSizes& s) { s.rotary_scaling = {RotaryScalingKind::linear, 2}; }));
    CHECK(changes([](TransformerSizes& s) { s.unturned_layers.insert(1); }));
    // Those that are about windows change nothing where there is none.
    CHECK_FALSE(changes([](TransformerSizes& s) { s.window_rotary_base = 100; }));
    CHECK_FALSE(changes([](TransformerSizes& s) { s.windowless_layers.insert(1); }));
    TransformerSizes windowed = sizes, other = sizes;
    windowed.window = other.window = 3;
    other.windowless_layers.insert(1);
    CHECK(logits(other) != logits(windowed));
    other.windowless_layers.insert(0);
    CHECK(logits(other) == plain);
    windowed.window_rotary_base = 100;
    other = windowed;
    other.window_rotary_base = 0;
    CHECK(logits(other) != logits(windowed));
}

TEST_CASE("numbers that no model can have are refused") {
    const auto refuses = [](auto change, const char* message) {
        TransformerSizes sizes = sizes_of<Shared>();
        change(sizes);
        CHECK_THROWS_WITH_AS(resolved(sizes), message, ShapeError);
    };
    refuses([](TransformerSizes& s) { s.dropout = 1; },
            "transformer: expected a dropout of 0 or more, below 1, got 1.000000");
    refuses([](TransformerSizes& s) { s.window = -1; },
            "transformer: expected a window of attention from 0 on, finite, got -1.000000");
    refuses([](TransformerSizes& s) { s.attention_soft_cap = std::nan(""); },
            "transformer: expected a soft cap of attention from 0 on, finite, got nan");
    refuses([](TransformerSizes& s) { s.rotary_width = 6; },
            "transformer: expected a rotary width of at most a head's, 4, got 6.000000");
    TransformerSizes capped = sizes_of<Shared>();
    capped.logit_soft_cap = 3;
    CHECK_THROWS_AS((Transformer<Shared, Device>{capped}), Error);
    // An odd head width is for rotations alone to refuse.
    CHECK_NOTHROW(resolved(sizes_of<LikeGpt2>(), Positions::learned));
    CHECK_THROWS_AS(resolved(sizes_of<LikeGpt2>()), ShapeError);
}

TEST_CASE("dropout is for passes that are given a key, the same for the same key") {
    Trainable<Transformer<Dropping, Device, F64>> model(seed(1));
    const auto ids = tokens(2, 5, 1);
    const auto logits = [&](auto... key) { return support::values(model(ids, key...).tensor()); };
    const DropoutKey first{seed(3), 0}, second{seed(3), 1};
    CHECK(logits() == logits());
    CHECK(logits(first) == logits(first));
    CHECK(logits(first) != logits());
    CHECK(logits(first) != logits(second));
    CHECK(logits(first) != logits(DropoutKey{seed(4), 0}));
    CHECK(support::worst_gradient_error(model, first) < 1e-6);

    Trainable<Transformer<Shared, Device, F64>> without(seed(1));
    CHECK(support::values(without(ids, first).tensor()) == support::values(without(ids).tensor()));
}

TEST_CASE("dropout keeps what is expected: many passes' logits average near those without") {
    // The blocks add nothing, so that logits are linear in what is dropped.
    Trainable<Transformer<DroppingBare, Device, F64>> model(seed(1));
    for (auto& block : model.blocks) {
        support::assign(block.attention.output.weight, std::vector<double>(64, 0));
        support::assign(block.feed_forward.down.weight, std::vector<double>(80, 0));
    }
    const auto ids = tokens(1, 1, 1);
    const auto plain = support::values(model(ids).tensor());
    std::vector<double> mean(plain.size());
    constexpr int passes = 4000;
    for (int i = 0; i < passes; ++i) {
        const auto values = support::values(model(ids, DropoutKey{seed(3), std::uint64_t(i)}).tensor());
        for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += values[j] / passes;
    }
    for (std::size_t j = 0; j < mean.size(); ++j) CHECK(std::abs(mean[j] - plain[j]) < 0.05);
}

TEST_CASE("extents that a configuration gives are not given otherwise") {
    TransformerSizes sizes = sizes_of<LikeGpt2>();
    sizes.depth += 1;
    const std::string message = "transformer: expected a depth of " + std::to_string(LikeGpt2::depth) +
                                ", the configuration's, got " + std::to_string(sizes.depth);
    CHECK_THROWS_WITH_AS((Transformer<LikeGpt2, Device>{sizes}), message.c_str(), ShapeError);
    sizes = sizes_of<LikeGpt2>();
    sizes.context /= 2;
    CHECK_THROWS_AS((Transformer<LikeGpt2, Device>{sizes}), ShapeError);
    CHECK_NOTHROW((Transformer<DynamicTransformer<LikeGpt2>, Device>{sizes}));
}
