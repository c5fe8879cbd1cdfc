#include <algorithm>
#include <cmath>
#include <cstdint>

#include <doctest/doctest.h>

#include <tenon/optim/schedule.hpp>

using tenon::ConstantSchedule;
using tenon::CosineSchedule;
using tenon::DecayShape;
using tenon::LinearSchedule;
using tenon::WarmupStableDecaySchedule;

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

TEST_CASE("constant: a line up, and then the maximum for good") {
    const ConstantSchedule rate{.maximum = 2, .warmup = 4};
    CHECK(rate(0) == 0);
    CHECK(rate(1) == 0.5);
    CHECK(rate(4) == 2);
    CHECK(rate(1'000'000) == 2);
    CHECK(ConstantSchedule{.maximum = 2}(0) == 2);
}

TEST_CASE("linear: a line up, a line down, and then the minimum") {
    const LinearSchedule rate{.maximum = 2, .minimum = 1, .warmup = 2, .end = 10};
    CHECK(rate(0) == 0);
    CHECK(rate(1) == 1);
    CHECK(rate(2) == 2);
    CHECK(rate(4) == 1.75);
    CHECK(rate(10) == 1);
    CHECK(rate(100) == 1);
}

TEST_CASE("warmup, stable, decay: the maximum lasts until the decay, which is a line or 1 - sqrt") {
    WarmupStableDecaySchedule rate{.maximum = 2, .minimum = 1, .warmup = 2, .decay = 16, .end = 40};
    CHECK(rate(0) == 0);
    CHECK(rate(1) == 1);
    CHECK(rate(2) == 2);
    for (int step = 3; step <= 24; ++step) CHECK(rate(step) == 2);
    CHECK(rate(28) == 1.75);
    CHECK(rate(39) == 1 + 1.0 / 16);
    CHECK(rate(40) == 1);
    CHECK(rate(100) == 1);
    rate.shape = DecayShape::one_minus_the_root;
    CHECK(rate(24) == 2);
    CHECK(rate(28) == 1.5);
    CHECK(rate(33) == 1.25);
    CHECK(rate(40) == 1);
    // A decay may follow the warmup at once.
    const WarmupStableDecaySchedule falling{.maximum = 2, .minimum = 0, .warmup = 2, .decay = 8, .end = 10};
    for (int step = 0; step <= 12; ++step)
        CHECK(falling(step) == LinearSchedule{.maximum = 2, .minimum = 0, .warmup = 2, .end = 10}(step));
}

TEST_CASE("each schedule names itself in what it throws") {
    CHECK_THROWS_WITH_AS((ConstantSchedule{.warmup = -1}(0)),
                         "constant schedule: expected a warmup of at least 0 steps, got -1", tenon::Error);
    CHECK_THROWS_WITH_AS(ConstantSchedule{}(-1), "constant schedule: expected a step of at least 0, got -1",
                         tenon::Error);
    CHECK_THROWS_WITH_AS((LinearSchedule{.warmup = 3, .end = 3}(0)),
                         "linear schedule: expected an end beyond the warmup, 3, got 3", tenon::Error);
    const auto stable = [](std::int64_t decay, std::int64_t end) {
        return WarmupStableDecaySchedule{.warmup = 4, .decay = decay, .end = end}(0);
    };
    CHECK_THROWS_WITH_AS(stable(1, 4),
                         "warmup-stable-decay schedule: expected an end beyond the warmup, 4, got 4",
                         tenon::Error);
    CHECK_THROWS_WITH_AS(stable(0, 10),
                         "warmup-stable-decay schedule: expected a decay of 1 to 6 steps, which lie between "
                         "warmup and end, got 0",
                         tenon::Error);
    CHECK_THROWS_AS(stable(7, 10), tenon::Error);
    CHECK_NOTHROW(stable(6, 10));
}
