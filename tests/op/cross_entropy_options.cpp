#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;
using support::parameter;

namespace {

constexpr double bound = 1e-6;

using Tokens = Tensor<int, Shape<dyn>, Device>;

/// Targets below the vocabulary, every third of them `ignored`.
Tokens some_targets(int vocabulary, int count, int ignored) {
    auto targets = Tensor<int, Shape<dyn>>::uninitialized(count);
    for (int i = 0; i < count; ++i) targets(i) = i % 3 == 1 ? ignored : (i * 7 + 3) % vocabulary;
    return to_device<Device>(targets);
}

/// The loss at one position, term by term; 0 where it does not count. `logits` are the host's.
template <class X>
double reference(const X& logits, int i, int target, const CrossEntropyOptions& options) {
    if (options.ignore == target) return 0;
    const int vocabulary = logits.extents()[1];
    double sum = 0, mean = 0;
    for (int j = 0; j < vocabulary; ++j) {
        sum += std::exp(logits(i, j));
        mean += logits(i, j) / vocabulary;
    }
    const double s = options.label_smoothing, lse = std::log(sum);
    return (1 - s) * (lse - logits(i, target)) + s * (lse - mean) + options.z_loss * lse * lse;
}

Tensor<double, Shape<7, 7>, Device> identity() {
    auto result = Tensor<double, Shape<7, 7>>::zeros();
    for (int i = 0; i < 7; ++i) result(i, i) = 1;
    return to_device<Device>(result);
}

const CrossEntropyOptions every_option{.ignore = -100, .label_smoothing = 0.1, .z_loss = 0.01};

}  // namespace

// z = 3 sin(1 + 2.7 k) for k = 0, 1, …, as [5, 7], in float64, t = [2, -100, 6, 0, -100]:
// F.cross_entropy(z, t, ignore_index=-100, label_smoothing=s) + c * (logsumexp(z, -1)[t != -100] **
// 2).mean(), its gradient's first row, and the sum of its absolute values, by PyTorch 2; the last of 5 tanh(z
// / 5).
TEST_CASE("label smoothing, an ignored target and z-loss are PyTorch's") {
    struct Case {
        CrossEntropyOptions options;
        double soft_cap, loss;
        std::vector<double> row;
        double sum;
    };
    const Case cases[] = {
        {{.ignore = -100},
         0,
         3.477936051192026,
         {0.12455744606650161, 0.0020357120237646364, -0.3191792708553314, 0.02598837067678534,
          0.0012458011474842017, 0.16485053845164718, 0.0005014024891484182},
         1.6613649431843052},
        {{.ignore = -100, .label_smoothing = 0.1},
         0,
         3.4812097143983514,
         {0.11979554130459683, -0.0027261927381401264, -0.2906078422839028, 0.021226465914880574,
          -0.003516103614420561, 0.16008863368974238, -0.004260502272756344},
         1.5448776448188883},
        {every_option,
         0,
         3.6042729823417257,
         {0.12853645704047764, -0.0025833350622309252, -0.2896145699316859, 0.023050220057024222,
          -0.003428678549137759, 0.1716571485487505, -0.0042253159627779965},
         1.5897896906814977},
        {every_option,
         5,
         3.3728991931078576,
         {0.10056597452025809, -0.0017899884312693477, -0.28498512757945677, 0.027595543533973105,
          -0.002493486811583897, 0.11873393964621444, -0.0027605736595633663},
         1.284353897634619},
    };
    auto sines = Tensor<double, Shape<5, 7>>::uninitialized();
    for (int k = 0; k < 35; ++k) sines.data()[k] = 3 * std::sin(1 + 2.7 * k);
    const auto z = to_device<Device>(sines);
    const auto targets = Tensor<int, Shape<5>, Device>::of({2, -100, 6, 0, -100});
    for (const auto& [options, cap, expected, row, sum] : cases) {
        const Parameter whole(z), hidden(z);
        const auto check = [&, &expected = expected, &row = row, &sum = sum](const auto& loss,
                                                                             const auto& logits) {
            CHECK(loss.item() == doctest::Approx(expected).epsilon(1e-14));
            backward(loss);
            const auto gradient = support::values(logits.accumulated_gradient());
            double total = 0;
            for (const double g : gradient) total += std::abs(g);
            CHECK(total == doctest::Approx(sum).epsilon(1e-13));
            for (std::size_t j = 0; j < row.size(); ++j)
                CHECK(gradient[j] == doctest::Approx(row[j]).epsilon(1e-12));
        };
        if (cap == 0)
            check(cross_entropy(whole, targets, options), whole);
        else
            check(cross_entropy(soft_cap(whole, cap), targets, options), whole);
        check(cross_entropy(Logits(hidden.tensor(), identity(), LogitsOptions{.soft_cap = cap}), targets,
                            options),
              hidden);
    }
}

