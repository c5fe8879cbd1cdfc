#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/nn/block.hpp>
#include <tenon/nn/initialize.hpp>
#include <tenon/nn/linear.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/rotary/rotary.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;

namespace {

using Plain = Setting<Device, F64, Untracked>;

struct TwoLinear {
    using Value = double;
    using Device = support::Device;
    Linear<Plain, 1, 3> first;
    Linear<Plain, 70, 131> second;  // more than one thread's share, and than words computed together

    void visit_parameters(ParameterVisitor& visit) {
        visit.part("first", first);
        visit.part("second", second);
    }
};

template <class Layer>
void fill(Layer& layer) {
    std::uint32_t seed = 1;
    for_each_parameter(layer, [&](std::string_view, ParameterBase& parameter) {
        support::Numbers next(seed++);
        std::vector<double> values;
        for (std::int64_t i = 0; i < parameter.size(); ++i) values.push_back(next());
        support::assign(parameter, values);
    });
}

template <class Layer>
std::vector<std::string> names(Layer& layer) {
    std::vector<std::string> result;
    for_each_parameter(layer, [&](std::string_view name, ParameterBase& parameter) {
        result.push_back(std::string(name) + ' ' + detail::shape_text(parameter.extents));
    });
    return result;
}

}  // namespace

TEST_CASE("a linear layer multiplies by its transposed weight") {
    Linear<Plain, 3, 5> layer;
    fill(layer);
    CHECK(names(layer) == std::vector<std::string>{"weight Shape<3, 5>"});
    const auto x = numbers<double, Shape<2, dyn, 5>>(9, 4);
    const auto y = layer(x);
    static_assert(std::same_as<decltype(y), const Tensor<double, Shape<2, dyn, 3>, Device>>);
    for (int j = 0; j < 3; ++j) {
        double total = 0;
        for (int k = 0; k < 5; ++k) total += at(x, 1, 2, k) * at(layer.weight.value(), j, k);
        CHECK(at(y, 1, 2, j) == doctest::Approx(total));
    }
    Linear<Plain, dyn, dyn> open(3, 5);
    copy_to(open.weight.value(), layer.weight.value());
    CHECK(support::same_bits(open(x), y));
}

TEST_CASE("a linear layer may add a bias, as an expression that joins the next pass, or with its product") {
    Linear<Plain, 3, 5, true> layer;
    Linear<Plain, 3, 5> without;
    fill(layer);
    fill(without);
    CHECK(names(layer) == std::vector<std::string>{"weight Shape<3, 5>", "bias Shape<3>"});
    const auto x = numbers<double, Shape<2, 5>>(9);
    static_assert(Lazy<decltype(layer(x))> != product_adds<Device>);
    CHECK(Tensor(layer(x)) == Tensor(without(x) + layer.bias.value()));
}

TEST_CASE("a norm divides by the root mean square and has a gain") {
    Norm<Plain, 5> layer(1e-5);
    fill(layer);
    CHECK(names(layer) == std::vector<std::string>{"gain Shape<5>"});
    const auto x = numbers<double, Shape<3, 5>>(9);
    CHECK(layer(x) == rms_norm(x, layer.gain.value(), 1e-5));
}

TEST_CASE("norms of every kind") {
    const auto x = numbers<double, Shape<3, 5>>(9);
    Norm<Plain, 5, NormKind::rms_plus_one> plus_one(1e-5);
    fill(plus_one);
    CHECK(names(plus_one) == std::vector<std::string>{"gain Shape<5>"});
    CHECK(plus_one(x) == rms_norm(x, 1.0 + plus_one.gain.value(), 1e-5));
    Norm<Plain, 5, NormKind::layer> layer(1e-5);
    fill(layer);
    CHECK(names(layer) == std::vector<std::string>{"gain Shape<5>", "bias Shape<5>"});
    CHECK(layer(x) == layer_norm(x, layer.gain.value(), layer.bias.value(), 1e-5));
    Norm<Plain, 5, NormKind::layer_without_bias> unbiased(1e-5);
    fill(unbiased);
    CHECK(names(unbiased) == std::vector<std::string>{"gain Shape<5>"});
    CHECK(unbiased(x) == layer_norm(x, unbiased.gain.value(), 1e-5));
    Norm<Plain, 5, NormKind::none> none(1e-5);
    CHECK(names(none).empty());
    CHECK(none(x) == x);
}

