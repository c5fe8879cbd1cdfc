#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/autograd/recompute.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/op/matmul/matmul.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::parameter;

namespace {

using State = Tensor<double, Shape<16, 8>, Device, Tracked>;

/// A layer: h + tanh(h w1) w2.
struct Layer {
    Parameter<double, Shape<8, 64>, Device> up = parameter<Shape<8, 64>>(1);
    Parameter<double, Shape<64, 8>, Device> down = parameter<Shape<64, 8>>(2);

    State operator()(const State& h) const { return h + matmul(tanh(matmul(h, up)), down); }
};

enum class Mode { plain, recomputed, nested };

State apply_layers(const Layer (&layers)[3], const State& x, Mode mode) {
    State h = x;
    const auto one = [&](int i) {
        return [layer = &layers[i]](const State& state) { return (*layer)(state); };
    };
    if (mode == Mode::nested)
        return recompute(
            [=](const State& state) {
                const State inner = recompute(one(0), state);
                return recompute(one(2), recompute(one(1), inner));
            },
            h);
    for (int i = 0; i < 3; ++i) h = mode == Mode::plain ? one(i)(h) : recompute(one(i), h);
    return h;
}

std::vector<double> run(Mode mode) {
    const Layer layers[3];
    const auto x = parameter<Shape<16, 8>>(5);
    auto loss = mean(square(apply_layers(layers, x.tensor(), mode)));
    std::vector<double> result{loss.item()};
    backward(loss);
    support::append(result, x.accumulated_gradient());
    for (const Layer& layer : layers) {
        support::append(result, layer.up.accumulated_gradient());
        support::append(result, layer.down.accumulated_gradient());
    }
    return result;
}

}  // namespace

TEST_CASE("recomputing gives the same value and gradients, bit for bit") {
    const auto plain = run(Mode::plain);
    CHECK(run(Mode::recomputed) == plain);
    CHECK(run(Mode::nested) == plain);
    CHECK(Tape::current().node_count() == 0);
}

TEST_CASE("recomputing needs less memory") {
    const auto peak = [](int depth, bool recomputes) {
        const Layer layer;
        const auto x = parameter<Shape<16, 8>>(5);
        const auto region = [&](const State& state) { return layer(state); };
        Memory<Device>::reset_peak();
        const std::size_t start = Memory<Device>::peak_bytes();
        State h = x.tensor();
        for (int i = 0; i < depth; ++i) h = recomputes ? recompute(region, h) : region(h);
        backward(sum(h));
        return Memory<Device>::peak_bytes() - start;
    };
    // Of each further layer.
    CHECK(peak(20, true) - peak(2, true) < (peak(20, false) - peak(2, false)) / 3);
}

TEST_CASE("an untracked argument is passed through") {
    const auto x = support::numbers<double, Shape<4>>(1);
    const auto y = recompute([](const auto& a) { return Tensor(a * 2); }, x);
    CHECK(at(y, 3) == 2 * at(x, 3));
    CHECK(Tape::current().node_count() == 0);
}

TEST_CASE("the argument may be used several times, in the region and out of it") {
    auto x = parameter<Shape<7>>(1);
    auto f = [](auto a) {
        Tensor h = a * 2;
        const auto region = [](const auto& b) { return Tensor(b * exp(b) + b); };
        return Tensor(recompute(region, h) * h + recompute(region, h));
    };
    CHECK(gradient_error(f, x) < 1e-6);
}

TEST_CASE("a tracked value that is neither argument nor parameter is an error that says so") {
    const auto x = parameter<Shape<7>>(1);
    {
        Tensor outside = x * 3;
        auto y = recompute([&](const auto& b) { return Tensor(b * outside); }, Tensor(x * 2));
        CHECK_THROWS_AS(backward(sum(y)), GraphError);
    }
    CHECK(Tape::current().node_count() == 0);
    backward(sum(x * 1));
}