TEST_CASE("the loss at each position, and their mean") {
    struct Size {
        int count, width, vocabulary;
    };
    const CrossEntropyOptions choices[] = {
        {}, {.ignore = 4}, {.label_smoothing = 0.3}, {.z_loss = 0.2}, {.label_smoothing = 1}};
    for (const auto [count, width, vocabulary] : {Size{1, 3, 5}, Size{7, 5, 9}, Size{600, 3, 4100}}) {
        const auto hidden = numbers<double, Shape<dyn, dyn>>(1, count, width),
                   head = numbers<double, Shape<dyn, dyn>>(2, vocabulary, width);
        const Logits lazy(hidden, head);
        const Tensor whole = lazy.tensor();
        const auto whole_here = on_host(whole);
        for (CrossEntropyOptions options : choices) {
            INFO("positions ", count, ", vocabulary ", vocabulary, ", smoothing ", options.label_smoothing);
            const Tokens targets = some_targets(vocabulary, count, 4);
            const auto targets_here = on_host(targets);
            double total = 0, counted = 0;
            for (int i = 0; i < count; ++i) {
                total += reference(whole_here, i, targets_here(i), options);
                counted += options.ignore != targets_here(i);
            }
            const auto losses = token_losses(lazy, targets, options);
            static_assert(std::same_as<decltype(losses), const Tensor<double, Shape<dyn>, Device>>);
            const auto expected = [&](std::int64_t i) {
                return reference(whole_here, static_cast<int>(i), targets_here(static_cast<int>(i)), options);
            };
            CHECK(support::worst_error(losses, expected) < 1e-13);
            CHECK(support::worst_error(token_losses(whole, targets, options), expected) < 1e-13);
            CHECK(cross_entropy(lazy, targets, options).item() ==
                  doctest::Approx(total / counted).epsilon(1e-13));
            CHECK(cross_entropy(whole, targets, options).item() ==
                  doctest::Approx(total / counted).epsilon(1e-13));
        }
    }
}

TEST_CASE("losses at positions have the shape of the targets, and no gradient") {
    const auto h = parameter<Shape<2, 3, 5>>(1);
    const auto w = parameter<Shape<4, 5>>(2);
    const auto targets = Tensor<std::uint8_t, Shape<2, 3>, Device>::of({0, 1, 2, 3, 0, 1});
    const Logits logits(h.tensor(), w.tensor());
    const auto lazy = token_losses(logits, targets);
    static_assert(std::same_as<decltype(lazy), const Tensor<double, Shape<2, 3>, Device>>);
    const auto whole = token_losses(logits.tensor(), targets);
    CHECK(Tape::current().node_count() == 0);
    CHECK_FALSE(w.gradient->storage);
    CHECK(relative_error(lazy, whole) < 1e-14);
    const auto scaled = token_losses(logits.tensor() * 1, targets);
    CHECK(relative_error(scaled, whole) < 1e-14);
    const Tensor sum = log_probabilities(logits, targets) + whole;
    for (const double difference : support::values(sum)) CHECK(std::abs(difference) < 1e-14);
}

