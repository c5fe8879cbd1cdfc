// The batches of CS336's first assignment.

#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include "../io/temporary_folder.hpp"
#include "adapters.hpp"

using namespace cs336;

namespace {

/// Tokens that tell where they stand.
std::vector<std::uint16_t> places(int count) {
    std::vector<std::uint16_t> tokens(static_cast<std::size_t>(count));
    std::iota(tokens.begin(), tokens.end(), std::uint16_t{0});
    return tokens;
}

}  // namespace

TEST_CASE("run_get_batch draws each start as often as any other, and targets follow inputs") {
    constexpr int tokens = 100, batch_size = 32, context_length = 7, steps = 1000,
                  starts = tokens - context_length;
    const std::vector<std::uint16_t> dataset = places(tokens);
    std::vector<int> counts(tokens);
    bool follows = true;
    for (int step = 0; step < steps; ++step) {
        const auto [x, y] = run_get_batch<std::uint16_t>(dataset, batch_size, context_length, step);
        REQUIRE(x.extents() == Extents(batch_size, context_length));
        REQUIRE(y.extents() == Extents(batch_size, context_length));
        for (int i = 0; i < batch_size; ++i) {
            ++counts[x(i, 0)];
            for (int t = 0; t < context_length; ++t)
                follows = follows && x(i, t) == x(i, 0) + t && y(i, t) == x(i, t) + 1;
        }
    }
    CHECK(follows);
    const double expected = double{batch_size} * steps / starts,
                 deviation = std::sqrt(expected * (1 - 1.0 / starts));
    for (int start = 0; start < tokens; ++start) {
        CAPTURE(start);
        if (start < starts)
            CHECK(std::abs(counts[static_cast<std::size_t>(start)] - expected) < 5 * deviation);
        else
            CHECK(counts[static_cast<std::size_t>(start)] == 0);
    }
}

TEST_CASE("run_get_batch reads a mapped file of tokens") {
    const TemporaryFolder folder;
    const std::vector<std::uint16_t> dataset = places(300);
    TokenFileWriter<std::uint16_t> writer(folder / "tokens");
    const std::vector<std::uint32_t> ids(dataset.begin(), dataset.end());
    writer.append(std::span(ids));
    writer.commit();
    const TokenFile<std::uint16_t> file(folder / "tokens");
    const auto mapped = run_get_batch(file.tokens(), 8, 16, 3),
               held = run_get_batch<std::uint16_t>(dataset, 8, 16, 3);
    CHECK(mapped.inputs == held.inputs);
    CHECK(mapped.targets == held.targets);
}

TEST_CASE("run_get_batch refuses what it cannot draw from") {
    const std::vector<std::uint16_t> dataset = places(8);
    const auto draw = [&](int batch_size, int context_length, std::int64_t step) {
        run_get_batch<std::uint16_t>(dataset, batch_size, context_length, step);
    };
    CHECK_NOTHROW(draw(2, 7, 0));
    CHECK_THROWS_AS(draw(2, 8, 0), ShapeError);
    CHECK_THROWS_AS(draw(0, 7, 0), ShapeError);
    CHECK_THROWS_AS(draw(2, 0, 0), ShapeError);
    CHECK_THROWS_AS(draw(2, 7, -1), Error);
}
