#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>

#include "model.hpp"

using namespace tenon;
using support::tokens;

namespace {

/// The greatest relative error of a parameter's gradient against central differences.
template <class Model>
double worst_gradient_error(Model& model) {
    const auto inputs = tokens(2, 5, 1), targets = tokens(2, 5, 4);
    backward(cross_entropy(model(inputs), targets));
    const auto loss = [&] {
        Tape::Pause pause(Tape::current());
        return cross_entropy(model(inputs), targets).item();
    };
    double worst = 0;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        double difference = 0, norm = 0;
        double* values = static_cast<double*>(parameter.data);
        const double* gradient = static_cast<const double*>(parameter.gradient->storage.data());
        for (std::int64_t i = 0; i < parameter.size(); ++i) {
            const double kept = values[i], step = 1e-5 * (1 + std::abs(kept));
            values[i] = kept + step;
            const double above = loss();
            values[i] = kept - step;
            const double quotient = (above - loss()) / (2 * step);
            values[i] = kept;
            difference += std::pow(quotient - gradient[i], 2);
            norm += quotient * quotient;
        }
        worst = std::max(worst, std::sqrt(difference / norm));
    });
    return worst;
}

using Static = Trainable<Transformer<support::Small, Cpu, F64>>;
using Dynamic = Trainable<Transformer<DynamicTransformer, Cpu, F64>>;

template <class Model>
std::vector<double> two_steps(Model& model) {
    AdamW optimizer(model, {.rate = 0.01});
    auto result = support::train_step(model, optimizer, tokens(2, 5, 1), tokens(2, 5, 4));
    const auto second = support::train_step(model, optimizer, tokens(2, 5, 2), tokens(2, 5, 9));
    result.insert(result.end(), second.begin(), second.end());
    return result;
}

}  // namespace

TEST_CASE("the gradient of the loss for every parameter of a two-layer model") {
    Static model(seed(1));
    CHECK(worst_gradient_error(model) < 1e-6);
}

TEST_CASE("the same with a tied head and the other pairing of rotations") {
    Trainable<Transformer<support::Tied, Cpu, F64>> model(seed(2));
    CHECK_FALSE(model.head);
    CHECK(worst_gradient_error(model) < 1e-6);
}

TEST_CASE("every extent open: the same bits through two steps of training") {
    Static fixed(seed(3));
    Dynamic open(seed(3), sizes_of<support::Small>());
    CHECK(two_steps(fixed) == two_steps(open));
}

TEST_CASE("a step of training has the same bits for any number of threads") {
    CHECK(support::same_for_any_thread_count([] {
        Static model(seed(4));
        return two_steps(model);
    }));
}

TEST_CASE("a model's parameters are counted from its type, and named") {
    static_assert(parameter_count<Static>() ==
                  2 * 11 * 8 + 2 * (8 * 8 * 2 + 2 * 4 * 8 + 3 * 12 * 8 + 2 * 8) + 8);
    Static model(seed(1));
    std::int64_t total = 0;
    std::vector<std::string> names;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        total += parameter.size();
        names.emplace_back(name);
    });
    CHECK(total == parameter_count<Static>());
    CHECK(names.size() == 2 * 9 + 3);
    CHECK(names.front() == "embedding.weight");
    CHECK(names[1] == "blocks.0.attention_norm.gain");
    CHECK(names[18] == "blocks.1.feed_forward.down.weight");
    CHECK(names[19] == "norm.gain");
    CHECK(names.back() == "head.weight");
}

TEST_CASE("a plain model on a trained one's parameters gives its logits") {
    Static trained(seed(5));
    const Transformer<support::Small, Cpu, F64> plain(trained);
    const auto ids = tokens(2, 7, 3);
    const auto logits = plain(ids).tensor();
    static_assert(!decltype(logits)::is_tracked);
    CHECK(logits.extents() == Extents(2, 7, 11));
    CHECK(logits == detach(trained(ids).tensor()));
    CHECK(Tape::current().node_count() == 0);
}

TEST_CASE("one seed gives one model, and another seed another") {
    Static a(seed(5)), b(seed(5)), c(seed(6));
    CHECK(a.embedding.value() == b.embedding.value());
    CHECK(a.blocks[1].feed_forward.down.weight.value() == b.blocks[1].feed_forward.down.weight.value());
    CHECK(a.embedding.value() != c.embedding.value());
}

TEST_CASE("sizes that do not fit together, or the type, are errors with the compile error's words") {
    TransformerSizes sizes = sizes_of<support::Small>();
    sizes.heads = 3;
    sizes.key_value_heads = 2;
    CHECK_THROWS_WITH_AS(Dynamic{sizes},
                         "transformer_heads_are_no_multiple_of_key_value_heads<Shape<3>, Shape<2>>",
                         ShapeError);
    sizes = sizes_of<support::Small>();
    sizes.width = 16;
    CHECK_THROWS_AS(Static{sizes}, ShapeError);
    const Static model(seed(1));
    CHECK_THROWS_AS(model(tokens(1, 17, 0)), ShapeError);
    CHECK_THROWS_AS(model(support::Tokens::filled(11, 1, 2)), Error);
}
