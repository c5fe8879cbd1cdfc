#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

// What queries may attend to, and ALiBi: the operation's arguments. `attention_kernel.cpp` tests the masks in
// tiles, at many sizes.

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;
using support::parameter;
using support::words_of;

namespace {

constexpr double bound = 1e-6;
using Heads = Shape<dyn, dyn, dyn, dyn>;  // [batch, time, heads, width]
using Operand = Tensor<double, Heads, Device>;
using Allowed = Tensor<bool, Heads, Device>;  // [batch, heads, T, S]

/// Attention by its definition; `sees(b, h, t, s)` and `bias(h, t, s)` say how a query weighs a key.
template <class Sees, class Bias>
Operand reference(const Operand& q, const Operand& k, const Operand& v, Sees sees, Bias bias) {
    const int batch = q.extent(0), queries = q.extent(1), heads = q.extent(2), width = q.extent(3);
    const int keys = k.extent(1), group = heads / k.extent(2), value_width = v.extent(3);
    const auto &queries_here = on_host(q), &keys_here = on_host(k), &values_here = on_host(v);
    auto y = Tensor<double, Heads>::zeros(batch, queries, heads, value_width);
    for (int b = 0; b < batch; ++b)
        for (int h = 0; h < heads; ++h)
            for (int t = 0; t < queries; ++t) {
                std::vector<double> weights(static_cast<std::size_t>(keys), 0);
                double total = 0;
                for (int s = 0; s < keys; ++s) {
                    if (!sees(b, h, t, s)) continue;
                    double score = bias(h, t, s);
                    for (int i = 0; i < width; ++i)
                        score += queries_here(b, t, h, i) * keys_here(b, s, h / group, i) / std::sqrt(width);
                    total += weights[static_cast<std::size_t>(s)] = std::exp(score);
                }
                for (int s = 0; s < keys && total > 0; ++s)
                    for (int i = 0; i < value_width; ++i)
                        y(b, t, h, i) +=
                            weights[static_cast<std::size_t>(s)] / total * values_here(b, s, h / group, i);
            }
    return to_device<Device>(y);
}

double no_bias(int, int, int) { return 0; }

/// Arbitrary, with true on the diagonal that starts at the first key, and a row of none.
Allowed some_allowed(int batch, int heads, int queries, int keys) {
    auto mask = Tensor<bool, Heads>::zeros(batch, heads, queries, keys);
    support::Numbers next(9);
    for (int b = 0; b < batch; ++b)
        for (int h = 0; h < heads; ++h)
            for (int t = 0; t < queries; ++t)
                for (int s = 0; s < keys; ++s) mask(b, h, t, s) = t != 2 && (t == s || next() > 0);
    return to_device<Device>(mask);
}

constexpr AttentionOptions full{.causal = false};

}  // namespace

TEST_CASE("ALiBi's slopes are those of the paper, and for other numbers of heads its authors'") {
    const auto slopes = [](int heads) {
        std::vector<double> result;
        for (int head = 0; head < heads; ++head) result.push_back(alibi_slope(head, heads));
        return result;
    };
    const double r = std::sqrt(0.5);
    CHECK(slopes(8) == std::vector<double>{0x1p-1, 0x1p-2, 0x1p-3, 0x1p-4, 0x1p-5, 0x1p-6, 0x1p-7, 0x1p-8});
    CHECK(slopes(1) == std::vector<double>{0x1p-8});
    CHECK(slopes(3) == std::vector<double>{0x1p-4, 0x1p-8, 0x1p-2});
    CHECK(slopes(6) == std::vector<double>{0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8, 0x1p-1, 0x1p-3});
    const std::vector<double> twelve{0x1p-1, 0x1p-2, 0x1p-3, 0x1p-4,     0x1p-5,     0x1p-6,
                                     0x1p-7, 0x1p-8, r,      r * 0x1p-1, r * 0x1p-2, r * 0x1p-3};
    for (int head = 0; head < 12; ++head)
        CHECK(alibi_slope(head, 12) ==
              doctest::Approx(twelve[static_cast<std::size_t>(head)]).epsilon(1e-15));
}

