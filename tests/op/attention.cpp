#include <array>
#include <cmath>
#include <concepts>
#include <limits>
#include <span>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

// The operation and its contract; `attention_kernel.cpp` tests the tiles at many sizes.

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;
using support::parameter;
using support::worst_error;

namespace {

constexpr double bound = 1e-6;
using Heads = Shape<dyn, dyn, dyn, dyn>;  // [batch, time, heads, width]
using Operand = Tensor<double, Heads, Device>;

struct Reference {
    std::vector<double> output, log_sum_exp;  // [batch, T, heads, V], [batch, heads, T]
};

/// Attention by its definition.
Reference reference(const Operand& q, const Operand& k, const Operand& v, const AttentionOptions& options,
                    const int* document_start = nullptr) {
    const int batch = q.extents()[0], queries = q.extents()[1], heads = q.extents()[2],
              width = q.extents()[3];
    const int keys = k.extents()[1], group = heads / k.extents()[2], value_width = v.extents()[3];
    const double scale = options.scale != 0 ? static_cast<double>(options.scale) : 1 / std::sqrt(width);
    const double cap = static_cast<double>(options.soft_cap);
    const auto &queries_here = on_host(q), &keys_here = on_host(k), &values_here = on_host(v);
    Reference result;
    result.output.resize(static_cast<std::size_t>(batch * queries * heads * value_width));
    result.log_sum_exp.resize(static_cast<std::size_t>(batch * heads * queries));
    for (int b = 0; b < batch; ++b)
        for (int h = 0; h < heads; ++h)
            for (int t = 0; t < queries; ++t) {
                const int position = keys - queries + t;
                std::vector<double> weights(static_cast<std::size_t>(keys), 0);
                double total = 0;
                for (int s = 0; s < keys; ++s) {
                    if ((options.causal || options.window > 0) && s > position) continue;
                    if (options.window > 0 && s + options.window <= position) continue;
                    if (document_start && s < document_start[b * keys + position]) continue;
                    double score = 0;
                    for (int i = 0; i < width; ++i)
                        score += scale * queries_here(b, t, h, i) * keys_here(b, s, h / group, i);
                    if (cap > 0) score = cap * std::tanh(score / cap);
                    total += weights[static_cast<std::size_t>(s)] = std::exp(score);
                }
                result.log_sum_exp[static_cast<std::size_t>((b * heads + h) * queries + t)] = std::log(total);
                for (int i = 0; i < value_width && total > 0; ++i) {
                    double sum = 0;
                    for (int s = 0; s < keys; ++s)
                        sum += weights[static_cast<std::size_t>(s)] * values_here(b, s, h / group, i);
                    result
                        .output[static_cast<std::size_t>(((b * queries + t) * heads + h) * value_width + i)] =
                        sum / total;
                }
            }
    return result;
}

struct Case {
    int queries, keys, heads, groups, width, value_width;
    AttentionOptions options;
};

const Case cases[] = {
    {1, 1, 1, 1, 1, 1, {}},
    {7, 7, 2, 2, 4, 4, {}},
    {7, 7, 4, 2, 5, 3, {}},                                 // grouped, another value width, odd widths
    {7, 7, 2, 1, 4, 4, {.causal = false}},                  //
    {9, 9, 2, 2, 4, 4, {.window = 3}},                      //
    {7, 7, 2, 2, 4, 4, {.scale = 0.7f, .soft_cap = 1.5f}},  //
    {3, 11, 3, 1, 6, 2, {}},                                // the last 3 of 11 positions
    {1, 11, 6, 2, 4, 4, {.window = 5}},                     // one generated token
    {70, 70, 2, 1, 8, 8, {.window = 40, .soft_cap = 2}},    // more than a tile
    {6, 6, 2, 2, 4, 4, {.causal = false, .scale = 1, .window = 2}},  // a window is causal by itself
};

}  // namespace

TEST_CASE("attention agrees with its definition, log sum exp included") {
    for (const Case& c : cases) {
        INFO("queries ", c.queries, ", keys ", c.keys, ", heads ", c.heads, ", window ", c.options.window);
        const Operand q = numbers<double, Heads>(1, 2, c.queries, c.heads, c.width),
                      k = numbers<double, Heads>(2, 2, c.keys, c.groups, c.width),
                      v = numbers<double, Heads>(3, 2, c.keys, c.groups, c.value_width);
        const auto expected = reference(q, k, v, c.options);
        CHECK(worst_error(attention(q, k, v, c.options), expected.output) < 1e-13);
        const auto both = attention_with_log_sum_exp(q, k, v, c.options);
        CHECK(worst_error(both.output, expected.output) < 1e-13);
        CHECK(worst_error(both.log_sum_exp, expected.log_sum_exp) < 1e-13);
        CHECK(both.log_sum_exp.extents() == Extents(2, c.heads, c.queries));
    }
}

