#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/rotary/rotary.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;

namespace {

/// The formula: a pair (u, v) is turned by position base^(-2 i / width).
template <class X, class Y>
double worst(const X& of, const Y& turned, RotaryPairs pairs, int first_position, double base) {
    const auto& x = on_host(of);
    const auto& y = on_host(turned);
    const Extents& e = x.extents();
    const int half = e[3] / 2;
    double error = 0;
    for (int b = 0; b < e[0]; ++b)
        for (int t = 0; t < e[1]; ++t)
            for (int h = 0; h < e[2]; ++h)
                for (int i = 0; i < half; ++i) {
                    const int p = pairs == RotaryPairs::interleaved ? 2 * i : i,
                              q = pairs == RotaryPairs::interleaved ? 2 * i + 1 : i + half;
                    const double angle = (first_position + t) * std::pow(base, -2.0 * i / e[3]);
                    const double u = x(b, t, h, p), v = x(b, t, h, q);
                    error = std::max({error,
                                      std::abs(y(b, t, h, p) - (u * std::cos(angle) - v * std::sin(angle))),
                                      std::abs(y(b, t, h, q) - (u * std::sin(angle) + v * std::cos(angle)))});
                }
    return error;
}

}  // namespace

TEST_CASE("both pairings agree with the formula, at any first position") {
    for (const RotaryPairs pairs : {RotaryPairs::interleaved, RotaryPairs::half_split})
        for (const int width : {2, 6, 16})
            for (const int first : {0, 5}) {
                const auto x = numbers<double, Shape<dyn, dyn, dyn, dyn>>(1, 2, 7, 3, width);
                const RotaryTable<double, Device> table(12, width, 10'000);
                CHECK(worst(x, rotary(x, table, pairs, first), pairs, first, 10'000) < 1e-14);
            }
    const auto view = transpose<1, 2>(numbers<double, Shape<2, 3, 7, 4>>(1));
    const RotaryTable<double, Device> table(12, 4, 500);
    CHECK(worst(view, rotary(view, table, RotaryPairs::half_split), RotaryPairs::half_split, 0, 500) < 1e-14);
}

TEST_CASE("a rotation keeps lengths, and scores depend on the distance of positions alone") {
    const auto q = numbers<double, Shape<1, 1, 1, 8>>(1), k = numbers<double, Shape<1, 1, 1, 8>>(2);
    const RotaryTable<double, Device> table(100, 8, 10'000);
    const auto score = [&](int query, int key) {
        const auto a = rotary(q, table, RotaryPairs::interleaved, query),
                   b = rotary(k, table, RotaryPairs::interleaved, key);
        double total = 0;
        for (int i = 0; i < 8; ++i) total += at(a, 0, 0, 0, i) * at(b, 0, 0, 0, i);
        return total;
    };
    CHECK(score(9, 4) == doctest::Approx(score(70, 65)).epsilon(1e-12));
    CHECK(score(9, 4) != doctest::Approx(score(9, 5)).epsilon(1e-3));
}

TEST_CASE("the gradient is the rotation back, which undoes the rotation") {
    for (const RotaryPairs pairs : {RotaryPairs::interleaved, RotaryPairs::half_split}) {
        const auto value = numbers<double, Shape<2, 5, 3, 6>>(1);
        const Parameter<double, Shape<2, 5, 3, 6>, Device> x(value);
        const RotaryTable<double, Device> table(9, 6, 100);
        const auto y = rotary(x, table, pairs, 4);
        backward(y, y.span());
        CHECK(relative_error(x.accumulated_gradient(), value) < 1e-15);
        auto checked = support::parameter<Shape<2, 5, 3, 6>>(1);
        CHECK(gradient_error(
                  [&](auto a) { return Tensor(rotary(a, table, pairs, 2) * rotary(a, table, pairs)); },
                  checked) < 1e-6);
    }
}

TEST_CASE("positions may be given one by one, for all rows or for each") {
    const RotaryTable<double, Device> table(12, 6, 100);
    const auto x = numbers<double, Shape<2, 4, 3, 6>>(1);
    const auto row = Tensor<int, Shape<4>, Device>::of({7, 0, 0, 11});
    const auto each = Tensor<int, Shape<2, dyn>, Device>::of({7, 0, 0, 11, 3, 4, 5, 6}, 4);
    for (const RotaryPairs pairs : {RotaryPairs::interleaved, RotaryPairs::half_split}) {
        const auto by_row = rotary(x, table, pairs, row), by_each = rotary(x, table, pairs, each);
        for (int b = 0; b < 2; ++b)
            for (int t = 0; t < 4; ++t) {
                Tensor one = contiguous(slice<1>(slice<0>(x, b, b + 1), t, t + 1));
                const auto expected = rotary(one, table, pairs, at(row, t)),
                           expected_each = rotary(one, table, pairs, at(each, b, t));
                for (int h = 0; h < 3; ++h)
                    for (int i = 0; i < 6; ++i) {
                        CHECK(at(by_row, b, t, h, i) == at(expected, 0, 0, h, i));
                        CHECK(at(by_each, b, t, h, i) == at(expected_each, 0, 0, h, i));
                    }
            }
        auto checked = support::parameter<Shape<2, 4, 3, 6>>(1);
        CHECK(gradient_error(
                  [&](auto a) {
                      // The positions need not outlive the forward pass.
                      const auto mine = each.clone();
                      return Tensor(rotary(a, table, pairs, mine) * rotary(a, table, pairs, row));
                  },
                  checked) < 1e-6);
    }
    CHECK_THROWS_WITH_AS(support::values(rotary(x, table, RotaryPairs::interleaved,
                                                Tensor<int, Shape<4>, Device>::of({0, 1, 2, 12}))),
                         "rotary: expected positions below 12, got 12 at position 3", Error);
    CHECK_THROWS_AS(support::values(rotary(x, table, RotaryPairs::interleaved,
                                           Tensor<int, Shape<4>, Device>::of({0, -1, 2, 3}))),
                    Error);
    const auto short_by_one = Tensor<int, Shape<dyn>, Device>::of({0, 1, 2}, 3);
    CHECK_THROWS_AS(rotary(x, table, RotaryPairs::interleaved, short_by_one), ShapeError);
}

TEST_CASE("narrower types") {
    const auto x = numbers<double, Shape<2, 5, 3, 6>>(1);
    const auto exact = rotary(x, RotaryTable<double, Device>(5, 6, 100), RotaryPairs::half_split);
    const RotaryTable<float, Device> table(5, 6, 100);
    CHECK(relative_error(rotary(cast<float>(x), table, RotaryPairs::half_split), exact) < 1e-6);
    CHECK(relative_error(rotary(cast<bf16>(x), table, RotaryPairs::half_split), exact) < 0x1p-7);
}

TEST_CASE("of a narrower part, only a head's first elements are turned") {
    const auto x = numbers<double, Shape<2, 5, 3, 24>>(1);
    for (const int part : {0, 2, 5, 8, 16, 24}) {  // an odd one ends within a pair, which is turned whole
        const int turned = part + part % 2;
        const RotaryTable<double, Device> table(9, 24, RotaryFrequencies(100, part));
        CHECK(table.pairs() == turned / 2);
        for (const RotaryPairs pairs : {RotaryPairs::interleaved, RotaryPairs::half_split}) {
            const auto y = rotary(x, table, pairs, 2);
            CHECK(support::values(slice<3>(y, turned, 24)) == support::values(slice<3>(x, turned, 24)));
            if (part > 0 && part % 2 == 0)
                CHECK(worst(slice<3>(x, 0, part), slice<3>(y, 0, part), pairs, 2, 100) < 1e-14);
            auto checked = support::parameter<Shape<2, 5, 3, 24>>(1);
            CHECK(gradient_error(
                      [&](auto a) {
                          return Tensor(rotary(a, table, pairs, 2) * rotary(a, table, pairs) + a * a);
                      },
                      checked) < 1e-6);
            CHECK(relative_error(
                      rotary(cast<bf16>(x), RotaryTable<float, Device>(9, 24, RotaryFrequencies(100, part)),
                             pairs, 2),
                      y) < 0x1p-7);
        }
    }
}

TEST_CASE("frequencies are scaled for longer sequences as published") {
    // Of transformers 5.24, in f32: base 100, 16 elements, an original context of 64.
    const auto expect = [](const RotaryScaling& scaling, int length, double amplitude,
                           const std::vector<double>& expected) {
        const RotaryFrequencies frequencies(100, 16, scaling);
        const std::vector<double> found = frequencies.in(length);
        CHECK(frequencies.amplitude() == doctest::Approx(amplitude).epsilon(1e-12));
        for (std::size_t i = 0; i < 8; ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(3e-7));
        // The table is their cosines and sines, times the amplitude.
        const RotaryTable<double, Device> table(40, 16, frequencies, length);
        CHECK(at(table.sine, 31, 5) == doctest::Approx(amplitude * std::sin(31 * found[5])).epsilon(1e-12));
    };
    expect({.kind = RotaryScalingKind::linear, .factor = 4}, 100, 1,
           {0.25, 0.14058533310890198, 0.07905694097280502, 0.04445698484778404, 0.02500000037252903,
            0.014058532193303108, 0.007905694656074047, 0.004445698577910662});
    const RotaryScaling dynamic{.kind = RotaryScalingKind::dynamic_ntk, .factor = 4, .original_context = 64};
    expect(dynamic, 100, 1,
           {1.0, 0.47519710659980774, 0.22581230103969574, 0.1073053628206253, 0.05099119991064072,
            0.024230871349573135, 0.011514440178871155, 0.005471628624945879});
    CHECK(RotaryFrequencies(100, 16, dynamic).in(64) == RotaryFrequencies(100, 16).in(64));
    expect({.kind = RotaryScalingKind::yarn, .factor = 4, .original_context = 64}, 100, 1.138629436111989,
           {1.0, 0.47799012064933777, 0.22135943174362183, 0.09780536592006683, 0.03999999910593033,
            0.014058532193303108, 0.007905694656074047, 0.004445698577910662});
    expect({.kind = RotaryScalingKind::yarn,
            .factor = 4,
            .original_context = 64,
            .fast_turns = 8,
            .slow_turns = 2,
            .whole_bounds = false,
            .scale = 0.7,
            .scale_of_all = 0.5},
           100, 1.0259286501478284,
           {1.0, 0.46070271730422974, 0.16058915853500366, 0.04445698484778404, 0.02500000037252903,
            0.014058532193303108, 0.007905694656074047, 0.004445698577910662});
    expect({.kind = RotaryScalingKind::llama3, .factor = 8, .original_context = 64}, 100, 1,
           {1.0, 0.5623413324356079, 0.24438458681106567, 0.06430987268686295, 0.013042256236076355,
            0.007029266096651554, 0.0039528473280370235, 0.002222849288955331});
    RotaryScaling divided{.kind = RotaryScalingKind::long_factors, .factor = 4, .original_context = 64};
    for (int i = 0; i < 8; ++i) {
        divided.short_divisors[i] = 1;
        divided.long_divisors[i] = 1 + 0.5 * i;
    }
    expect(divided, 65, 1.1547005383792517,
           {1.0, 0.3748942017555237, 0.15811388194561005, 0.07113117724657059, 0.03333333507180214,
            0.016066893935203552, 0.007905694656074047, 0.0039517320692539215});
    CHECK(RotaryFrequencies(100, 16, divided).in(64) == RotaryFrequencies(100, 16).in(64));
    // Without a length, each position is turned as in the sequence that it ends.
    const RotaryTable<double, Device> by_position(100, 16, RotaryFrequencies(100, 16, divided));
    const RotaryTable<double, Device> shorter(100, 16, RotaryFrequencies(100, 16, divided), 64),
        longer(100, 16, RotaryFrequencies(100, 16, divided), 65);
    CHECK(at(by_position.sine, 63, 3) == at(shorter.sine, 63, 3));
    CHECK(at(by_position.sine, 64, 3) == at(longer.sine, 64, 3));

    divided.long_divisors[7] = 0;
    CHECK_THROWS_WITH_AS(RotaryFrequencies(100, 16, divided),
                         "rotary: expected a positive divisor of each frequency, got 0.000000", ShapeError);
    CHECK_THROWS_WITH_AS(RotaryFrequencies(100, 16, {.kind = RotaryScalingKind::linear, .factor = -1}),
                         "rotary: expected a positive scaling factor, got -1.000000", ShapeError);
}

TEST_CASE("what does not fit the table is an error that says so") {
    const auto x = numbers<double, Shape<1, 5, 2, dyn>>(1, 6);
    const RotaryTable<double, Device> table(8, 6, 100), other(8, 4, 100);
    CHECK_THROWS_WITH_AS(rotary(x, table, RotaryPairs::interleaved, 4),
                         "rotary: expected positions below 8, got 4 to 8", ShapeError);
    CHECK_THROWS_AS(rotary(x, table, RotaryPairs::interleaved, -1), ShapeError);
    CHECK_THROWS_AS(rotary(x, other, RotaryPairs::interleaved), ShapeError);
    CHECK_THROWS_AS(rotary(numbers<double, Shape<1, 5, 2, dyn>>(1, 5), table, RotaryPairs::interleaved),
                    ShapeError);
    CHECK(rotary(Tensor<double, Shape<1, dyn, 2, 6>, Device>::zeros(0), table, RotaryPairs::interleaved)
              .size() == 0);
}
