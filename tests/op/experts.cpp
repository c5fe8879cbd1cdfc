#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/experts/dispatch.hpp>
#include <tenon/op/experts/route.hpp>
#include <tenon/op/experts/rows.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;
using support::values;

namespace {

constexpr int unit = group_alignment<Device>;
using Scores = Tensor<double, Shape<dyn, dyn>, Device>;
using Chosen = Tensor<std::int32_t, Shape<dyn, dyn>, Device>;
using Ids = std::vector<double>;

/// Choices that look random, k different ones of so many experts for each token.
Chosen chosen_of(int tokens, int k, int experts) {
    return route(numbers<double, Shape<dyn, dyn>>(7, tokens, experts), {.experts_per_token = k}).experts;
}

}  // namespace

TEST_CASE("the greatest scores are chosen, of equal ones the first, and weigh as they are") {
    const auto scores = Scores::of({0.1, 0.4, 0.2, 0.3,  //
                                    0.3, 0.1, 0.3, 0.3,  //
                                    0.0, 0.0, 0.0, 0.0},
                                   3, 4);
    const auto routed = route(scores, {.experts_per_token = 2});
    static_assert(std::same_as<decltype(routed.experts), Tensor<std::int32_t, Shape<dyn, dyn>, Device>>);
    CHECK(values(routed.experts) == Ids{1, 3, 0, 2, 0, 1});
    CHECK(values(routed.weights) == Ids{0.4, 0.3, 0.3, 0.3, 0, 0});
    const auto normalized = route(scores, {.experts_per_token = 2, .normalized = true, .scale = 3});
    CHECK(support::worst_error(normalized.weights, Ids{12. / 7, 9. / 7, 1.5, 1.5, 0, 0}) < 1e-15);
}

TEST_CASE("a bias changes the choice, and not the weights") {
    const auto scores = Scores::of({0.1, 0.4, 0.2, 0.3}, 1, 4);
    const auto bias = Tensor<double, Shape<dyn>, Device>::of({0.35, 0, 0, -1}, 4);
    const auto routed = route(scores, {.experts_per_token = 2}, bias);
    CHECK(values(routed.experts) == Ids{0, 1});
    CHECK(values(routed.weights) == Ids{0.1, 0.4});
    CHECK_THROWS_WITH_AS(route(scores, {}, Tensor<double, Shape<dyn>, Device>::zeros(3)),
                         "route: expected a bias of 4 experts, got 3", ShapeError);
}

TEST_CASE("experts are chosen from the best groups alone, by the best expert or the best two") {
    const auto scores = Scores::of({0.9, 0.0, 0.0, 0.5, 0.5, 0.1, 0.3, 0.3, 0.3}, 1, 9);
    RouteOptions options{.experts_per_token = 3, .groups = 3, .chosen_groups = 1};
    CHECK(values(route(scores, options).experts) == Ids{0, 1, 2});
    options.group_score = GroupScore::sum_of_best_two;
    CHECK(values(route(scores, options).experts) == Ids{3, 4, 5});
    options.chosen_groups = 2;
    CHECK(values(route(scores, options).experts) == Ids{0, 3, 4});
}

TEST_CASE("what is not a number is chosen last, and no expert twice") {
    const double nan = std::nan("");
    CHECK(
        values(route(Scores::of({nan, -1.0, nan, -HUGE_VAL, 2.0}, 1, 5), {.experts_per_token = 5}).experts) ==
        Ids{4, 1, 0, 2, 3});
}

TEST_CASE("many experts: what sorting gives") {
    for (const int experts : {1, 31, 64, 300, 2048}) {
        const int k = std::min(experts, 9);
        const auto scores = numbers<float, Shape<dyn, dyn>>(3, 50, experts);
        const auto routed = route(scores, {.experts_per_token = k});
        const auto all = values(scores), ids = values(routed.experts), weights = values(routed.weights);
        for (int token = 0; token < 50; ++token) {
            const double* const row = all.data() + token * experts;
            std::vector<int> order(static_cast<std::size_t>(experts));
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
            for (int i = 0; i < k; ++i) {
                const auto place = static_cast<std::size_t>(token * k + i);
                CHECK(ids[place] == order[static_cast<std::size_t>(i)]);
                CHECK(weights[place] == row[order[static_cast<std::size_t>(i)]]);
            }
        }
    }
}

