#include <vector>

#include <doctest/doctest.h>

#include "tenon/training/interval.hpp"

using namespace tenon;

namespace {

/// The steps, each of two seconds, at which an interval is due.
std::vector<int> due_steps(Interval interval, int first, int last) {
    interval.begin_at(2.0 * first);
    std::vector<int> due;
    for (int step = first + 1; step <= last; ++step)
        if (interval.is_due(step, 2.0 * step)) due.push_back(step);
    return due;
}

}  // namespace

TEST_CASE("an interval is steps, a time, or never") {
    CHECK(due_steps(Interval(), 0, 50).empty());
    CHECK(due_steps(*Interval::parse("0"), 0, 50).empty());
    CHECK(due_steps(*Interval::parse("4"), 0, 13) == std::vector<int>{4, 8, 12});
    CHECK(due_steps(*Interval::parse("10s"), 0, 13) == std::vector<int>{5, 10});
    CHECK(due_steps(*Interval::parse("1m"), 0, 70) == std::vector<int>{30, 60});
    CHECK(due_steps(Interval::seconds(0.5), 0, 3) == std::vector<int>{1, 2, 3});
}

TEST_CASE("taken up again, steps keep their places, and a time begins anew") {
    CHECK(due_steps(Interval::steps(4), 6, 13) == std::vector<int>{8, 12});
    CHECK(due_steps(Interval::seconds(10), 7, 13) == std::vector<int>{12});
}

TEST_CASE("what is no interval is refused") {
    for (const char* text : {"", "s", "-1", "1.5", "10h", "ten", "5 s", "99999999999", "1ms"})
        CHECK_FALSE(Interval::parse(text));
}