TEST_CASE("few queries of many keys, in heads of any width") {
    const Case few[] = {
        {1, 300, 3, 1, 260, 130, {}},                         // wider than tiles
        {2, 700, 2, 2, 4, 3, {.window = 500}},                //
        {1, 200, 2, 1, 6, 4, {.scale = 3, .soft_cap = 1.5}},  //
        {3, 129, 2, 1, 4, 4, {.causal = false}},
    };
    for (const Case& c : few) {
        INFO("queries ", c.queries, ", keys ", c.keys, ", window ", c.options.window);
        const Operand q = numbers<double, Heads>(1, 2, c.queries, c.heads, c.width),
                      k = numbers<double, Heads>(2, 2, c.keys, c.groups, c.width);
        const auto values_of = [&](const auto& x) { return slice<3>(x, 0, c.value_width); };
        const auto expected = reference(q, k, contiguous(values_of(k)), c.options);
        const auto both = attention_with_log_sum_exp(q, k, values_of(k), c.options);
        CHECK(worst_error(both.output, expected.output) < 1e-13);
        CHECK(worst_error(both.log_sum_exp, expected.log_sum_exp) < 1e-13);
        const auto narrow_q = cast<float>(q), narrow_k = cast<float>(k);
        CHECK(worst_error(attention(narrow_q, narrow_k, values_of(narrow_k), c.options), expected.output) <
              1e-5);
    }
}

TEST_CASE("many keys of which few count: stored ones, one document's, or none") {
    const int keys = 700;
    const Operand q = numbers<double, Heads>(1, 3, 1, 2, 4), k = numbers<double, Heads>(2, 3, keys, 1, 4);
    // What is not stored is not read.
    support::set(k, std::numeric_limits<double>::quiet_NaN(), 0, 500, 0, 0);
    const auto lengths = Tensor<int, Shape<3>, Device>::of({130, keys, 0});
    const auto starts = [&] {
        auto of_tokens = Tensor<int, Shape<dyn, dyn>>::zeros(3, keys);
        of_tokens(1, keys - 1) = 450;
        return to_device<Device>(of_tokens);
    }();
    const auto y = attention(q, k, k, {.causal = true}, Padding{lengths}, starts);
    const auto alone = [&](int row, int begin, int end) {
        const auto own = slice<1>(slice<0>(k, row, row + 1), begin, end);
        return attention(slice<0>(q, row, row + 1), own, own);
    };
    CHECK(all_close(slice<0>(y, 0, 1), alone(0, 0, 130), {.relative = 1e-12}));
    CHECK(all_close(slice<0>(y, 1, 2), alone(1, 450, keys), {.relative = 1e-12}));
    CHECK(all_close(slice<0>(y, 2, 3), Tensor<double, Heads, Device>::zeros(1, 1, 2, 4)));
}

TEST_CASE("the gradients of queries, keys and values") {
    for (const Case& c : cases) {
        if (c.queries > 20) continue;
        INFO("queries ", c.queries, ", keys ", c.keys, ", heads ", c.heads, ", window ", c.options.window);
        auto q = parameter<Heads>(1, 2, c.queries, c.heads, c.width);
        auto k = parameter<Heads>(2, 2, c.keys, c.groups, c.width);
        auto v = parameter<Heads>(3, 2, c.keys, c.groups, c.value_width);
        const auto f = [&](auto x, auto y, auto z) { return attention(x, y, z, c.options); };
        const double error = gradient_error(f, q, k, v);
        if (c.keys > 1) CHECK(error < bound);  // to one key its weight is 1 whatever the score
    }
}

