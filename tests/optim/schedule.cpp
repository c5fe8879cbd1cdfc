#include <algorithm>
#include <cmath>
#include <cstdint>

#include <doctest/doctest.h>

#include <tenon/optim/schedule.hpp>

using tenon::CosineSchedule;

TEST_CASE("the rate rises along a line, falls along half a cosine, and stays") {
    const CosineSchedule rate{.maximum = 1, .minimum = 0.1, .warmup = 7, .end = 21};
    CHECK(rate(0) == 0);
    CHECK(rate(3) == doctest::Approx(3.0 / 7));
    CHECK(rate(7) == doctest::Approx(1));
    CHECK(rate(14) == doctest::Approx(0.55));
    CHECK(rate(10) == doctest::Approx(0.1 + 0.45 * (1 + std::cos(3.14159265358979 * 3 / 14))));
    CHECK(rate(21) == doctest::Approx(0.1));
    CHECK(rate(1000) == 0.1);
}

TEST_CASE("without a warmup it begins at its maximum; with one of a single step, at 0") {
    const CosineSchedule falling{.maximum = 2, .minimum = 1, .warmup = 0, .end = 4};
    CHECK(falling(0) == 2);
    CHECK(falling(2) == doctest::Approx(1.5));
    CHECK(falling(4) == 1);
    const CosineSchedule rising{.maximum = 2, .minimum = 1, .warmup = 1, .end = 2};
    CHECK(rising(0) == 0);
    CHECK(rising(1) == 2);
    CHECK(rising(2) == 1);
}

TEST_CASE("no step is far from its neighbours") {
    for (const int warmup : {0, 1, 5, 19}) {
        const CosineSchedule rate{.maximum = 1, .minimum = 0, .warmup = warmup, .end = 20};
        // The line's steps are 1 / warmup; half a cosine's steepest is that of its length's pi / 2.
        const double greatest = std::max(1.0 / std::max(1, warmup), 1.6 / (20 - warmup));
        for (int step = 0; step < 30; ++step)
            CHECK(std::abs(rate(step + 1) - rate(step)) <= greatest + 1e-12);
    }
}

TEST_CASE("an end that was forgotten, or lies within the warmup, and negative steps are errors") {
    const auto at = [](std::int64_t warmup, std::int64_t end, std::int64_t step) {
        return CosineSchedule{.maximum = 2, .minimum = 1, .warmup = warmup, .end = end}(step);
    };
    CHECK_THROWS_WITH_AS(at(0, 0, 0), "cosine schedule: expected an end beyond the warmup, 0, got 0",
                         tenon::Error);
    CHECK_THROWS_WITH_AS(at(4, 4, 0), "cosine schedule: expected an end beyond the warmup, 4, got 4",
                         tenon::Error);
    CHECK_THROWS_WITH_AS(at(4, 3, 9), "cosine schedule: expected an end beyond the warmup, 4, got 3",
                         tenon::Error);
    CHECK_THROWS_WITH_AS(at(-1, 3, 0), "cosine schedule: expected a warmup of at least 0 steps, got -1",
                         tenon::Error);
    CHECK_THROWS_WITH_AS(at(1, 3, -1), "cosine schedule: expected a step of at least 0, got -1",
                         tenon::Error);
}