TEST_CASE("ALiBi agrees with its definition, for the last positions of a cache too") {
    struct Case {
        int queries, keys, heads, groups, window;
    };
    for (const Case& c : {Case{7, 7, 4, 4, 0}, {1, 9, 6, 2, 0}, {3, 9, 3, 1, 0}, {9, 13, 12, 4, 5}}) {
        INFO("queries ", c.queries, ", keys ", c.keys, ", heads ", c.heads);
        auto q = parameter<Heads>(1, 2, c.queries, c.heads, 4);
        auto k = parameter<Heads>(2, 2, c.keys, c.groups, 4), v = parameter<Heads>(3, 2, c.keys, c.groups, 3);
        const AttentionOptions options{.alibi = true, .window = c.window};
        const int before = c.keys - c.queries;
        const auto expected = reference(
            q.value(), k.value(), v.value(),
            [&](int, int, int t, int s) {
                return s <= before + t && (c.window == 0 || s > before + t - c.window);
            },
            [&](int h, int t, int s) { return -alibi_slope(h, c.heads) * (before + t - s); });
        CHECK(all_close(attention(q.value(), k.value(), v.value(), options), expected, {1e-13, 1e-13}));
        CHECK(gradient_error([&](auto x, auto y, auto z) { return attention(x, y, z, options); }, q, k, v) <
              bound);
    }
}

TEST_CASE("an explicit mask has any of its shapes, and may be a view") {
    const Operand q = numbers<double, Heads>(1, 2, 7, 4, 5), k = numbers<double, Heads>(2, 2, 9, 2, 5),
                  v = numbers<double, Heads>(3, 2, 9, 2, 3);
    const Allowed all = some_allowed(2, 4, 7, 9);
    const auto expect = [&](auto sees) { return reference(q, k, v, sees, no_bias); };
    const auto check = [&](const auto& mask, auto sees) {
        CHECK(all_close(attention(q, k, v, full, mask), expect(sees), {1e-13, 1e-13}));
    };
    check(all, [&](int b, int h, int t, int s) { return at(all, b, h, t, s); });
    check(contiguous(slice<0>(all, 1, 2)), [&](int, int h, int t, int s) { return at(all, 1, h, t, s); });
    check(contiguous(slice<1>(all, 3, 4)), [&](int b, int, int t, int s) { return at(all, b, 3, t, s); });
    check(slice<0>(slice<1>(all, 3, 4), 1, 2), [&](int, int, int t, int s) { return at(all, 1, 3, t, s); });
    check(select<1>(all, 2), [&](int b, int, int t, int s) { return at(all, b, 2, t, s); });
    check(slice<0>(select<1>(all, 2), 1, 2), [&](int, int, int t, int s) { return at(all, 1, 2, t, s); });
    check(select<0>(select<0>(all, 1), 2), [&](int, int, int t, int s) { return at(all, 1, 2, t, s); });
    const Allowed turned = contiguous(transpose(all));  // [batch, heads, S, T]
    check(transpose(turned), [&](int b, int h, int t, int s) { return at(all, b, h, t, s); });
}

TEST_CASE("the gradients under an explicit mask; a query without keys gives none") {
    for (const int queries : {1, 3, 7}) {
        auto q = parameter<Heads>(1, 2, queries, 4, 5), k = parameter<Heads>(2, 2, 9, 2, 5),
             v = parameter<Heads>(3, 2, 9, 2, 3);
        const Allowed mask = some_allowed(2, 4, queries, 9);
        const auto f = [&](auto x, auto y, auto z) {
            return attention(x, y, z, {.causal = false, .alibi = true, .soft_cap = 1.5f}, mask);
        };
        CHECK(gradient_error(f, q, k, v) < bound);
        if (queries < 3) continue;
        const Parameter a(q.value());
        const auto y = f(a.tensor(), k.value(), v.value());
        backward(y, numbers<double, Shape<dyn>>(4, static_cast<int>(y.size())).span());
        for (int b = 0; b < 2; ++b)
            for (int h = 0; h < 4; ++h) {
                for (int i = 0; i < 3; ++i) CHECK(at(y, b, 2, h, i) == 0);
                for (int i = 0; i < 5; ++i) CHECK(at(a.accumulated_gradient(), b, 2, h, i) == 0);
            }
    }
}

TEST_CASE("a causal order holds besides an explicit mask, unless it is switched off") {
    const Operand x = numbers<double, Heads>(1, 1, 5, 1, 4);
    const auto everything = Tensor<bool, Shape<5, 5>, Device>::filled(true);
    auto lower = Tensor<bool, Shape<5, 5>, Device>::zeros();
    for (int t = 0; t < 5; ++t)
        for (int s = 0; s <= t; ++s) support::set(lower, true, t, s);
    CHECK(attention(x, x, x, {}, everything) == attention(x, x, x));
    CHECK(attention(x, x, x, full, everything) == attention(x, x, x, full));
    CHECK(all_close(attention(x, x, x, full, lower), attention(x, x, x), {1e-14, 1e-14}));
}

