// Models of every precision learn.

#include <doctest/doctest.h>

#include "../nn/model.hpp"

using namespace tenon;
using support::Device, support::Small, support::tokens;

namespace {

/// The loss after some steps on one batch.
template <class P>
double learned(int steps) {
    Trainable<Transformer<Small, Device, P>> model(seed(3));
    AdamW optimizer{model, {.rate = 1e-2}};
    const auto inputs = tokens(4, 12, 1), targets = tokens(4, 12, 4);
    for (int step = 0; step < steps; ++step) {
        optimizer.backward(cross_entropy(model(inputs), targets));
        optimizer.clip(1);
        optimizer.step();
    }
    return static_cast<double>(cross_entropy(model(inputs), targets).item());
}

}  // namespace

TEST_CASE("with master copies, a model learns in 16 bits what it learns in 32") {
    const double start = learned<F32>(0), exact = learned<F32>(40);
    CHECK(exact < 0.1 * start);
    CHECK(learned<MixedBf16>(40) == doctest::Approx(exact).epsilon(0.05));
    CHECK(learned<MixedF16>(40) == doctest::Approx(exact).epsilon(0.05));
}

TEST_CASE("with linear layers in 8 bits it learns too") {
    CHECK(learned<MixedFp8>(40) == doctest::Approx(learned<F32>(40)).epsilon(0.1));
}

TEST_CASE("without them, and with stochastic rounding, it learns too") {
    CHECK(learned<PureBf16>(40) == doctest::Approx(learned<F32>(40)).epsilon(0.1));
}
