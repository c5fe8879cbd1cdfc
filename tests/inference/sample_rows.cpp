#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/core/on_host.hpp>
#include <tenon/core/to_device.hpp>
#include <tenon/inference/sampling.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;

namespace {

constexpr int positions = 7;

/// Whether each row of logits is drawn from as the host's function says, at several positions.
template <class T>
void check(const std::vector<T>& logits, int count, const SamplingOptions& options) {
    const int rows = static_cast<int>(logits.size()) / count;
    const auto x = Tensor<T, Shape<dyn, dyn>, Device>::from(logits, rows, count);
    for (std::int64_t position = 0; position < positions; ++position) {
        const auto where = Tensor<std::int64_t, Shape<>, Device>::filled(position);
        const auto tokens = support::values(sample(x, options, seed(3), where));
        REQUIRE(tokens.size() == static_cast<std::size_t>(rows));
        for (int row = 0; row < rows; ++row) {
            const double uniform = Philox(seed(3), static_cast<std::uint64_t>(row))
                                       .uniform(static_cast<std::uint64_t>(position));
            INFO(count, " logits, temperature ", options.temperature, ", top-k ", options.top_k, ", top-p ",
                 options.top_p, ", row ", row, ", position ", position);
            CHECK(tokens[static_cast<std::size_t>(row)] ==
                  sample(logits.data() + row * count, count, options, uniform));
        }
    }
}

template <class T>
std::vector<T> some_logits(std::uint32_t which, int count) {
    support::Numbers next(which);
    std::vector<T> logits;
    for (int i = 0; i < count; ++i) logits.push_back(convert<T>(6 * next()));
    return logits;
}

}  // namespace

TEST_CASE("each row is drawn from as the host draws, by numbers of a stream of its own") {
    for (const int count : {1, 2, 7, 40, 5003}) {
        const auto wide = some_logits<double>(1, 3 * count);
        const auto single = some_logits<float>(3, 3 * count);
        const auto narrow = some_logits<bf16>(2, 3 * count);  // many are equal
        for (const double temperature : {0.0, 0.3, 1.0, 5.0})
            for (const int top_k : {0, 1, 2, 50, 100'000})
                for (const double top_p : {0.05, 0.9, 1.0}) {
                    check(wide, count, {.temperature = temperature, .top_k = top_k, .top_p = top_p});
                    check(single, count, {.temperature = temperature, .top_k = top_k, .top_p = top_p});
                    check(narrow, count, {.temperature = temperature, .top_k = top_k, .top_p = top_p});
                }
    }
}

// The kernels of the case above, for the sanitizer, which would take minutes over it.
TEST_CASE_TEMPLATE("two thousand logits of each type", T, double, float, bf16) {
    constexpr int count = 2003;
    const auto logits = some_logits<T>(4, 2 * count);
    check(logits, count, {.top_k = 50, .top_p = 0.9});
    check(logits, count, {.temperature = 0});
}

TEST_CASE("of equals the first come first, and minus infinity never comes") {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const std::vector<double> logits{1, 1, 1,         1,         1,         -infinity, 0,        -infinity,
                                     0, 0, -infinity, -infinity, -infinity, 2,         -infinity};
    for (const SamplingOptions& options :
         {SamplingOptions{}, SamplingOptions{.top_k = 2}, SamplingOptions{.top_p = 0.4},
          SamplingOptions{.top_p = 0.41}, SamplingOptions{.top_k = 4, .top_p = 0.5},
          SamplingOptions{.temperature = 0}, SamplingOptions{.temperature = 1e-300}})
        check(logits, 5, options);
}

TEST_CASE("the tokens of rows of any rank, and nothing of no rows") {
    const auto x = support::numbers<float, Shape<2, 3, 10>>(4);
    const auto position = Tensor<std::int64_t, Shape<>, Device>::zeros();
    CHECK(sample(x, {}, seed(1), position).extents() == Extents(6));
    CHECK(sample(Tensor<float, Shape<dyn, 10>, Device>::zeros(0), {}, seed(1), position).size() == 0);
    CHECK_THROWS_AS(sample(Tensor<float, Shape<2, dyn>, Device>::zeros(0), {}, seed(1), position),
                    ShapeError);
    CHECK_THROWS_AS(sample(x, {.top_p = 2}, seed(1), position), Error);
}
