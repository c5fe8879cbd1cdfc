#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>
#include <tenon/expression/cpu.hpp>
#include <tenon/expression/reduction_cpu.hpp>
#include <tenon/nn/block.hpp>
#include <tenon/op/attention/cpu.hpp>
#include <tenon/op/matmul/cpu.hpp>
#include <tenon/op/rotary/cpu.hpp>
#include <tenon/op/view/cpu.hpp>

#include "../support.hpp"

using namespace tenon;
using support::numbers;

namespace {

using Plain = Setting<Cpu, F64, Untracked>;

template <class Layer>
void fill(Layer& layer) {
    std::uint32_t seed = 1;
    for_each_parameter(layer, [&](std::string_view, ParameterBase& parameter) {
        support::Numbers next(seed++);
        for (std::int64_t i = 0; i < parameter.size(); ++i) static_cast<double*>(parameter.data)[i] = next();
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
    static_assert(std::same_as<decltype(y), const Tensor<double, Shape<2, dyn, 3>>>);
    for (int j = 0; j < 3; ++j) {
        double total = 0;
        for (int k = 0; k < 5; ++k) total += x(1, 2, k) * layer.weight.value()(j, k);
        CHECK(y(1, 2, j) == doctest::Approx(total));
    }
    Linear<Plain, dyn, dyn> open(3, 5);
    std::copy_n(layer.weight.value().data(), 15, open.weight.value().data());
    CHECK(support::same_bits(open(x), y));
}

TEST_CASE("a norm divides by the root mean square and has a gain") {
    Norm<Plain, 5> layer(1e-5);
    fill(layer);
    CHECK(names(layer) == std::vector<std::string>{"gain Shape<5>"});
    const auto x = numbers<double, Shape<3, 5>>(9);
    CHECK(layer(x) == rms_norm(x, layer.gain.value(), 1e-5));
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
                gate += layer.gate.weight.value()(j, k) * x(0, k);
                up += layer.up.weight.value()(j, k) * x(0, k);
            }
            total += layer.down.weight.value()(i, j) * gate / (1 + std::exp(-gate)) * up;
        }
        CHECK(y(0, i) == doctest::Approx(total));
    }
}

TEST_CASE("self-attention composes projections, rotations and attention") {
    SelfAttention<Plain, 8, 4, 2, 2> layer(RotaryPairs::interleaved);
    fill(layer);
    CHECK(names(layer) == std::vector<std::string>{"query.weight Shape<8, 8>", "key.weight Shape<4, 8>",
                                                   "value.weight Shape<4, 8>", "output.weight Shape<8, 8>"});
    const auto x = numbers<double, Shape<2, 5, 8>>(9);
    const RotaryTable<double> table(5, 2, 10'000);
    const auto q = rotary(reshape<Shape<2, 5, 4, 2>>(layer.query(x)), table, RotaryPairs::interleaved);
    const auto k = rotary(reshape<Shape<2, 5, 2, 2>>(layer.key(x)), table, RotaryPairs::interleaved);
    const auto v = reshape<Shape<2, 5, 2, 2>>(layer.value(x));
    CHECK(layer(x, table, NoCache{}) == layer.output(reshape<Shape<2, 5, 8>>(attention(q, k, v))));
    // Causal: what comes later does not change what came before.
    auto later = x.clone();
    later(0, 4, 3) += 1;
    CHECK(slice<1>(layer(later, table, NoCache{}), 0, 4) == slice<1>(layer(x, table, NoCache{}), 0, 4));
}

TEST_CASE("a block adds attention and feed-forward to what passes through") {
    using Attention = SelfAttention<Plain, 8, 2, 1, 4>;
    Block<Plain, Attention, 8, 12> block(Attention(RotaryPairs::half_split), 1e-5);
    fill(block);
    CHECK(names(block).size() == 9);
    CHECK(names(block).front() == "attention_norm.gain Shape<8>");
    const auto x = numbers<double, Shape<1, 5, 8>>(9);
    const RotaryTable<double> table(5, 4, 10'000);
    Tensor h = x + block.attention(block.attention_norm(x), table, NoCache{});
    CHECK(block(x, table, NoCache{}) == Tensor(h + block.feed_forward(block.feed_forward_norm(h))));
}