TEST_CASE("documents packed into one sequence do not see each other") {
    const Operand q = numbers<double, Heads>(1, 2, 8, 2, 4), k = numbers<double, Heads>(2, 2, 8, 1, 4),
                  v = numbers<double, Heads>(3, 2, 8, 1, 4);
    const auto starts =
        Tensor<int, Shape<2, 8>, Device>::of({0, 0, 0, 3, 3, 5, 5, 5, 0, 1, 1, 1, 1, 1, 1, 7});
    const AttentionOptions options;
    const auto y = attention(q, k, v, options, starts);
    CHECK(worst_error(y, reference(q, k, v, options, on_host(starts).data()).output) < 1e-13);
    // The second document alone, cut out.
    const auto alone = attention(slice<1>(slice<0>(q, 0, 1), 3, 5), slice<1>(slice<0>(k, 0, 1), 3, 5),
                                 slice<1>(slice<0>(v, 0, 1), 3, 5));
    CHECK(all_close(slice<1>(slice<0>(y, 0, 1), 3, 5), alone, {.relative = 1e-13}));
    auto a = parameter<Heads>(1, 2, 8, 2, 4), b = parameter<Heads>(2, 2, 8, 1, 4),
         c = parameter<Heads>(3, 2, 8, 1, 4);
    CHECK(gradient_error([&](auto x, auto y2, auto z) { return attention(x, y2, z, options, starts); }, a, b,
                         c) < bound);
    CHECK_THROWS_AS(attention(q, k, v, options, Tensor<int, Shape<2, 7>, Device>::zeros()), ShapeError);
}

TEST_CASE("views are as good as tensors, and one tensor may serve several operands") {
    // [batch, heads, time, width] transposed, and one projection cut into queries, keys and values.
    auto all = parameter<Shape<2, 6, 3, 8>>(1);
    const auto packed = [](auto x) {
        return attention(contiguous(slice<3>(x, 0, 3)), contiguous(slice<3>(x, 3, 6)),
                         contiguous(slice<3>(x, 6, 8)));
    };
    const auto cut = [](auto x) {
        return attention(slice<3>(x, 0, 3), slice<3>(x, 3, 6), slice<3>(x, 6, 8));
    };
    CHECK(cut(all.value()) == packed(all.value()));
    CHECK(gradient_error(cut, all) < bound);
    auto heads_first = parameter<Shape<2, 3, 6, 4>>(2);
    const auto turned = [](auto x) {
        return attention(transpose<1, 2>(x), transpose<1, 2>(x), transpose<1, 2>(x));
    };
    const auto copied = [](auto x) {
        Tensor h = contiguous(transpose<1, 2>(x));
        return attention(h, h, h);
    };
    CHECK(turned(heads_first.value()) == copied(heads_first.value()));
    CHECK(gradient_error(turned, heads_first) < bound);
    CHECK(gradient_error([](auto x) { return attention(transpose(x), transpose(x), transpose(x)); },
                         heads_first) < bound);
    CHECK(gradient_error([](auto x) { return attention(x * 2, exp(x), x); }, heads_first) < bound);
}

TEST_CASE("who may attend to nothing yields zeros, and gives no gradient") {
    // More queries than keys: the first two lie before the first key.
    const auto q = parameter<Heads>(1, 1, 5, 1, 4), k = parameter<Heads>(2, 1, 3, 1, 4),
               v = parameter<Heads>(3, 1, 3, 1, 4);
    const auto y = attention(q, k, v);
    for (int t = 0; t < 2; ++t)
        for (int i = 0; i < 4; ++i) CHECK(at(y, 0, t, 0, i) == 0);
    const auto seed = numbers<double, Shape<20>>(4);
    backward(y, seed.span());
    const auto gradient_of_queries = support::values(q.accumulated_gradient());
    for (std::size_t i = 0; i < 8; ++i) CHECK(gradient_of_queries[i] == 0);
    for (const double gradient : support::values(k.accumulated_gradient())) CHECK(std::isfinite(gradient));
}

TEST_CASE("empty operands, and operands that do not fit") {
    const auto none = Tensor<double, Shape<1, dyn, 2, 4>, Device>::zeros(0);
    CHECK(attention(none, none, none).size() == 0);
    const Operand q = numbers<double, Heads>(1, 2, 5, 4, 6), k = numbers<double, Heads>(2, 2, 5, 3, 6);
    CHECK_THROWS_WITH_AS(attention(q, k, k),
                         "attention_heads_do_not_share_key_value_heads<Shape<2, 5, 4, 6>, Shape<2, 5, 3, 6>>",
                         ShapeError);
    CHECK_THROWS_AS(attention(q, numbers<double, Heads>(2, 2, 5, 4, 5), q), ShapeError);
    CHECK_THROWS_AS(attention(q, q, numbers<double, Heads>(2, 2, 4, 4, 6)), ShapeError);
    CHECK_THROWS_AS(attention(q, numbers<double, Heads>(2, 1, 5, 4, 6), q), ShapeError);
}