TEST_CASE("gradients under every option") {
    const auto targets = some_targets(9, 7, -100);
    auto x = parameter<Shape<dyn, 9>>(1, 7);
    CHECK(gradient_error([&](auto a) { return cross_entropy(a * 3, targets, every_option); }, x) < bound);
    auto turned = parameter<Shape<9, 7>>(2);
    CHECK(gradient_error([&](auto a) { return cross_entropy(transpose(a), targets, every_option); }, turned) <
          bound);
    // An operand that already has a gradient: the node adds.
    CHECK(gradient_error(
              [&](auto a) {
                  Tensor total = cross_entropy(a, targets, every_option) + sum(a * a);
                  return total;
              },
              x) < bound);
    auto hidden = parameter<Shape<7, 5>>(3);
    auto head = parameter<Shape<dyn, 5>>(4, 9);
    for (const LogitsOptions options : {LogitsOptions{}, LogitsOptions{.scale = 3},
                                        LogitsOptions{.soft_cap = 0.7}, LogitsOptions{-2, 1.5}}) {
        INFO("scale ", options.scale, ", cap ", options.soft_cap);
        CHECK(gradient_error(
                  [&](auto h, auto w) { return cross_entropy(Logits(h, w, options), targets, every_option); },
                  hidden, head) < bound);
        CHECK(gradient_error([&](auto h, auto w) { return Logits(h, w, options).tensor(); }, hidden, head) <
              bound);
    }
}

TEST_CASE(
    "scaled and capped logits are what their tensor says, whole, at the last position and in the loss") {
    const LogitsOptions options{.scale = 2.5, .soft_cap = 0.8};
    const auto hidden = numbers<double, Shape<3, 200, 3>>(1);
    const auto head = numbers<double, Shape<dyn, 3>>(2, 2100);
    const Logits plain(hidden, head);
    const Logits logits(hidden, head, options);
    static_assert(sizeof(Logits(hidden, hidden)) < sizeof(Logits(hidden, hidden, options)));
    const Tensor product = plain.tensor(), whole = logits.tensor();
    const auto u = support::values(product);
    CHECK(support::worst_error(whole, [&](std::int64_t i) {
              return 0.8 * std::tanh(2.5 * u[static_cast<std::size_t>(i)] / 0.8);
          }) < 1e-14);
    CHECK(relative_error(logits.last().tensor(), Tensor(slice<1>(whole, 199, 200) * 1)) < 1e-15);
    CHECK(relative_error(Logits(hidden, head, LogitsOptions{.scale = 3}).tensor(), Tensor(product * 3)) <
          1e-15);

    auto targets_here = Tensor<int, Shape<3, 200>>::uninitialized();
    for (int i = 0; i < 600; ++i) targets_here.data()[i] = i % 5 ? (i * 7 + 3) % 2100 : -100;
    const auto targets = to_device<Device>(targets_here);
    const Parameter lazy_hidden(hidden), whole_hidden(hidden);
    const Parameter lazy_head(head), whole_head(head);
    const auto lazy =
        cross_entropy(Logits(lazy_hidden.tensor(), lazy_head.tensor(), options), targets, every_option);
    const auto expected = cross_entropy(Logits(whole_hidden.tensor(), whole_head.tensor(), options).tensor(),
                                        targets, every_option);
    CHECK(lazy.item() == doctest::Approx(expected.item()).epsilon(1e-13));
    backward(Tensor(lazy + expected));
    CHECK(relative_error(lazy_hidden.accumulated_gradient(), whole_hidden.accumulated_gradient()) < 1e-12);
    CHECK(relative_error(lazy_head.accumulated_gradient(), whole_head.accumulated_gradient()) < 1e-12);
}

TEST_CASE("sums over a long row of f32 keep their digits") {
    constexpr int vocabulary = 200'003;  // all as likely: the loss is its logarithm
    const auto row = Tensor<float, Shape<1, vocabulary>, Device>::filled(100.1f);
    const auto target = Tensor<int, Shape<1>, Device>::of({1});
    const CrossEntropyOptions smooth{.label_smoothing = 1};
    CHECK(std::abs(cross_entropy(row, target, smooth).item() - std::log(vocabulary)) < 1e-3);
    const Logits lazy(Tensor<float, Shape<1, 1>, Device>::of({1}), reshape<Shape<vocabulary, 1>>(row));
    CHECK(std::abs(cross_entropy(lazy, target, smooth).item() - std::log(vocabulary)) < 1e-3);
}

