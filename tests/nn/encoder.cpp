#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/model/encoder.hpp>
#include <tenon/nn/pooling.hpp>

#include "model.hpp"

using namespace tenon;
using support::Device;
using support::words_of;

namespace {

struct SmallEncoder : Bert::Features {
    static constexpr int vocabulary = 11, context = 16, width = 8, depth = 2, heads = 2, hidden = 12,
                         token_types = 2;
};
using Small = Encoder<SmallEncoder, Device, F64>;
constexpr EncoderHeads all_heads{.pooler = true, .predictions = true};

using Mask = Tensor<bool, Shape<dyn, dyn>, Device>;

/// A mask of sequences, of which number i begins with lengths[i] tokens.
Mask mask_of(const std::vector<int>& lengths, int time) {
    auto mask = Tensor<bool, Shape<dyn, dyn>>::uninitialized(static_cast<int>(lengths.size()), time);
    for (int row = 0; row < mask.extent(0); ++row)
        for (int i = 0; i < time; ++i) mask(row, i) = i < lengths[static_cast<std::size_t>(row)];
    return to_device<Device>(mask);
}

/// An encoder as a model of tokens, whose loss tests differentiate.
struct Predicting {
    Trainable<Small> encoder{seed(3), sizes_of<SmallEncoder>(), EncoderHeads{.predictions = true}};

    template <class Ids>
    auto operator()(const Ids& ids) const {
        const auto mask = mask_of({5, 3}, 5);
        return encoder.predictions(
            encoder(ids, mask, support::Tokens::of({0, 1, 1, 0, 1, 1, 0, 0, 1, 1}, 2, 5)));
    }
    void visit_parameters(ParameterVisitor& visit) { encoder.visit_parameters(visit); }
};

}  // namespace

TEST_CASE("an encoder's parameters are counted from its type, and named") {
    static_assert(parameter_count<Small>() ==
                  (11 + 16 + 2) * 8 + 16 + 2 * (4 * (8 * 8 + 8) + 8 * 12 + 12 + 12 * 8 + 8 + 4 * 8));
    Small plain(seed(1));
    std::int64_t total = 0;
    for_each_parameter(plain, [&](std::string_view, ParameterBase& parameter) { total += parameter.size(); });
    CHECK(total == parameter_count<Small>());
    Small whole(seed(1), sizes_of<SmallEncoder>(), all_heads);
    CHECK(whole.heads() == all_heads);
    std::vector<std::string> names;
    for_each_parameter(whole, [&](std::string_view name, ParameterBase&) { names.emplace_back(name); });
    CHECK(names[2] == "types.weight");
    CHECK(names[3] == "embedding_norm.gain");
    CHECK(std::vector<std::string>(names.end() - 7, names.end()) ==
          std::vector<std::string>{"pooler.weight", "pooler.bias", "head.transform.weight",
                                   "head.transform.bias", "head.norm.gain", "head.norm.bias", "head.bias"});
}

TEST_CASE("the gradient of the loss of predicted tokens, for every parameter of an encoder") {
    Predicting model;
    CHECK(support::worst_gradient_error(model) < 1e-6);
}

TEST_CASE("every extent open: the same bits") {
    Trainable<Small> trained(seed(4), sizes_of<SmallEncoder>(), all_heads);
    const Small fixed(trained);
    const Encoder<DynamicTransformer<Bert::Features>, Device, F64> open(seed(4), sizes_of<SmallEncoder>(),
                                                                        all_heads);
    const auto ids = support::tokens(3, 7, 2);
    const auto mask = mask_of({7, 2, 4}, 7);
    const auto states = fixed(ids, mask);
    CHECK(states.extents() == Extents(3, 7, 8));
    CHECK(support::same_bits(states, open(ids, mask)));
    CHECK(support::same_bits(states, detach(trained(ids, mask))));
    CHECK(support::same_bits(fixed.pooled(states), open.pooled(states)));
    CHECK(support::same_bits(fixed.predictions(states), open.predictions(states)));
}

TEST_CASE("tokens attend to all tokens of their sequence, and to no padding") {
    const Small encoder(seed(5), sizes_of<SmallEncoder>(), all_heads);
    const auto ids = support::tokens(1, 6, 3);
    const auto whole = encoder(ids);
    // The first token sees the last…
    const auto other = ids.clone();
    support::set(other, (support::at(ids, 0, 5) + 1) % 11, 0, 5);
    CHECK(support::at(encoder(other), 0, 0, 0) != support::at(whole, 0, 0, 0));
    // …and a mask that is true throughout changes nothing.
    CHECK(support::same_bits(encoder(ids, mask_of({6}, 6)), whole));

    const auto alone = support::Tokens::of({5, 2, 7, 1}, 1, 4);
    const auto first = support::Tokens::of({5, 2, 7, 1, 0, 0, 9, 8, 7, 6, 5, 4}, 2, 6),
               second = support::Tokens::of({5, 2, 7, 1, 3, 10, 9, 8, 7, 6, 5, 4}, 2, 6);
    const auto mask = mask_of({4, 6}, 6);
    for (const Pooling pooling : {Pooling::mean, Pooling::mean_root_length, Pooling::max, Pooling::first}) {
        const Tensor one = normalized(pool(encoder(alone, mask_of({4}, 4)), mask_of({4}, 4), pooling));
        const Tensor a = normalized(pool(encoder(first, mask), mask, pooling));
        const Tensor b = normalized(pool(encoder(second, mask), mask, pooling));
        CHECK(support::same_bits(a, b));
        CHECK(relative_error(slice<0>(a, 0, 1), one) < 1e-12);
        CHECK(std::abs(support::at(Tensor(sum<axis<-1>>(square(a))), 1) - 1) < 1e-12);
    }
}