TEST_CASE("f32 is close to f64") {
    const Operand q = numbers<double, Heads>(1, 2, 33, 4, 8), k = numbers<double, Heads>(2, 2, 33, 2, 8);
    CHECK(relative_error(attention(cast<float>(q), cast<float>(k), cast<float>(k)), attention(q, k, k)) <
          1e-6);
}

TEST_CASE("value and gradients have the same bits for any number of threads") {
    const Operand q = numbers<double, Heads>(1, 2, 130, 4, 8), k = numbers<double, Heads>(2, 2, 130, 2, 8),
                  v = numbers<double, Heads>(3, 2, 130, 2, 8), seed = numbers<double, Heads>(4, 2, 130, 4, 8);
    CHECK(support::same_for_any_thread_count([&] {
        const Parameter a(q), b(k), c(v);
        const auto y = attention(a, b, c);
        std::vector<double> result = support::values(y);
        backward(y, seed.span());
        support::append(result, a.accumulated_gradient());
        support::append(result, b.accumulated_gradient());
        support::append(result, c.accumulated_gradient());
        return result;
    }));
}

TEST_CASE("operands that share one gradient, each in a shape of its own") {
    // Four query heads in time 6, and the same memory as keys of two heads in time 12.
    auto x = parameter<Shape<1, 6, 4, 2>>(1);
    const auto both = [](auto a) {
        auto k = reshape<Shape<1, 12, 2, 2>>(a);
        return attention(a, k, k, {.causal = false});
    };
    CHECK(gradient_error(both, x) < bound);
    CHECK(support::same_for_any_thread_count([&] {
        const Parameter a(numbers<double, Shape<1, 6, 4, 2>>(1));
        const auto k = reshape<Shape<1, 12, 2, 2>>(a.tensor());
        backward(attention(a, k, k), numbers<double, Shape<48>>(2).span());
        return support::values(a.accumulated_gradient());
    }));
}

TEST_CASE("a batch, heads or a time of none") {
    for (const auto& [batch, time, heads] :
         {std::array{0, 5, 2}, {0, 1, 2}, {2, 0, 2}, {2, 5, 0}, {2, 1, 0}, {0, 0, 0}}) {
        INFO("batch ", batch, ", time ", time, ", heads ", heads);
        const Parameter q(numbers<double, Heads>(1, batch, time, heads, 4));
        const Parameter k(numbers<double, Heads>(2, batch, 5, 2, 4)),
            v(numbers<double, Heads>(3, batch, 5, 2, 3));
        const auto y = attention(q, k, v);
        CHECK(y.extents() == Extents(batch, time, heads, 3));
        backward(y, std::span<const double>{});
        for (const double gradient : support::values(k.accumulated_gradient())) CHECK(gradient == 0);
        for (const double gradient : support::values(v.accumulated_gradient())) CHECK(gradient == 0);
    }
}

TEST_CASE_TEMPLATE("half types compute in f32 and round once; their gradients are f32", T, bf16, f16) {
    const double one_rounding = std::same_as<T, bf16> ? 0x1p-8 : 0x1p-11;
    for (const int queries : {1, 3, 33}) {
        const auto q = numbers<T, Heads>(1, 2, queries, 4, 8), k = numbers<T, Heads>(2, 2, 33, 2, 8),
                   v = numbers<T, Heads>(3, 2, 33, 2, 5);
        const Parameter a(q), b(k), c(v);
        const Parameter wide_a(cast<float>(q)), wide_b(cast<float>(k)), wide_c(cast<float>(v));
        const auto y = attention(a, b, c);
        const auto wide = attention(wide_a, wide_b, wide_c);
        static_assert(std::same_as<typename decltype(y)::value_type, T>);
        CHECK(support::is_rounded(detach(y), detach(wide)));
        const auto seed = support::values(numbers<T, Shape<dyn>>(4, static_cast<int>(y.size())));
        backward(y, support::seed_of(y, seed));
        // The wide graph is gone with it.
        backward(attention(wide_a, wide_b, wide_c), support::seed_of(wide, seed));
        CHECK(relative_error(a.accumulated_gradient(), wide_a.accumulated_gradient()) < 4 * one_rounding);
        CHECK(relative_error(b.accumulated_gradient(), wide_b.accumulated_gradient()) < 4 * one_rounding);
        CHECK(relative_error(c.accumulated_gradient(), wide_c.accumulated_gradient()) < 4 * one_rounding);
        // A view is converted where it lies.
        CHECK(support::values(
                  attention(slice<1>(q, 0, queries), transpose<1, 2>(contiguous(transpose<1, 2>(k))), v)) ==
              support::values(detach(y)));
    }
}

