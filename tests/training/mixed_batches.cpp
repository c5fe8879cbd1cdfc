#include "tenon/training/mixed_batches.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "../support.hpp"

using namespace tenon;

namespace {

using Token = std::uint32_t;
using Mixed = MixedBatches<4, 7, Token>;

/// Tokens that tell their corpus and their position.
std::vector<Token> corpus(Token number, Token length) {
    std::vector<Token> tokens;
    for (Token i = 0; i < length; ++i) tokens.push_back(number * 100'000 + i);
    return tokens;
}

}  // namespace

TEST_CASE("passages come from each corpus by its weight, and from all of its places") {
    const std::vector<std::vector<Token>> tokens = {corpus(0, 3000), corpus(1, 20), corpus(2, 40)};
    const std::vector<double> weights = {1, 6, 3};
    const Mixed batches({{tokens[0], weights[0]}, {tokens[1], weights[1]}, {tokens[2], weights[2]}}, seed(3));
    std::vector<double> counts(3);
    std::vector<int> begins(20 - 7);
    constexpr int steps = 5000, passages = 4 * steps;
    bool consecutive = true;
    for (int step = 0; step < steps; ++step) {
        const auto [inputs, targets] = batches(step);
        for (int row = 0; row < 4; ++row) {
            ++counts[inputs(row, 0) / 100'000];
            if (inputs(row, 0) / 100'000 == 1) ++begins[inputs(row, 0) % 100'000];
            for (int column = 0; column < 7; ++column)
                consecutive = consecutive && inputs(row, column) == inputs(row, 0) + Token(column) &&
                              targets(row, column) == inputs(row, column) + 1;
        }
    }
    CHECK(consecutive);
    for (std::size_t i = 0; i < 3; ++i) {
        const double share = weights[i] / 10, deviation = std::sqrt(passages * share * (1 - share));
        CHECK(std::abs(counts[i] - passages * share) < 5 * deviation);
    }
    for (const int count : begins) CHECK(std::abs(count - counts[1] / 13) < 5 * std::sqrt(counts[1] / 13));
}

TEST_CASE("of one corpus they are the batches of RandomBatches") {
    const std::vector<Token> tokens = corpus(0, 500);
    const Mixed mixed({{tokens, 0.3}}, seed(9));
    const RandomBatches<4, 7, Token> plain(tokens, seed(9));
    for (const std::int64_t step : {0, 1, 77}) {
        CHECK(support::same_bits(mixed(step).inputs, plain(step).inputs));
        CHECK(support::same_bits(mixed(step).targets, plain(step).targets));
    }
}

TEST_CASE("a mixed batch is a function of the seed and its step alone, and weights are ratios") {
    const std::vector<Token> first = corpus(0, 100), second = corpus(1, 100);
    const Mixed batches({{first, 1}, {second, 3}}, seed(1)), same({{first, 2}, {second, 6}}, seed(1)),
        other({{first, 1}, {second, 3}}, seed(2));
    const auto expected = batches(5);
    batches(4);
    CHECK(support::same_bits(batches(5).inputs, expected.inputs));
    CHECK(support::same_bits(same(5).inputs, expected.inputs));
    CHECK_FALSE(support::same_bits(other(5).inputs, expected.inputs));
    CHECK_FALSE(support::same_bits(batches(6).inputs, expected.inputs));
}

TEST_CASE("mixed batches refuse corpora, weights and steps that make none") {
    const std::vector<Token> tokens = corpus(0, 20), few = corpus(1, 7);
    const auto make = [&](double weight) { return Mixed({{tokens, 1}, {tokens, weight}}, seed(1)); };
    CHECK_NOTHROW(make(1e-9));
    for (const double weight :
         {0.0, -1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()})
        CHECK_THROWS_AS(make(weight), Error);
    CHECK_THROWS_WITH_AS(Mixed({}, seed(1)), "batches: expected at least one corpus, got none", Error);
    CHECK_THROWS_WITH_AS(Mixed({{tokens, 1}, {few, 1}}, seed(1)),
                         "batches: expected at least 8 tokens, got 7", ShapeError);
    CHECK_THROWS_WITH_AS(make(1)(-1), "batches: expected a step of at least 0, got -1", Error);
    CHECK_THROWS_AS((MixedBatches<dyn, dyn, Token>({{tokens, 1}}, seed(1))), ShapeError);
}
