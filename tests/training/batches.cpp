#include "tenon/training/batches.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include "../support.hpp"

using namespace tenon;

namespace {

/// Tokens that are their own positions.
template <class Token>
std::vector<Token> positions(int count) {
    std::vector<Token> tokens;
    for (int i = 0; i < count; ++i) tokens.push_back(static_cast<Token>(i));
    return tokens;
}

template <class Token, class S>
void check_passages(const Batch<Token, S>& batch) {
    bool consecutive = true;
    for (int row = 0; row < batch.inputs.extent(0); ++row)
        for (int column = 0; column < batch.inputs.extent(1); ++column) {
            const int token = static_cast<int>(batch.inputs(row, column));
            consecutive = consecutive && token == static_cast<int>(batch.inputs(row, 0)) + column &&
                          static_cast<int>(batch.targets(row, column)) == token + 1;
        }
    CHECK(consecutive);
}

}  // namespace

TEST_CASE("each passage begins anywhere with equal likelihood, as CS336 asks of get_batch") {
    constexpr int length = 100, time = 7, batch_size = 32, steps = 1000, places = length - time;
    const auto tokens = positions<std::uint16_t>(length);
    const RandomBatches<batch_size, time, std::uint16_t> batches(tokens, seed(5));
    std::vector<int> begins(places, 0);
    for (int step = 0; step < steps; ++step) {
        const auto batch = batches(step);
        if (step < 50) check_passages(batch);
        for (int row = 0; row < batch_size; ++row) {
            const auto begin = static_cast<std::size_t>(batch.inputs(row, 0));
            REQUIRE(begin < begins.size());
            ++begins[begin];
        }
    }
    const double samples = static_cast<double>(batch_size) * steps, likelihood = 1.0 / places;
    const double deviation = std::sqrt(samples * likelihood * (1 - likelihood));
    for (const int count : begins) CHECK(std::abs(count - samples * likelihood) < 5 * deviation);
}