TEST_CASE("padded sequences attend as they would alone") {
    const auto lengths = Tensor<int, Shape<3>, Device>::of({7, 4, 0});
    auto q = parameter<Heads>(1, 3, 7, 2, 4), k = parameter<Heads>(2, 3, 7, 1, 4),
         v = parameter<Heads>(3, 3, 7, 1, 3);
    for (const AttentionOptions& options : {AttentionOptions{}, full}) {
        const auto y = attention(q.value(), k.value(), v.value(), options, Padding{lengths});
        for (int b = 0; b < 2; ++b) {
            const int n = at(lengths, b);
            const auto cut = [&](const auto& x) { return slice<1>(slice<0>(x.value(), b, b + 1), 0, n); };
            CHECK(all_close(slice<1>(slice<0>(y, b, b + 1), 0, n), attention(cut(q), cut(k), cut(v), options),
                            {1e-13, 1e-13}));
        }
        for (int t = 0; t < 7; ++t) CHECK(at(y, 2, t, 1, 2) == 0);
        CHECK(gradient_error(
                  [&](auto a, auto b, auto c) { return attention(a, b, c, options, Padding{lengths}); }, q, k,
                  v) < bound);
    }
}

TEST_CASE("masks combine, in any order") {
    auto q = parameter<Heads>(1, 2, 6, 4, 5), k = parameter<Heads>(2, 2, 8, 2, 5),
         v = parameter<Heads>(3, 2, 8, 2, 3);
    const auto starts =
        Tensor<int, Shape<2, 8>, Device>::of({0, 0, 0, 3, 3, 5, 5, 5, 0, 1, 1, 1, 1, 1, 1, 7});
    const Padding padding{Tensor<int, Shape<2>, Device>::of({8, 6})};
    const Allowed mask = some_allowed(2, 4, 6, 8);
    const auto sees = [&](int b, int h, int t, int s) {
        return s <= t + 2 && s >= at(starts, b, t + 2) && s < at(padding.lengths, b) && at(mask, b, h, t, s);
    };
    const auto y = attention(q.value(), k.value(), v.value(), {}, mask, padding, starts);
    CHECK(all_close(y, reference(q.value(), k.value(), v.value(), sees, no_bias), {1e-13, 1e-13}));
    CHECK(y == attention(q.value(), k.value(), v.value(), {}, starts, mask, padding));
    CHECK(y == attention_with_log_sum_exp(q.value(), k.value(), v.value(), {}, padding, mask, starts).output);
    CHECK(
        gradient_error([&](auto a, auto b, auto c) { return attention(a, b, c, {}, mask, padding, starts); },
                       q, k, v) < bound);
}

TEST_CASE("queries of one sequence attend to keys of another") {
    for (const int queries : {1, 4, 12, 70}) {
        for (const int keys : {1, 5, 16, 66}) {
            const Operand q = numbers<double, Heads>(1, 2, queries, 2, 4),
                          k = numbers<double, Heads>(2, 2, keys, 1, 4),
                          v = numbers<double, Heads>(3, 2, keys, 1, 3);
            const auto everything = [](int, int, int, int) { return true; };
            CHECK(
                all_close(attention(q, k, v, full), reference(q, k, v, everything, no_bias), {1e-13, 1e-13}));
        }
    }
    auto q = parameter<Heads>(1, 2, 6, 2, 4), k = parameter<Heads>(2, 2, 3, 2, 4),
         v = parameter<Heads>(3, 2, 3, 2, 3);
    CHECK(gradient_error([](auto a, auto b, auto c) { return attention(a, b, c, full); }, q, k, v) < bound);
}

TEST_CASE("operands without an axis of heads are one head") {
    auto q = parameter<Shape<2, 12, 4>>(1);
    auto k = parameter<Shape<2, 16, 4>>(2);
    auto v = parameter<Shape<2, 16, 3>>(3);
    const auto mask = [] {
        auto result = Tensor<bool, Shape<2, 12, 16>>::zeros();
        support::Numbers next(5);
        for (bool& allowed : result.span()) allowed = next() > -0.5;
        return to_device<Device>(result);
    }();
    const auto y = attention(q.value(), k.value(), v.value(), full, mask);
    static_assert(std::same_as<decltype(y)::shape_type, Shape<2, 12, 3>>);
    const auto one_head = [](const auto& x) { return split_axis<2, 1, dyn>(x, 1, x.extent(2)); };
    const auto expected =
        attention_with_log_sum_exp(one_head(q.value()), one_head(k.value()), one_head(v.value()), full, mask);
    CHECK(support::values(y) == support::values(expected.output));
    const auto both = attention_with_log_sum_exp(q.value(), k.value(), v.value(), full, mask);
    static_assert(std::same_as<decltype(both.log_sum_exp)::shape_type, Shape<2, 12>>);
    CHECK(support::values(both.log_sum_exp) == support::values(expected.log_sum_exp));
    CHECK(gradient_error([&](auto a, auto b, auto c) { return attention(a, b, c, full, mask); }, q, k, v) <
          bound);
    // Views, and one tensor as all three.
    auto x = parameter<Shape<2, 5, 6>>(4);
    CHECK(gradient_error([](auto a) { return attention(slice<2>(a, 0, 2), slice<2>(a, 2, 4), a); }, x) <
          bound);
    CHECK(gradient_error([](auto a) { return attention(a, a, a, {.alibi = true}); }, x) < bound);
}

