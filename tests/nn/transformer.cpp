#include <string>

#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>

#include "model.hpp"

using namespace tenon;
using support::Device;
using support::tokens;
using support::worst_gradient_error;

namespace {

using Static = Trainable<Transformer<support::Small, Device, F64>>;
using Dynamic = Trainable<Transformer<DynamicTransformer<>, Device, F64>>;

template <class Model>
std::vector<double> two_steps(Model& model) {
    AdamW optimizer(model, {.rate = 0.01});
    auto result = support::train_step(model, optimizer, tokens(2, 5, 1), tokens(2, 5, 4));
    const auto second = support::train_step(model, optimizer, tokens(2, 5, 2), tokens(2, 5, 9));
    result.insert(result.end(), second.begin(), second.end());
    return result;
}

struct Ranged : support::Small {
    static constexpr bool named_ranges = true;
};

}  // namespace

TEST_CASE("ranges that are named for profilers change nothing") {
    Static plain(seed(3));
    Trainable<Transformer<Ranged, Device, F64>> ranged(seed(3));
    CHECK(two_steps(plain) == two_steps(ranged));
}

TEST_CASE("the gradient of the loss for every parameter of a two-layer model") {
    Static model(seed(1));
    CHECK(worst_gradient_error(model) < 1e-6);
}

TEST_CASE("the same with a tied head and the other pairing of rotations") {
    Trainable<Transformer<support::Tied, Device, F64>> model(seed(2));
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
    const Transformer<support::Small, Device, F64> plain(trained);
    const auto ids = tokens(2, 7, 3);
    const auto logits = plain(ids).tensor();
    static_assert(!decltype(logits)::is_tracked);
    CHECK(logits.extents() == Extents(2, 7, 11));
    CHECK(logits == detach(trained(ids).tensor()));
    CHECK(Tape::current().node_count() == 0);
}

TEST_CASE("a plain model on a trained one's parameters takes no memory for parameters of its own") {
    using Wide = Trainable<Transformer<support::Wide, Device>>;
    Wide trained(seed(5));
    const std::size_t parameters = sizeof(float) * static_cast<std::size_t>(parameter_count<Wide>());
    Memory<Device>::reset_peak();
    const std::size_t before = Memory<Device>::used_bytes();
    const Transformer<support::Wide, Device> plain(trained);
    CHECK(Memory<Device>::peak_bytes() - before < parameters / 100);
    CHECK(plain.embedding.data == trained.embedding.data);
    support::set(trained.embedding.value(), 7.f, 1, 2);
    CHECK(support::at(plain.embedding.value(), 1, 2) == 7);
}

TEST_CASE("a model without memory for its parameters takes it when it is told to") {
    Static model(sizes_of<support::Small>(), UnallocatedParameters());
    CHECK(model.embedding.data == nullptr);
    CHECK(model.embedding.extents == Extents(11, 8));
    allocate_parameters(model);
    initialize(model, seed(5));
    CHECK(model.embedding.value() == Static(seed(5)).embedding.value());
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
    CHECK_THROWS_AS(support::values(model(support::Tokens::filled(11, 1, 2)).tensor()), Error);
}