TEST_CASE("a batch is a function of the seed and its step alone") {
    const auto tokens = positions<std::uint32_t>(10'000);
    const RandomBatches<4, 9, std::uint32_t> batches(tokens, seed(1)), same(tokens, seed(1)),
        other(tokens, seed(2));
    const auto first = batches(3);
    batches(8);
    batches(0);
    for (const auto& again : {batches(3), same(3)}) {
        CHECK(support::same_bits(again.inputs, first.inputs));
        CHECK(support::same_bits(again.targets, first.targets));
    }
    CHECK_FALSE(support::same_bits(other(3).inputs, first.inputs));
    CHECK_FALSE(support::same_bits(batches(4).inputs, first.inputs));
    // Within a batch, too, the passages differ.
    CHECK(first.inputs(0, 0) != first.inputs(1, 0));
    CHECK_NOTHROW(batches(std::int64_t{1} << 62));
}

TEST_CASE("lengths may be types, bounds or values, with the same passages") {
    const auto tokens = positions<std::uint16_t>(50);
    const auto expected = RandomBatches<3, 5, std::uint16_t>(tokens, seed(1))(2);
    const auto open = RandomBatches<dyn, dyn, std::uint16_t>(tokens, seed(1), 3, 5)(2);
    const auto bounded = RandomBatches<upto<8>, upto<6>, std::uint16_t>(tokens, seed(1), 3, 5)(2);
    CHECK(support::same_bits(open.inputs, expected.inputs));
    CHECK(support::same_bits(open.targets, expected.targets));
    CHECK(support::same_bits(bounded.targets, expected.targets));
    // The only place of a passage that needs every token.
    const auto only = RandomBatches<2, 49, std::uint16_t>(tokens, seed(1))(7);
    CHECK(only.inputs(1, 0) == 0);
    CHECK(only.targets(1, 48) == 49);
}

TEST_CASE("random batches refuse lengths, tokens and steps that make none") {
    const auto tokens = positions<std::uint16_t>(20);
    using Open = RandomBatches<dyn, dyn, std::uint16_t>;
    const auto make = [&](int batch_size, int time) { return Open(tokens, seed(1), batch_size, time); };
    CHECK_THROWS_AS(Open(tokens, seed(1)), ShapeError);
    CHECK_THROWS_AS(Open(tokens, seed(1), 4), ShapeError);
    CHECK_THROWS_WITH_AS(make(0, 4), "batches: expected a positive batch size and time, got 0 and 4",
                         ShapeError);
    CHECK_THROWS_WITH_AS(make(4, 0), "batches: expected a positive batch size and time, got 4 and 0",
                         ShapeError);
    CHECK_THROWS_WITH_AS(make(-2, 4), "batches: expected a positive batch size and time, got -2 and 4",
                         ShapeError);
    CHECK_THROWS_WITH_AS(make(4, 20), "batches: expected at least 21 tokens, got 20", ShapeError);
    CHECK_THROWS_WITH_AS(make(4, 2'147'483'647), "batches: expected at least 2147483648 tokens, got 20",
                         ShapeError);
    CHECK_NOTHROW(make(4, 19)(0));
    CHECK_THROWS_WITH_AS(make(4, 5)(-1), "batches: expected a step of at least 0, got -1", Error);
    // Lengths that are not the type's.
    using Fixed = RandomBatches<2, 5, std::uint16_t>;
    CHECK_THROWS_AS(Fixed(tokens, seed(1), 3, 5), ShapeError);
    using Bounded = RandomBatches<upto<2>, 5, std::uint16_t>;
    CHECK_THROWS_AS(Bounded(tokens, seed(1), 3), ShapeError);
    CHECK_NOTHROW(Bounded(tokens, seed(1), 1));
}

TEST_CASE("consecutive batches have each token but the first as a target once, in order") {
    for (const int length : {2, 3, 7, 8, 9, 24, 25, 26, 31})
        for (const int batch_size : {1, 2, 3, 50})
            for (const int time : {1, 2, 3, 8, 30, 100}) {
                INFO(length, " tokens, batches of ", batch_size, " x ", time);
                const auto tokens = positions<std::uint16_t>(length);
                const ConsecutiveBatches<std::uint16_t> batches(tokens, batch_size, time);
                int next = 1;
                for (std::int64_t number = 0; number < batches.size(); ++number) {
                    const auto batch = batches(number);
                    check_passages(batch);
                    CHECK(batch.inputs.extent(0) <= batch_size);
                    CHECK(batch.inputs.extent(1) <= time);
                    CHECK(batch.inputs.size() > 0);
                    for (const std::uint16_t target : batch.targets.span()) CHECK(target == next++);
                }
                CHECK(next == length);
            }
}

TEST_CASE("consecutive batches refuse lengths, tokens and numbers that make none") {
    const auto tokens = positions<std::uint16_t>(14);
    using Batches = ConsecutiveBatches<std::uint16_t>;
    CHECK_THROWS_WITH_AS(Batches(tokens, 0, 3),
                         "batches: expected a positive batch size and time, got 0 and 3", ShapeError);
    CHECK_THROWS_WITH_AS(Batches(tokens, 3, -1),
                         "batches: expected a positive batch size and time, got 3 and -1", ShapeError);
    const std::vector<std::uint16_t> one{1};
    CHECK_THROWS_WITH_AS(Batches(one, 1, 1), "batches: expected at least 2 tokens, got 1", ShapeError);
    const Batches batches(tokens, 2, 3);  // 2 and 2 passages, and one of a single token
    CHECK(batches.size() == 3);
    CHECK_THROWS_WITH_AS(batches(-1), "batches: expected a number of at least 0 and below 3, got -1", Error);
    CHECK_THROWS_WITH_AS(batches(3), "batches: expected a number of at least 0 and below 3, got 3", Error);
    const Batches even(std::span<const std::uint16_t>(tokens).first(13), 2, 3);
    CHECK(even.size() == 2);
    CHECK_THROWS_AS(even(2), Error);
}
