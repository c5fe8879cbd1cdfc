#include "tenon/training/evaluate.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include "../nn/model.hpp"

using namespace tenon;
using support::Device;

namespace {

using Model = Transformer<support::Small, Device, F64>;

/// The cross-entropy of tokens [begin, end) after token `begin`, by the definition.
double passage_cross_entropy(const Model& model, const std::vector<std::uint16_t>& tokens, int begin,
                             int end) {
    const std::vector<std::uint16_t> inputs(tokens.begin() + begin, tokens.begin() + end - 1);
    const int time = end - 1 - begin;
    const Tensor logits =
        on_host(model(Tensor<std::uint16_t, Shape<1, dyn>, Device>::from(inputs, time)).tensor());
    double total = 0;
    for (int i = 0; i < time; ++i) {
        double sum = 0;
        for (int token = 0; token < support::Small::vocabulary; ++token) sum += std::exp(logits(0, i, token));
        total += std::log(sum) - logits(0, i, tokens[static_cast<std::size_t>(begin + 1 + i)]);
    }
    return total;
}

}  // namespace

TEST_CASE("the total cross-entropy is that of all passages, one by one, whatever their batches") {
    const Model model(seed(3));
    std::vector<std::uint16_t> tokens;
    for (int i = 0; i < 32; ++i) tokens.push_back(static_cast<std::uint16_t>((i * i + 5 * i) % 11));
    for (const int length : {2, 5, 6, 7, 31, 32})
        for (const int time : {1, 5, 16}) {
            const auto part = std::span(std::as_const(tokens)).first(static_cast<std::size_t>(length));
            double expected = 0;
            for (int begin = 0; begin + 1 < length; begin += time)
                expected += passage_cross_entropy(model, tokens, begin, std::min(length, begin + time + 1));
            for (const int batch_size : {1, 2, 5}) {
                INFO(length, " tokens in batches of ", batch_size, " x ", time);
                CHECK(total_cross_entropy(model, part, batch_size, time) ==
                      doctest::Approx(expected).epsilon(1e-12));
            }
        }
}

TEST_CASE("bits for each byte") {
    CHECK(bits_per_byte(16 * std::log(2.0), 2) == doctest::Approx(8));
    CHECK(bits_per_byte(0, 5) == 0);
    CHECK_THROWS_WITH_AS(bits_per_byte(1, 0), "bits per byte: expected at least one byte, got 0", Error);
}

TEST_CASE("an evaluation is the loss of a token, its perplexity, and the bits of a byte") {
    const Model model(seed(3));
    std::vector<std::uint16_t> tokens;
    for (int i = 0; i < 20; ++i) tokens.push_back(static_cast<std::uint16_t>((i * i + 5 * i) % 11));
    const auto all = std::span(std::as_const(tokens));
    const double nats = total_cross_entropy(model, all, 2, 5);
    const Evaluation evaluation = evaluate(model, all, 50, 2, 5);
    CHECK(evaluation.loss == doctest::Approx(nats / 19));
    CHECK(evaluation.perplexity == doctest::Approx(std::exp(nats / 19)));
    CHECK(evaluation.bits_per_byte == doctest::Approx(bits_per_byte(nats, 50)));
    CHECK_THROWS_AS(evaluate(model, all, 0, 2, 5), Error);
    CHECK_THROWS_AS(evaluate(model, all.first(1), 50, 2, 5), ShapeError);
}