TEST_CASE("options that do not fit the number of experts are errors that say what does") {
    const auto words = [](int experts, const RouteOptions& options) {
        return support::words_of([&] { route(Scores::zeros(1, experts), options); });
    };
    CHECK(words(4, {.experts_per_token = 5}) == "route: expected from 1 to 4 experts for a token, got 5");
    CHECK(words(4, {.groups = 3}) ==
          "route: expected a number of groups, at most 32, that divides 4 experts, got 3");
    CHECK(words(4, {.groups = 2, .chosen_groups = 3}) == "route: expected from 1 to 2 chosen groups, got 3");
    CHECK(words(4, {.experts_per_token = 3, .groups = 2}) ==
          "route: expected from 1 to 2 experts for a token, got 3");
    CHECK(words(4096, {}) == "route: expected from 1 to 2048 experts, got 4096");
}

TEST_CASE("the gradient of weights reaches the scores that were chosen") {
    auto scores = support::parameter<Shape<dyn, 40>>(1, 6);
    for (const bool normalized : {false, true}) {
        // Shifted, so that sums are not small.
        const RouteOptions options{.experts_per_token = 3, .normalized = normalized, .scale = 2.5};
        const auto weights = [&](auto s) { return route(s + 2.0, options).weights; };
        CHECK(gradient_error(weights, scores) < 1e-6);
        CHECK(gradient_error([&](auto s) { return Tensor(weights(s) * weights(s)); }, scores) < 1e-6);
    }
}

TEST_CASE("tokens are sorted by their experts, in order, and groups begin at multiples") {
    const auto chosen = Chosen::of({2, 0, 2, 3, 0, 2}, 3, 2);
    const auto rows = dispatch(chosen, 5);
    CHECK(rows.tokens() == 3);
    CHECK(rows.experts_per_token() == 2);
    CHECK(rows.experts() == 5);
    CHECK(values(rows.load) == Ids{2, 0, 3, 1, 0});
    const double u = unit, three = support::is_cpu ? 3 : u, two = support::is_cpu ? 2 : u;
    CHECK(values(rows.begins) == Ids{0, two, two, two + three, two + three + u, two + three + u});
    CHECK(values(rows.slots) == Ids{two, 0, two + 1, two + three, 1, two + 2});
    CHECK(rows.rows() >= static_cast<int>(two + three + u));
    const auto slots = values(rows.slots), sources = values(rows.sources);
    Ids expected(sources.size(), -1);
    for (std::size_t i = 0; i < slots.size(); ++i)
        expected[static_cast<std::size_t>(slots[i])] = static_cast<double>(i);
    CHECK(sources == expected);
}

TEST_CASE("an expert that is full drops what comes later") {
    const auto rows = dispatch(Chosen::of({2, 0, 2, 3, 0, 2}, 3, 2), 4, 2);
    CHECK(values(rows.load) == Ids{2, 0, 3, 1});
    CHECK(values(rows.slots)[5] == -1);
    const auto sources = values(rows.sources);
    CHECK(std::count(sources.begin(), sources.end(), -1.0) == static_cast<long>(sources.size()) - 5);
}

TEST_CASE("an expert that is not there is an error that names it") {
    CHECK_THROWS_WITH_AS(values(dispatch(Chosen::of({0, 3}, 1, 2), 3).slots),
                         "dispatch: expected experts below 3, got 3 at position 1", Error);
    CHECK_THROWS_AS(values(dispatch(Chosen::of({-1}, 1, 1), 3).slots), Error);
}