TEST_CASE("of a mixed precision, what a norm has learned has 32 bits, and its result 16") {
    using Mixed = Setting<Device, MixedBf16, Untracked>;
    const auto x = cast<bf16>(numbers<double, Shape<3, 5>>(9));
    const Tensor little = cast<float>(numbers<double, Shape<5>>(10)) / 300, weight = 1 + little;
    const auto fill = [](auto& parameter, const auto& values) { copy_to(parameter.value(), values); };
    const auto check = [&](const auto& layer, const auto& expected) {
        const Tensor y = layer(x);
        static_assert(std::same_as<std::remove_const_t<decltype(y)>, Tensor<bf16, Shape<3, 5>, Device>>);
        CHECK(support::same_bits(y, cast<bf16>(expected)));
    };
    const auto wide = cast<float>(x);
    Norm<Mixed, 5, NormKind::rms> rms(1e-5);
    static_assert(std::same_as<decltype(rms.gain)::value_type, float>);
    fill(rms.gain, weight);
    check(rms, rms_norm(wide, weight, 1e-5));
    CHECK(!support::same_bits(rms(x), rms_norm(x, cast<bf16>(weight), 1e-5)));
    Norm<Mixed, 5, NormKind::rms_plus_one> plus_one(1e-5);
    fill(plus_one.gain, little);
    check(plus_one, rms_norm(wide, 1.0 + little, 1e-5));
    Norm<Mixed, 5, NormKind::layer> centered(1e-5);
    static_assert(std::same_as<decltype(centered.bias)::value_type, float>);
    fill(centered.gain, weight);
    fill(centered.bias, little);
    check(centered, layer_norm(wide, weight, little, 1e-5));
    // Linear layers, and norms of a precision whose optimizer keeps nothing wider, have the type of storage.
    static_assert(std::same_as<decltype(Linear<Mixed, 3, 5, true>::bias)::value_type, bf16>);
    static_assert(
        std::same_as<decltype(Norm<Setting<Device, PureBf16, Untracked>, 5>::gain)::value_type, bf16>);
}

TEST_CASE("a gain's distance from 1 counts in bf16 too, however small") {
    Norm<Setting<Device, PureBf16, Untracked>, 5, NormKind::rms_plus_one> layer(1e-5);
    support::assign(layer.gain, std::vector<bf16>(5, bf16(0.0035f)));  // 1.0035 is 1 in bf16
    const auto x = cast<bf16>(numbers<double, Shape<3, 5>>(9));
    const auto gain = cast<float>(layer.gain.value());
    CHECK(support::same_bits(layer(x), cast<bf16>(rms_norm(cast<float>(x), 1.0 + gain, 1e-5))));
    CHECK(
        !support::same_bits(layer(x), rms_norm(x, Tensor<bf16, Shape<5>, Device>::filled(bf16(1.f)), 1e-5)));
}

TEST_CASE("element i of a parameter begins as number i of the parameter's stream") {
    TwoLinear layers{Linear<Plain, 1, 3>(), Linear<Plain, 70, 131>()};
    const auto drawn = [&] { return support::values(layers.second.weight.value()); };
    std::vector<double> truncated, normal;
    for (std::uint64_t i = 0; i < 70 * 131; ++i) {
        truncated.push_back(std::sqrt(2.0 / (70 + 131)) * Philox(seed(5), 1).truncated_normal(i));
        normal.push_back(0.02 * Philox(seed(5), 1).normal(i));
    }
    initialize(layers, seed(5));
    CHECK(drawn() == truncated);
    initialize(layers, seed(5), {.kind = Initializer::gpt2});
    CHECK(drawn() == normal);
}

TEST_CASE("the feed-forward layer is SwiGLU") {
    FeedForward<Plain, 4, 6> layer;
    fill(layer);
    CHECK(names(layer) == std::vector<std::string>{"gate.weight Shape<6, 4>", "up.weight Shape<6, 4>",
                                                   "down.weight Shape<4, 6>"});
    const auto x = numbers<double, Shape<1, 4>>(9);
    const auto y = layer(x);
    for (int i = 0; i < 4; ++i) {
        double total = 0;
        for (int j = 0; j < 6; ++j) {
            double gate = 0, up = 0;
            for (int k = 0; k < 4; ++k) {
                gate += at(layer.gate.weight.value(), j, k) * at(x, 0, k);
                up += at(layer.up.weight.value(), j, k) * at(x, 0, k);
            }
            total += at(layer.down.weight.value(), i, j) * gate / (1 + std::exp(-gate)) * up;
        }
        CHECK(at(y, 0, i) == doctest::Approx(total));
    }
}

