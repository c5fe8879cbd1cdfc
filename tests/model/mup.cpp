#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "../support.hpp"

// The coordinate check of Yang et al. 2022 ("Tensor programs V", appendix D.1): over a few steps of Adam the
// change of activations and logits must keep its size, however wide the model.

using namespace tenon;
using support::Device;

namespace {

template <int Base>
struct Family : TransformerDefaults {
    static constexpr int base_width = Base;
    static constexpr Initializer initializer = Initializer::gpt2;
};

/// The root mean square by which four steps changed something.
struct Change {
    double hidden, logits;
};

template <class Features>
Change change_of(int width) {
    const TransformerSizes sizes{.vocabulary = 32,
                                 .context = 12,
                                 .width = width,
                                 .depth = 2,
                                 .heads = 4,
                                 .hidden = 2 * width,
                                 .base_width = Features::base_width};
    Trainable<Transformer<DynamicTransformer<Features>, Device>> model(seed(1), sizes);
    const auto ids = [](int first) {
        std::vector<int> result;
        for (int i = 0; i < 48; ++i) result.push_back((i * i * 7 + i / 5 + first) % 32);
        return Tensor<int, Shape<dyn, dyn>, Device>::from(result, 4, 12);
    };
    const auto inputs = ids(0), targets = ids(3);
    struct State {
        std::vector<double> hidden, logits;
    };
    const auto look = [&] {
        const Transformer<DynamicTransformer<Features>, Device> plain(model);
        const auto lazy = plain(inputs);
        return State{support::values(lazy.hidden), support::values(lazy.tensor())};
    };
    const State before = look();
    AdamW optimizer(model, {.rate = 2e-4, .decay = 0});
    for (int step = 0; step < 4; ++step) {
        backward(cross_entropy(model(inputs), targets));
        optimizer.step();
    }
    const State after = look();
    const auto distance = [](const std::vector<double>& a, const std::vector<double>& b) {
        double total = 0;
        for (std::size_t i = 0; i < a.size(); ++i) total += (a[i] - b[i]) * (a[i] - b[i]);
        return std::sqrt(total / static_cast<double>(a.size()));
    };
    return {distance(before.hidden, after.hidden), distance(before.logits, after.logits)};
}

}  // namespace

TEST_CASE("with muP a step changes a wide model as much as a narrow one; without, more and more") {
    const Change narrow = change_of<Family<64>>(64), wide = change_of<Family<64>>(512);
    INFO("muP: hidden ", narrow.hidden, " -> ", wide.hidden, ", logits ", narrow.logits, " -> ", wide.logits);
    CHECK(wide.hidden / narrow.hidden < 1.5);
    CHECK(wide.hidden / narrow.hidden > 0.6);
    CHECK(wide.logits / narrow.logits < 1.5);
    CHECK(wide.logits / narrow.logits > 0.6);
    const Change standard_narrow = change_of<Family<0>>(64), standard_wide = change_of<Family<0>>(512);
    INFO("standard: hidden ", standard_narrow.hidden, " -> ", standard_wide.hidden, ", logits ",
         standard_narrow.logits, " -> ", standard_wide.logits);
    CHECK(standard_wide.hidden / standard_narrow.hidden > 3);
    CHECK(standard_wide.logits / standard_narrow.logits > 10);
}