TEST_CASE("many assignments: each has a row of its own in its expert's group, in order") {
    for (const int tokens : {0, 1, 100, 3000}) {
        const int k = 3, experts = 37;
        const auto chosen = chosen_of(tokens, k, experts);
        const auto rows = dispatch(chosen, experts);
        const auto ids = values(chosen), slots = values(rows.slots), begins = values(rows.begins),
                   sources = values(rows.sources);
        std::vector<int> next(experts);
        for (std::size_t i = 0; i < ids.size(); ++i) {
            const auto expert = static_cast<std::size_t>(ids[i]);
            REQUIRE(slots[i] == begins[expert] + next[expert]++);
            REQUIRE(sources[static_cast<std::size_t>(slots[i])] == static_cast<double>(i));
        }
        std::size_t filled = 0;
        for (const double source : sources) filled += source >= 0;
        CHECK(filled == ids.size());
        for (std::size_t expert = 0; expert < experts; ++expert) {
            CHECK(static_cast<int>(begins[expert]) % unit == 0);
            CHECK(begins[expert + 1] - begins[expert] == (next[expert] + unit - 1) / unit * unit);
        }
        if (tokens == 0) continue;
        const auto counts = values(count_experts<float>(chosen, experts));
        CHECK(counts == Ids(next.begin(), next.end()));
    }
}

TEST_CASE("experts are counted for each sequence") {
    const auto chosen = Chosen::of({2, 0, 2, 1, 0, 2, 0, 1}, 4, 2);
    CHECK(values(count_experts<double>(chosen, 3, 2)) == Ids{1, 1, 2, 2, 1, 1});
    CHECK_THROWS_WITH_AS(count_experts<double>(chosen, 3, 3),
                         "count_experts: expected a number of sequences that divides 4 tokens, got 3",
                         ShapeError);
}

TEST_CASE("tokens go to their experts' rows, and come back weighed") {
    const auto chosen = Chosen::of({2, 0, 2, 3, 0, 2}, 3, 2);
    for (const int capacity : {0, 2}) {
        const auto rows = dispatch(chosen, 4, capacity);
        for (const int width : {1, 5, 24}) {
            const auto x = numbers<double, Shape<3, dyn>>(1, width);
            const auto weights = numbers<double, Shape<3, 2>>(2);
            const auto gathered = gather_rows(x, rows);
            const auto sources = values(rows.sources), all = values(gathered), tokens = values(x),
                       factors = values(weights);
            for (std::size_t row = 0; row < sources.size(); ++row)
                for (std::size_t i = 0; i < static_cast<std::size_t>(width); ++i)
                    CHECK(all[row * static_cast<std::size_t>(width) + i] ==
                          (sources[row] < 0 ? 0
                                            : tokens[static_cast<std::size_t>(sources[row] / 2) *
                                                         static_cast<std::size_t>(width) +
                                                     i]));
            // Each assignment gives its token back, times its weight, unless it was dropped.
            const auto combined = combine_rows(gathered, weights, rows);
            static_assert(std::same_as<decltype(combined), const Tensor<double, Shape<dyn, dyn>, Device>>);
            const double last = capacity > 0 ? 0 : factors[5];
            const double sums[] = {factors[0] + factors[1], factors[2] + factors[3], factors[4] + last};
            CHECK(support::worst_error(combined, [&](std::int64_t i) {
                      return sums[i / width] * tokens[static_cast<std::size_t>(i)];
                  }) < 1e-15);
        }
    }
}

TEST_CASE("gradients of gathering and combining") {
    const auto chosen = chosen_of(7, 3, 5);
    for (const int capacity : {0, 2}) {
        const auto rows = dispatch(chosen, 5, capacity);
        for (const int width : {1, 6, 24}) {
            auto x = support::parameter<Shape<dyn, dyn>>(1, 7, width);
            CHECK(gradient_error([&](auto t) { return gather_rows(t, rows); }, x) < 1e-6);
            CHECK(gradient_error([&](auto t) { return Tensor(gather_rows(t, rows) * gather_rows(t, rows)); },
                                 x) < 1e-6);
            auto results = support::parameter<Shape<dyn, dyn>>(2, rows.rows(), width);
            auto weights = support::parameter<Shape<dyn, dyn>>(3, 7, 3);
            const auto combined = [&](auto r, auto w) { return combine_rows(r, w, rows); };
            CHECK(gradient_error([&](auto w) { return combined(results.value(), w); }, weights) < 1e-6);
            if (unit > 1) continue;  // central differences of so many rows take long
            CHECK(gradient_error(combined, results, weights) < 1e-6);
            CHECK(gradient_error([&](auto r, auto w) { return Tensor(combined(r, w) * combined(r, w)); },
                                 results, weights) < 1e-6);
        }
    }
}