TEST_CASE("the feed-forward layer with another function, gated or not, with biases or not") {
    const auto x = numbers<double, Shape<2, 4>>(9);
    const auto gated = [&]<FeedForwardKind kind>(auto function) {
        FeedForward<Plain, 4, 6, kind> layer;
        fill(layer);
        CHECK(names(layer).size() == 3);
        return layer(x) == layer.down(Tensor(function(layer.gate(x)) * layer.up(x)));
    };
    const auto plain = [&]<FeedForwardKind kind>(auto function) {
        FeedForward<Plain, 4, 6, kind, true> layer;
        fill(layer);
        CHECK(names(layer) == std::vector<std::string>{"up.weight Shape<6, 4>", "up.bias Shape<6>",
                                                       "down.weight Shape<4, 6>", "down.bias Shape<4>"});
        const Tensor h = function(layer.up(x));
        return Tensor(layer(x)) == Tensor(layer.down(h));
    };
    using Kind = FeedForwardKind;
    CHECK(gated.operator()<Kind::geglu>([](const auto& u) { return Tensor(gelu(u)); }));
    CHECK(gated.operator()<Kind::geglu_tanh>([](const auto& u) { return Tensor(gelu_tanh(u)); }));
    CHECK(plain.operator()<Kind::silu>([](auto&& u) { return Tensor(silu(Tensor(u))); }));
    CHECK(plain.operator()<Kind::gelu>([](auto&& u) { return Tensor(gelu(Tensor(u))); }));
    CHECK(plain.operator()<Kind::gelu_tanh>([](auto&& u) { return Tensor(gelu_tanh(Tensor(u))); }));
    CHECK(plain.operator()<Kind::relu>([](auto&& u) { return Tensor(relu(Tensor(u))); }));
    CHECK(plain.operator()<Kind::squared_relu>([](auto&& u) { return Tensor(square(relu(Tensor(u)))); }));
}