TEST_CASE("dropout in training is its key's") {
    TransformerSizes sizes = sizes_of<SmallEncoder>();
    sizes.dropout = 0.5;
    const Trainable<Small> encoder(seed(7), sizes);
    const auto ids = support::tokens(1, 6, 3);
    const auto types = support::Tokens::zeros(1, 6);
    const auto states = [&](std::uint64_t step) {
        return detach(encoder(ids, mask_of({6}, 6), types, DropoutKey{seed(1), step}));
    };
    CHECK(support::same_bits(states(0), states(0)));
    CHECK_FALSE(support::same_bits(states(0), states(1)));
    CHECK_FALSE(support::same_bits(states(0), detach(encoder(ids))));
}

TEST_CASE("states of tokens are pooled as their mask says") {
    const auto states = to_device<Device>(Tensor<double, Shape<2, 3, 2>>::of({1, -8, 3, 2, 100, 100,  //
                                                                              4, 4, -2, 1, 7, -5}));
    const auto mask = mask_of({2, 3}, 3);
    const auto pooled = [&](Pooling pooling) { return support::values(pool(states, mask, pooling)); };
    const std::vector<double> mean{2, -3, 3, 0}, max{3, 2, 7, 4}, first{1, -8, 4, 4};
    CHECK(support::worst_error(pool(states, mask, Pooling::mean), mean) < 1e-15);
    CHECK(pooled(Pooling::max) == max);
    CHECK(pooled(Pooling::first) == first);
    const std::vector<double> of_roots{4 / std::sqrt(2), -6 / std::sqrt(2), 9 / std::sqrt(3), 0};
    CHECK(support::worst_error(pool(states, mask, Pooling::mean_root_length), of_roots) < 1e-15);
    // Without a token:
    const auto none = mask_of({0, 0}, 3);
    CHECK(support::values(pool(states, none, Pooling::mean)) == std::vector<double>(4, 0.0));
    CHECK(support::at(pool(states, none, Pooling::max), 0, 0) == -std::numeric_limits<double>::infinity());
    static_assert(std::same_as<decltype(pool(states, mask, Pooling::max))::shape_type, Shape<2, 2>>);
}

TEST_CASE("the gradient of pooled and normalized states") {
    auto states = support::parameter<Shape<2, 4, 3>>(1);
    const auto mask = mask_of({3, 1}, 4);
    for (const Pooling pooling : {Pooling::mean, Pooling::mean_root_length, Pooling::max, Pooling::first})
        CHECK(gradient_error(
                  [&](const auto& x) {
                      const auto weights = support::numbers<double, Shape<2, 3>>(2);
                      return sum(normalized(pool(x, mask, pooling)) * weights);
                  },
                  states) < 1e-6);
}

TEST_CASE("shapes and heads that do not fit are named") {
    const Small encoder(seed(6));
    const auto ids = support::tokens(2, 5, 0);
    const auto states = encoder(ids);
    CHECK(words_of([&] { encoder(ids, mask_of({4}, 5)); }) ==
          "encoder_mask_differs_from_ids<Shape<1, 5>, Shape<2, 5>>");
    CHECK(words_of([&] {
              encoder(ids, mask_of({4, 4}, 5), support::tokens(2, 4, 0));
          }) == "encoder_types_differ_from_ids<Shape<2, 4>, Shape<2, 5>>");
    CHECK(words_of([&] {
              pool(states, mask_of({4, 4}, 4), Pooling::mean);
          }) == "pool_mask_differs_from_states<Shape<2, 5, 8>, Shape<2, 4>>");
    CHECK(words_of([&] { encoder(support::tokens(1, 17, 0)); }) ==
          "encoder: expected at most 16 tokens, the context, got 17");
    CHECK(words_of([&] { encoder.pooled(states); }) == "encoder: expected a pooler, got an encoder without");
    CHECK(words_of([&] { encoder.predictions(states); }) ==
          "encoder: expected a head that predicts tokens, got an encoder without");
    TransformerSizes sizes = sizes_of<SmallEncoder>();
    sizes.token_types = 0;
    CHECK(words_of([&] { Encoder<DynamicTransformer<Bert::Features>, Device, F64>{sizes}; }) ==
          "encoder: expected a positive number of token types, got 0");
}