TEST_CASE("the gradient of what no token has is zero, not what was in memory") {
    const auto rows = dispatch(Chosen::of({1, 1}, 2, 1), 3, 1);
    Parameter<float, Shape<dyn, dyn>, Device> results(numbers<float, Shape<dyn, dyn>>(2, rows.rows(), 40));
    Parameter<float, Shape<dyn, dyn>, Device> weights(numbers<float, Shape<dyn, dyn>>(3, 2, 1));
    backward(combine_rows(results, weights, rows), std::vector<float>(80, 1));
    const auto of_rows = values(results.accumulated_gradient()),
               of_weights = values(weights.accumulated_gradient());
    for (std::size_t i = 40; i < of_rows.size(); ++i) CHECK_FALSE(of_rows[i] != 0);
    CHECK(of_rows[0] == at(weights.value(), 0, 0));
    CHECK_FALSE(of_weights[1] != 0);
}

TEST_CASE("in bf16 sums are those of f32, rounded once") {
    const auto rows = dispatch(chosen_of(40, 4, 6), 6);
    const auto weights = numbers<float, Shape<dyn, dyn>>(2, 40, 4);
    const auto x = cast<bf16>(numbers<double, Shape<dyn, dyn>>(1, rows.rows(), 48));
    const auto seed = cast<bf16>(numbers<double, Shape<dyn, dyn>>(3, 40, 48));
    const auto results = [&]<class T>(T) {
        using C = ComputeOf<T>;
        Parameter<T, Shape<dyn, dyn>, Device> a(cast<T>(x));
        Parameter<C, Shape<dyn, dyn>, Device> w(cast<C>(weights));
        const auto y = combine_rows(a, w, rows);
        backward(y, support::seed_of(y, values(seed)));
        return std::tuple(cast<double>(detach(y)), cast<double>(a.accumulated_gradient()),
                          cast<double>(w.accumulated_gradient()));
    };
    const auto [y, of_x, of_weights] = results(bf16());
    const auto [exact_y, exact_of_x, exact_of_weights] = results(double());
    CHECK(relative_error(y, exact_y) < 0x1p-8);
    CHECK(relative_error(of_x, exact_of_x) < support::error_of_steps<bf16>);
    CHECK(relative_error(of_weights, exact_of_weights) < 1e-5);
}

TEST_CASE("half precision is widened, and its gradient rounded; what is wide stays as it is") {
    Parameter<bf16, Shape<3, 7>, Device> narrow(cast<bf16>(numbers<double, Shape<3, 7>>(1)));
    const auto wide = widened(narrow.tensor());
    static_assert(std::same_as<decltype(wide)::value_type, float>);
    CHECK(values(wide) == values(narrow.value()));
    const auto seed = values(cast<bf16>(numbers<double, Shape<3, 7>>(2)));
    backward(wide, support::seed_of(wide, seed));
    CHECK(values(narrow.accumulated_gradient()) == seed);
    const auto x = numbers<double, Shape<3>>(1);
    CHECK(widened(x).data() == x.data());
}

TEST_CASE("the same bits for any number of threads") {
    const auto seed = numbers<double, Shape<dyn, dyn>>(3, 500, 33);
    CHECK(support::same_for_any_thread_count([&] {
        const auto scores = support::parameter<Shape<dyn, dyn>>(1, 500, 20);
        const auto x = support::parameter<Shape<dyn, dyn>>(2, 500, 33);
        const auto routed = route(scores, {.experts_per_token = 4, .normalized = true});
        const auto rows = dispatch(routed.experts, 20, 90);
        const auto y = combine_rows(gather_rows(x, rows), routed.weights, rows);
        backward(y, seed.span());
        auto all = values(scores.accumulated_gradient());
        support::append(all, x.accumulated_gradient());
        support::append(all, y);
        return all;
    }));
}