TEST_CASE_TEMPLATE("half types over many tiles, whichever way scores grow", T, bf16, f16) {
    // From one key to the next, scores of the second and third head grow and fall by 1.
    const int time = 300, heads = 3;
    for (const int width : {64, 128}) {
        auto q = Tensor<T, Heads>::uninitialized(1, time, heads, width),
             k = Tensor<T, Heads>::uninitialized(1, time, heads, width);
        support::Numbers next(1);
        for (T& element : q.span()) element = convert<T>(next());
        for (T& element : k.span()) element = convert<T>(next());
        for (int s = 0; s < time; ++s)
            for (int h = 0; h < heads; ++h) {
                q(0, s, h, 0) = convert<T>(std::sqrt(static_cast<double>(width)));
                k(0, s, h, 0) = convert<T>(std::array{0, s, -s}[static_cast<std::size_t>(h)]);
            }
        const auto a = to_device<Device>(q), b = to_device<Device>(k),
                   c = numbers<T, Heads>(2, 1, time, heads, width);
        for (const bool causal : {true, false}) {
            const auto [y, sums] = attention_with_log_sum_exp(a, b, c, {.causal = causal});
            const auto [wide, wide_sums] = attention_with_log_sum_exp(cast<float>(a), cast<float>(b),
                                                                      cast<float>(c), {.causal = causal});
            CHECK(support::is_rounded(y, wide));
            CHECK(relative_error(sums, wide_sums) < 1e-5);
        }
    }
}

TEST_CASE("a score has the same bits alone, among others and in the backward pass") {
    // Each query may attend to one key, and its weight is 1: log sum exp is the score.
    constexpr int time = 70, heads = 12;
    using Heads1 = Shape<1, time, heads, 1>;
    Parameter<float, Heads1, Device> v(cast<float>(numbers<double, Heads1>(3)));
    const auto q = cast<float>(numbers<double, Heads1>(1)), k = cast<float>(numbers<double, Heads1>(2));
    const auto one_key = [] {
        auto allowed = Tensor<bool, Shape<time, time>>::zeros();
        for (int t = 0; t < time; ++t) allowed(t, t * 37 % (t + 1)) = true;
        return allowed;
    }();
    const auto one = to_device<Device>(one_key);
    const AttentionOptions options{.scale = 40, .alibi = true, .soft_cap = 7};
    const auto all = attention_with_log_sum_exp(q, k, v.value(), options, one).log_sum_exp;
    for (int t = 0; t < time; ++t) {
        const auto until = [&](const auto& x) { return slice<1>(x, 0, t + 1); };
        const auto alone = attention_with_log_sum_exp(slice<1>(q, t, t + 1), until(k), until(v.value()),
                                                      options, slice<1>(slice<0>(one, t, t + 1), 0, t + 1))
                               .log_sum_exp;
        for (int h = 0; h < heads; ++h) CHECK(at(alone, 0, h, 0) == at(all, 0, h, t));
    }
    // With a weight of exactly 1 the values' gradient is a sum of ones.
    backward(attention(q, k, v, options, one), std::vector<float>(time * heads, 1));
    for (int s = 0; s < time; ++s) {
        float queries = 0;
        for (int t = 0; t < time; ++t) queries += one_key(t, s) ? 1.f : 0.f;
        for (int h = 0; h < heads; ++h) CHECK(at(v.accumulated_gradient(), 0, s, h, 0) == queries);
    }
}

TEST_CASE("a NaN is not taken for a query without keys") {
    for (const int time : {1, 3, 9}) {
        const Operand q = numbers<double, Heads>(1, 1, time, 1, 4),
                      k = numbers<double, Heads>(2, 1, time, 1, 4);
        support::set(q, std::numeric_limits<double>::quiet_NaN(), 0, time - 1, 0, 3);
        CHECK(std::isnan(at(attention(q, k, k), 0, time - 1, 0, 0)));
    }
}