TEST_CASE("self-attention composes projections, rotations and attention") {
    SelfAttention<Plain, 8, 4, 2, 2> layer;
    fill(layer);
    CHECK(names(layer) == std::vector<std::string>{"query.weight Shape<8, 8>", "key.weight Shape<4, 8>",
                                                   "value.weight Shape<4, 8>", "output.weight Shape<8, 8>"});
    const auto x = numbers<double, Shape<2, 5, 8>>(9);
    const RotaryTable<double, Device> table(5, 2, 10'000);
    const auto q = rotary(reshape<Shape<2, 5, 4, 2>>(layer.query(x)), table, RotaryPairs::interleaved);
    const auto k = rotary(reshape<Shape<2, 5, 2, 2>>(layer.key(x)), table, RotaryPairs::interleaved);
    const auto v = reshape<Shape<2, 5, 2, 2>>(layer.value(x));
    CHECK(layer(x, table, NoCache{}) == layer.output(reshape<Shape<2, 5, 8>>(attention(q, k, v))));
    // Causal: what comes later does not change what came before.
    auto later = x.clone();
    support::set(later, at(later, 0, 4, 3) + 1, 0, 4, 3);
    CHECK(slice<1>(layer(later, table, NoCache{}), 0, 4) == slice<1>(layer(x, table, NoCache{}), 0, 4));
}

TEST_CASE("a block adds attention and feed-forward to what passes through") {
    using Attention = SelfAttention<Plain, 8, 2, 1, 4>;
    Block<Plain, Attention, 8, 12> block(Attention({.rotary_pairs = RotaryPairs::half_split}), 1e-5);
    fill(block);
    CHECK(names(block).size() == 9);
    CHECK(names(block).front() == "attention_norm.gain Shape<8>");
    const auto x = numbers<double, Shape<1, 5, 8>>(9);
    const RotaryTable<double, Device> table(5, 4, 10'000);
    Tensor h = x + block.attention(block.attention_norm(x), table, NoCache{});
    CHECK(block(x, table, NoCache{}) == Tensor(h + block.feed_forward(block.feed_forward_norm(h))));
}

namespace {

template <NormPlacement where>
struct Placed : DefaultFeatures {
    static constexpr NormPlacement placement = where;
};
struct Parallel : DefaultFeatures {
    static constexpr bool parallel = true;
};

/// A block with these features, and the names of its norms.
template <class Features>
auto block_of(std::vector<std::string> norms) {
    using Attention = SelfAttention<Plain, 8, 2, 1, 4, Features>;
    Block<Plain, Attention, 8, 12, Features> block(Attention(), 1e-5);
    fill(block);
    std::vector<std::string> found;
    for (const std::string& name : names(block))
        if (name.find("norm") != name.npos) found.push_back(name.substr(0, name.find('.')));
    CHECK(found == norms);
    return block;
}

}  // namespace

TEST_CASE("norms are where the placement says, and branches may run in parallel") {
    const auto x = numbers<double, Shape<1, 5, 8>>(9);
    const RotaryTable<double, Device> table(5, 4, 10'000);
    const auto attend = [&](const auto& block, const auto& input) {
        return block.attention(input, table, NoCache{});
    };
    {
        const auto block = block_of<Placed<NormPlacement::post>>({"attention_norm", "feed_forward_norm"});
        const auto h = block.attention_norm(x + attend(block, x));
        CHECK(block(x, table, NoCache{}) == block.feed_forward_norm(h + block.feed_forward(h)));
    }
    {
        const auto block = block_of<Placed<NormPlacement::output>>({"attention_norm", "feed_forward_norm"});
        Tensor h = x + block.attention_norm(attend(block, x));
        CHECK(block(x, table, NoCache{}) == Tensor(h + block.feed_forward_norm(block.feed_forward(h))));
    }
    {
        const auto block = block_of<Placed<NormPlacement::both>>(
            {"attention_norm", "attention_output_norm", "feed_forward_norm", "feed_forward_output_norm"});
        Tensor h = x + block.attention_output_norm(attend(block, block.attention_norm(x)));
        CHECK(block(x, table, NoCache{}) ==
              Tensor(h + block.feed_forward_output_norm(block.feed_forward(block.feed_forward_norm(h)))));
    }
    {
        const auto block = block_of<Parallel>({"attention_norm", "feed_forward_norm"});
        CHECK(block(x, table, NoCache{}) == Tensor(x + attend(block, block.attention_norm(x)) +
                                                   block.feed_forward(block.feed_forward_norm(x))));
    }
}

namespace {

template <QueryKeyNorm which>
struct Normed : DefaultFeatures {
    static constexpr QueryKeyNorm query_key_norm = which;
    static constexpr Positions positions = Positions::none;
};
struct Alibi : DefaultFeatures {
    static constexpr Positions positions = Positions::alibi;
    static constexpr bool query_key_value_bias = true, attention_output_bias = true;
};

}  // namespace

TEST_CASE("self-attention with norms of queries and keys, by head or of the whole") {
    const auto x = numbers<double, Shape<2, 5, 8>>(9);
    {
        SelfAttention<Plain, 8, 4, 2, 3, Normed<QueryKeyNorm::head>> layer({.norm_epsilon = 1e-4});
        fill(layer);
        CHECK(names(layer)[4] == "query_norm.gain Shape<3>");
        CHECK(names(layer)[5] == "key_norm.gain Shape<3>");
        const auto q =
            rms_norm(reshape<Shape<2, 5, 4, 3>>(layer.query(x)), layer.query_norm.gain.value(), 1e-4);
        const auto k = rms_norm(reshape<Shape<2, 5, 2, 3>>(layer.key(x)), layer.key_norm.gain.value(), 1e-4);
        const auto v = reshape<Shape<2, 5, 2, 3>>(layer.value(x));
        CHECK(layer(x, Absent(), NoCache{}) == layer.output(reshape<Shape<2, 5, 12>>(attention(q, k, v))));
    }
    {
        SelfAttention<Plain, 8, 4, 2, 3, Normed<QueryKeyNorm::whole>> layer({.norm_epsilon = 1e-4});
        fill(layer);
        CHECK(names(layer)[4] == "query_norm.gain Shape<12>");
        CHECK(names(layer)[5] == "key_norm.gain Shape<6>");
        const auto q =
            reshape<Shape<2, 5, 4, 3>>(rms_norm(layer.query(x), layer.query_norm.gain.value(), 1e-4));
        const auto k = reshape<Shape<2, 5, 2, 3>>(rms_norm(layer.key(x), layer.key_norm.gain.value(), 1e-4));
        const auto v = reshape<Shape<2, 5, 2, 3>>(layer.value(x));
        CHECK(layer(x, Absent(), NoCache{}) == layer.output(reshape<Shape<2, 5, 12>>(attention(q, k, v))));
    }
}

TEST_CASE("self-attention with biases, ALiBi, a window, a scale and a soft cap") {
    const auto x = numbers<double, Shape<2, 5, 8>>(9);
    SelfAttention<Plain, 8, 4, 2, 3, Alibi> layer(
        {.attention = {.scale = 0.5f, .window = 3, .soft_cap = 2.0f}});
    fill(layer);
    CHECK(names(layer) == std::vector<std::string>{"query.weight Shape<12, 8>", "query.bias Shape<12>",
                                                   "key.weight Shape<6, 8>", "key.bias Shape<6>",
                                                   "value.weight Shape<6, 8>", "value.bias Shape<6>",
                                                   "output.weight Shape<8, 12>", "output.bias Shape<8>"});
    const auto y =
        attention(reshape<Shape<2, 5, 4, 3>>(layer.query(x)), reshape<Shape<2, 5, 2, 3>>(layer.key(x)),
                  reshape<Shape<2, 5, 2, 3>>(layer.value(x)),
                  {.scale = 0.5f, .alibi = true, .window = 3, .soft_cap = 2.0f});
    CHECK(Tensor(layer(x, Absent(), NoCache{})) == Tensor(layer.output(reshape<Shape<2, 5, 12>>(y))));
}