TEST_CASE("documents, of which only the starts are given, need a causal order or a window") {
    const Operand x = numbers<double, Heads>(1, 1, 5, 2, 4);
    const auto starts = Tensor<int, Shape<1, 5>, Device>::of({0, 0, 2, 2, 2});
    const std::string words =
        "attention: expected causal attention where documents are given, as only their starts are, got "
        ".causal = false";
    CHECK(words_of([&] { attention(x, x, x, full, starts); }) == words);
    CHECK(words_of([&] { attention_with_log_sum_exp(x, x, x, full, starts); }) == words);
    CHECK(attention(x, x, x, {.causal = false, .window = 5}, starts) == attention(x, x, x, {}, starts));
}

TEST_CASE("masks that do not fit say so") {
    const Operand q = numbers<double, Heads>(1, 2, 5, 4, 6), k = numbers<double, Heads>(2, 2, 7, 2, 6);
    using Mask2 = Tensor<bool, Shape<dyn, dyn>, Device>;
    using Mask3 = Tensor<bool, Shape<dyn, dyn, dyn>, Device>;
    using Starts = Tensor<int, Shape<dyn, dyn>, Device>;
    using Lengths = Tensor<int, Shape<dyn>, Device>;
    const auto words = [&](const auto& mask) {
        return words_of([&] { support::values(attention(q, k, k, {}, mask)); });
    };
    CHECK(words(Mask2::zeros(5, 7)) == "no error");
    CHECK(words(Mask2::zeros(7, 5)) == "attention_mask_does_not_fit<Shape<7, 5>, Shape<2, 4, 5, 7>>");
    CHECK(words(Mask2::zeros(1, 7)) == "attention_mask_does_not_fit<Shape<1, 7>, Shape<2, 4, 5, 7>>");
    CHECK(words(Mask3::zeros(2, 5, 7)) == "no error");
    CHECK(words(Mask3::zeros(4, 5, 7)) == "attention_mask_does_not_fit<Shape<4, 5, 7>, Shape<2, 4, 5, 7>>");
    CHECK(words(Allowed::zeros(2, 2, 5, 7)) ==
          "attention_mask_does_not_fit<Shape<2, 2, 5, 7>, Shape<2, 4, 5, 7>>");
    CHECK(words(Starts::zeros(2, 5)) == "attention_mask_does_not_fit<Shape<2, 5>, Shape<2, 4, 5, 7>>");
    CHECK(words(Padding{Lengths::zeros(3)}) == "attention_mask_does_not_fit<Shape<3>, Shape<2, 4, 5, 7>>");
    // A GPU looks at numbers as it computes, and tells in its own words where they were.
    const auto tells = [](const std::string& text, const char* got) {
        return text.starts_with("attention: expected lengths of 0 to 7") && text.find(got) != text.npos;
    };
    CHECK(tells(words(Padding{Lengths::of({7, 8}, 2)}), ", got 8 "));
    CHECK(tells(words(Padding{Lengths::of({-1, 7}, 2)}), ", got -1 "));
    CHECK(words(Padding{Tensor<int, Shape<2>, Device>()}) ==
          "attention: expected a mask, got a tensor that holds nothing");
}