TEST_CASE("what is ignored might as well not be there") {
    const auto hidden = numbers<double, Shape<dyn, 5>>(1, 9);
    const auto head = numbers<double, Shape<11, 5>>(2);
    const auto targets = some_targets(11, 9, 3);
    std::vector<double> kept;
    std::vector<int> kept_targets;
    for (int i = 0; i < 9; ++i) {
        if (at(targets, i) == 3) continue;
        kept_targets.push_back(at(targets, i));
        for (int j = 0; j < 5; ++j) kept.push_back(at(hidden, i, j));
    }
    // 3 is the first position's target, too: an id of the vocabulary may stand for padding.
    REQUIRE(at(targets, 0) == 3);
    auto five = Tensor<double, Shape<dyn, 5>, Device>::from(kept, 5);
    auto five_targets = Tokens::from(kept_targets, 5);
    const CrossEntropyOptions options{.ignore = 3, .label_smoothing = 0.2, .z_loss = 0.1};
    const Parameter some(head), rest(head);
    const auto loss = cross_entropy(Logits(hidden, some.tensor()), targets, options);
    const auto same = cross_entropy(Logits(five, rest.tensor()), five_targets, options);
    CHECK(loss.item() == doctest::Approx(same.item()).epsilon(1e-14));
    backward(Tensor(loss + same));
    CHECK(relative_error(some.accumulated_gradient(), rest.accumulated_gradient()) < 1e-14);
}

TEST_CASE("where no position counts the loss is zero, and so is the gradient") {
    const auto targets = Tensor<std::uint16_t, Shape<3>, Device>::filled(65535);
    const CrossEntropyOptions options{.ignore = 65535, .label_smoothing = 0.1, .z_loss = 0.1};
    const auto x = parameter<Shape<3, 4>>(1);
    const auto h = parameter<Shape<3, 2>>(2);
    const auto w = parameter<Shape<4, 2>>(3);
    // What the memory held before must not be taken for a gradient.
    backward(Tensor(sum(x * 5) + sum(h * 5) + sum(w * 5)));
    x.gradient->written = h.gradient->written = w.gradient->written = false;
    const auto whole = cross_entropy(x, targets, options);
    const auto lazy = cross_entropy(Logits(h.tensor(), w.tensor()), targets, options);
    CHECK(whole.item() == 0);
    CHECK(lazy.item() == 0);
    backward(Tensor(whole + lazy));
    for (const double g : support::values(x.accumulated_gradient())) CHECK(g == 0);
    for (const double g : support::values(h.accumulated_gradient())) CHECK(g == 0);
    for (const double g : support::values(w.accumulated_gradient())) CHECK(g == 0);
    for (const double loss : support::values(token_losses(x, targets, options))) CHECK(loss == 0);
}

TEST_CASE("any id may be the ignored one, and no other passes") {
    const auto logits = numbers<double, Shape<2, 4>>(1);
    const double first =
        cross_entropy(Tensor(slice<0>(logits, 0, 1) * 1), Tensor<int, Shape<1>, Device>::of({2})).item();
    const auto with = [&](auto last, std::int64_t ignore) {
        using Id = decltype(last);
        return cross_entropy(logits, Tensor<Id, Shape<2>, Device>::of({Id(2), last}), {.ignore = ignore})
            .item();
    };
    CHECK(with(std::uint16_t(65535), 65535) == first);
    CHECK(with(std::uint8_t(255), 255) == first);
    CHECK(with(std::int8_t(-100), -100) == first);
    CHECK(with(std::int64_t(-1) << 40, std::int64_t(-1) << 40) == first);
    CHECK(with(std::uint32_t(4294967295u), 4294967295) == first);
    CHECK_THROWS_WITH_AS(with(-1, -100), "cross_entropy: expected targets below 4, got -1 at position 1",
                         Error);
    CHECK_THROWS_AS(with(std::uint16_t(65535), -1), Error);
    CHECK_THROWS_AS(
        support::values(token_losses(logits, Tensor<int, Shape<2>, Device>::of({2, 4}), {.ignore = -100})),
        Error);
}

