#include "tenon/inference/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "../support.hpp"

using namespace tenon;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// The probability of each token by the definitions, in the plainest way: the softmax of the logits over the
/// temperature; of these the k greatest; of these, scaled to sum to 1, the fewest greatest that reach p. The
/// first of equals counts as the greater.
std::vector<double> probabilities(const std::vector<double>& logits, const SamplingOptions& options) {
    std::vector<double> result(logits.size(), 0);
    std::vector<std::pair<double, std::size_t>> tokens;
    for (std::size_t i = 0; i < logits.size(); ++i)
        tokens.emplace_back(-std::exp(logits[i] / options.temperature), i);
    std::sort(tokens.begin(), tokens.end());
    if (options.top_k > 0) tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(options.top_k)));
    double total = 0, kept = 0;
    for (const auto& [weight, token] : tokens) total += weight;
    std::size_t count = 0;
    while (count < tokens.size() && (count == 0 || kept / total < options.top_p))
        kept += tokens[count++].first;
    for (std::size_t i = 0; i < count; ++i) result[tokens[i].second] = tokens[i].first / kept;
    return result;
}

/// How often each token is drawn with `count` numbers spread evenly over [0, 1).
std::vector<int> even_draws(const std::vector<double>& logits, const SamplingOptions& options, int count) {
    std::vector<int> result(logits.size(), 0);
    for (int i = 0; i < count; ++i) {
        const int token = sample(logits.data(), static_cast<int>(logits.size()), options, (i + 0.5) / count);
        REQUIRE(token >= 0);
        REQUIRE(token < static_cast<int>(logits.size()));
        ++result[static_cast<std::size_t>(token)];
    }
    return result;
}

std::vector<double> some_logits(std::uint32_t which, int count) {
    support::Numbers next(which);
    std::vector<double> logits;
    for (int i = 0; i < count; ++i) logits.push_back(3 * next());
    return logits;
}

}  // namespace

TEST_CASE("a temperature of 0 takes the greatest, the first of equals, whatever else is asked") {
    const std::vector<float> logits{0.5f, 2, -1, 2, 1.5f};
    for (const double uniform : {0.0, 0.3, 0.999999}) {
        CHECK(sample(logits.data(), 5, {.temperature = 0}, uniform) == 1);
        CHECK(sample(logits.data(), 5, {.temperature = 0, .top_k = 3, .top_p = 0.5}, uniform) == 1);
        CHECK(sample(logits.data(), 5, {.top_k = 1}, uniform) == 1);
        CHECK(sample(logits.data(), 5, {.top_p = 1e-9}, uniform) == 1);
        CHECK(sample(logits.data(), 1, {}, uniform) == 0);
        // The least temperatures do not overflow.
        CHECK(sample(logits.data() + 2, 3, {.temperature = 1e-300}, uniform) == 1);
    }
}

TEST_CASE("temperature, top-k and top-p give the probabilities of their definitions") {
    constexpr int draws = 2000;
    for (const std::uint32_t which : {1, 2, 3})
        for (const int count : {1, 2, 7, 40}) {
            const std::vector<double> logits = some_logits(which, count);
            for (const double temperature : {0.3, 1.0, 5.0})
                for (const int top_k : {0, 1, 2, 5, 40, 1000})
                    for (const double top_p : {0.05, 0.5, 0.9, 1.0}) {
                        const SamplingOptions options{
                            .temperature = temperature, .top_k = top_k, .top_p = top_p};
                        INFO(count, " logits, temperature ", temperature, ", top-k ", top_k, ", top-p ",
                             top_p);
                        const auto expected = probabilities(logits, options);
                        const auto found = even_draws(logits, options, draws);
                        double worst = 0;
                        for (std::size_t i = 0; i < expected.size(); ++i) {
                            worst = std::max(worst, std::abs(found[i] - draws * expected[i]));
                            if (expected[i] == 0) CHECK(found[i] == 0);
                        }
                        CHECK(worst <= 1.01);  // even numbers are off by at most one
                    }
        }
}

TEST_CASE("at the edge of top-k and top-p the first of equals stays") {
    const std::vector<double> equal{1, 1, 1, 1};
    CHECK(even_draws(equal, {.top_k = 2}, 4) == std::vector<int>{2, 2, 0, 0});
    CHECK(even_draws(equal, {.top_p = 0.5}, 4) == std::vector<int>{2, 2, 0, 0});
    CHECK(even_draws(equal, {.top_p = 0.51}, 3) == std::vector<int>{1, 1, 1, 0});
    // Top-p counts what top-k left: 1 of 2 is half.
    CHECK(even_draws(equal, {.top_k = 2, .top_p = 0.5}, 4) == std::vector<int>{4, 0, 0, 0});
}

TEST_CASE("a token of logit minus infinity is never drawn") {
    const std::vector<double> logits{-infinity, 0, -infinity, 0};
    for (const SamplingOptions& options :
         {SamplingOptions{}, SamplingOptions{.top_k = 4}, SamplingOptions{.top_p = 0.99}})
        CHECK(even_draws(logits, options, 10) == std::vector<int>{0, 5, 0, 5});
    CHECK(sample(logits.data(), 4, {}, 0) == 1);
    CHECK(sample(logits.data(), 4, {}, 1 - 0x1p-53) == 3);
}

TEST_CASE("with random numbers frequencies are within five sigma of the probabilities") {
    constexpr int draws = 50'000;
    const std::vector<double> logits = some_logits(7, 20);
    const Philox random(seed(11));
    for (const SamplingOptions& options : {SamplingOptions{}, SamplingOptions{.temperature = 0.7, .top_k = 8},
                                           SamplingOptions{.top_p = 0.8}}) {
        std::vector<int> counts(logits.size(), 0);
        for (int i = 0; i < draws; ++i)
            ++counts[static_cast<std::size_t>(
                sample(logits.data(), 20, options, random.uniform(static_cast<std::uint64_t>(i))))];
        const auto expected = probabilities(logits, options);
        for (std::size_t i = 0; i < counts.size(); ++i)
            CHECK(std::abs(counts[i] - draws * expected[i]) <=
                  5 * std::sqrt(draws * expected[i] * (1 - expected[i])));
    }
}

TEST_CASE("a repetition penalty divides positive logits and multiplies negative ones, each once") {
    std::vector<float> logits{2, -1, 4, 8};
    const std::vector<std::int32_t> before{2, 1, 2, 7, -3};
    penalize(logits.data(), 4, before, 1);
    CHECK(logits == std::vector<float>{2, -1, 4, 8});
    penalize(logits.data(), 4, before, 2);
    CHECK(logits == std::vector<float>{2, -2, 2, 8});
}

TEST_CASE("options out of range are errors") {
    const std::vector<float> logits{0, 1};
    for (const double temperature : {-1.0, -1e-30, -infinity, infinity, not_a_number})
        CHECK_THROWS_AS(sample(logits.data(), 2, {.temperature = temperature}, 0.5), Error);
    for (const double top_p : {0.0, -0.5, 1.01, infinity, not_a_number})
        CHECK_THROWS_AS(sample(logits.data(), 2, {.top_p = top_p}, 0.5), Error);
    CHECK_THROWS_AS(sample(logits.data(), 2, {.top_k = -1}, 0.5), Error);
    for (const double penalty : {0.0, -1.0, infinity, not_a_number})
        CHECK_THROWS_AS(require_valid({.repetition_penalty = penalty}), Error);
    CHECK_NOTHROW(sample(logits.data(), 2, {.temperature = 1e6, .top_k = 2'000'000'000, .top_p = 1}, 0.5));
}