TEST_CASE_TEMPLATE("masks of half types are those of f32", T, bf16, f16) {
    const auto q = numbers<T, Heads>(1, 2, 9, 4, 8), k = numbers<T, Heads>(2, 2, 9, 2, 8);
    const Allowed mask = some_allowed(2, 4, 9, 9);
    const Padding padding{Tensor<int, Shape<2>, Device>::of({9, 5})};
    const AttentionOptions options{.alibi = true};
    const Parameter a(q), b(k);
    const Parameter wide_a(cast<float>(q)), wide_b(cast<float>(k));
    const auto y = attention(a, b, b, options, mask, padding);
    const auto wide = attention(wide_a, wide_b, wide_b, options, mask, padding);
    const auto seed = support::values(numbers<T, Shape<dyn>>(4, static_cast<int>(y.size())));
    CHECK(support::is_rounded(detach(y), detach(wide)));
    backward(y, support::seed_of(y, seed));
    backward(attention(wide_a, wide_b, wide_b, options, mask, padding), support::seed_of(wide, seed));
    CHECK(relative_error(a.accumulated_gradient(), wide_a.accumulated_gradient()) < 0x1p-6);
    CHECK(relative_error(b.accumulated_gradient(), wide_b.accumulated_gradient()) < 0x1p-6);
    // A view without an axis of heads is converted where it lies.
    const auto one = slice<2>(numbers<T, Shape<2, 5, 8>>(3), 2, 6);
    const Tensor packed = contiguous(one);
    CHECK(support::values(attention(one, one, one)) == support::values(attention(packed, packed, packed)));
}

TEST_CASE_TEMPLATE("masks of half types over many tiles are those of f32", T, bf16, f16) {
    constexpr int time = support::is_cpu ? 140 : 700, heads = 4, groups = 2;
    auto document_start = Tensor<int, Shape<2, time>>::uninitialized();
    for (int b = 0; b < 2; ++b)
        for (int t = 0; t < time; ++t) document_start(b, t) = t < 67 + b ? 0 : t < 131 ? 67 + b : 131;
    const auto documents = to_device<Device>(document_start);
    const Padding padding{Tensor<int, Shape<2>, Device>::of({time - 9, 77})};
    const Allowed some = some_allowed(2, 1, time, time);
    const auto agrees = [&](int width, const AttentionOptions& options, const auto&... masks) {
        const auto q = numbers<T, Heads>(1, 2, time, heads, width),
                   k = numbers<T, Heads>(2, 2, time, groups, width),
                   v = numbers<T, Heads>(3, 2, time, groups, width);
        const Parameter a(q), b(k), c(v);
        const Parameter wide_a(cast<float>(q)), wide_b(cast<float>(k)), wide_c(cast<float>(v));
        const auto y = attention(a, b, c, options, masks...);
        const auto wide = attention(wide_a, wide_b, wide_c, options, masks...);
        CHECK(support::is_rounded(detach(y), detach(wide)));
        const auto seed = support::values(numbers<T, Shape<dyn>>(4, static_cast<int>(y.size())));
        backward(y, support::seed_of(y, seed));
        backward(attention(wide_a, wide_b, wide_c, options, masks...), support::seed_of(wide, seed));
        CHECK(relative_error(a.accumulated_gradient(), wide_a.accumulated_gradient()) < 0x1p-6);
        CHECK(relative_error(b.accumulated_gradient(), wide_b.accumulated_gradient()) < 0x1p-6);
        CHECK(relative_error(c.accumulated_gradient(), wide_c.accumulated_gradient()) < 0x1p-6);
    };
    for (const int width : {64, 128}) {
        INFO("width ", width);
        agrees(width, {});
        agrees(width, {.window = 100});
        agrees(width, {.window = 3});
        agrees(width, {.alibi = true});
        agrees(width, {.scale = 2, .soft_cap = 3});
        agrees(width, {}, padding);
        agrees(width, {}, documents);
        agrees(width, {.window = 50}, documents, padding);
        agrees(width, full);
        agrees(width, full, padding);
        agrees(width, full, some);
        agrees(width, {.scale = 2, .alibi = true, .window = 90, .soft_cap = 3}, some, padding);
    }
}

TEST_CASE("a mask may be gone by the time of the backward pass") {
    const auto q = parameter<Heads>(1, 2, 6, 2, 4);
    const auto y = [&] {
        return attention(q, q, q, {}, some_allowed(2, 2, 6, 6),
                         Padding{Tensor<int, Shape<2>, Device>::of({6, 4})},
                         Tensor<int, Shape<2, 6>, Device>::filled(1));
    }();
    const auto seed = numbers<double, Shape<96>>(4);
    const auto scribble = Allowed::zeros(2, 2, 6, 6);  // takes memory that was given back
    const Parameter again(q.value());
    backward(y, seed.span());
    backward(attention(again, again, again, {}, some_allowed(2, 2, 6, 6),
                       Padding{Tensor<int, Shape<2>, Device>::of({6, 4})},
                       Tensor<int, Shape<2, 6>, Device>::filled(1)),
             seed.span());
    CHECK(q.accumulated_gradient() == again.accumulated_gradient());
}
