#include <doctest/doctest.h>

#include <cmath>
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

TEST_CASE("without a warmup it begins at its maximum, and without a length it is over") {
    const CosineSchedule falling{.maximum = 2, .minimum = 1, .warmup = 0, .end = 4};
    CHECK(falling(0) == 2);
    CHECK(falling(2) == doctest::Approx(1.5));
    const CosineSchedule none{.maximum = 2, .minimum = 1};
    CHECK(none(0) == 1);
    const CosineSchedule rising{.maximum = 2, .minimum = 1, .warmup = 4, .end = 4};
    CHECK(rising(3) == 1.5);
    CHECK(rising(4) == 1);
}