TEST_CASE("options out of range are errors that say which") {
    const auto logits = numbers<double, Shape<1, 4>>(1), head = numbers<double, Shape<1, 4>>(2);
    const auto targets = Tensor<int, Shape<1>, Device>::of({0});
    CHECK_THROWS_WITH_AS(cross_entropy(logits, targets, {.label_smoothing = 1.5}),
                         "cross_entropy: expected a label smoothing from 0 to 1, got 1.500000", Error);
    CHECK_THROWS_AS(cross_entropy(logits, targets, {.label_smoothing = -0.1}), Error);
    CHECK_THROWS_AS(cross_entropy(logits, targets, {.label_smoothing = std::nan("")}), Error);
    CHECK_THROWS_WITH_AS(cross_entropy(logits, targets, {.z_loss = -1}),
                         "cross_entropy: expected a finite z-loss of at least 0, got -1.000000", Error);
    constexpr double infinity = std::numeric_limits<double>::infinity();
    CHECK_THROWS_AS(cross_entropy(logits, targets, {.z_loss = infinity}), Error);
    CHECK_THROWS_WITH_AS(
        Logits(logits, head, LogitsOptions{.soft_cap = -30}),
        "logits: expected a finite scale and a finite cap of at least 0, got 1.000000 and -30.000000", Error);
    CHECK_THROWS_AS(Logits(logits, head, LogitsOptions{.scale = infinity}), Error);
    CHECK_THROWS_AS(Logits(logits, head, LogitsOptions{.soft_cap = std::nan("")}), Error);
}

TEST_CASE("under every option value and gradients have the same bits for any number of threads") {
    const auto hidden = numbers<double, Shape<dyn, dyn>>(1, 700, 16),
               head = numbers<double, Shape<dyn, dyn>>(2, 2500, 16);
    const auto targets = some_targets(2500, 700, -100);
    CHECK(support::same_for_any_thread_count([&] {
        const Parameter h(hidden), w(head);
        const Logits logits(h.tensor(), w.tensor(), LogitsOptions{.scale = 2, .soft_cap = 3});
        const auto loss = cross_entropy(logits, targets, every_option);
        std::vector<double> result{loss.item()};
        support::append(result, token_losses(logits, targets, every_option));
        backward(Tensor(loss * 0.3));
        support::append(result, h.accumulated_gradient());
        support::append(result, w.accumulated_gradient());
        return result;
    }));
}

TEST_CASE_TEMPLATE("half types under every option compute in f32", T, bf16, f16) {
    const auto hidden = numbers<T, Shape<dyn, dyn>>(1, 300, 24),
               head = numbers<T, Shape<dyn, dyn>>(2, 2100, 24);
    const auto targets = some_targets(2100, 300, -100);
    const LogitsOptions options{.scale = 2, .soft_cap = 3};
    const Parameter h(hidden), w(head);
    const Parameter wide_h(cast<float>(hidden)), wide_w(cast<float>(head));
    const auto loss = cross_entropy(Logits(h.tensor(), w.tensor(), options), targets, every_option);
    static_assert(std::same_as<typename decltype(loss)::value_type, float>);
    static_assert(std::same_as<typename decltype(Logits(hidden, head, options).tensor())::value_type, T>);
    const auto wide = cross_entropy(Logits(wide_h.tensor(), wide_w.tensor(), options), targets, every_option);
    constexpr double bound = support::error_of_steps<T>;
    CHECK(loss.item() == doctest::Approx(wide.item()).epsilon(bound));
    backward(Tensor(loss + wide));
    CHECK(relative_error(h.accumulated_gradient(), wide_h.accumulated_gradient()) < bound);
    CHECK(relative_error(w.accumulated_gradient(), wide_w.accumulated_gradient()) < bound);
}
