#include <cmath>
#include <concepts>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
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

Tensor<int, Shape<dyn>, Device> targets_below(int vocabulary, int count) {
    auto targets = Tensor<int, Shape<dyn>>::uninitialized(count);
    for (int i = 0; i < count; ++i) targets(i) = (i * 7 + 3) % vocabulary;
    return to_device<Device>(targets);
}

/// The mean of log sum exp(row) - row[target], by the definition.
template <class X>
double reference(const X& x, const Tensor<int, Shape<dyn>, Device>& ids) {
    const auto& logits = on_host(x);
    const auto& targets = on_host(ids);
    const int vocabulary = logits.extents()[1];
    double total = 0;
    for (int i = 0; i < logits.extents()[0]; ++i) {
        double sum = 0;
        for (int j = 0; j < vocabulary; ++j) sum += std::exp(logits(i, j));
        total += std::log(sum) - logits(i, targets(i));
    }
    return total / logits.extents()[0];
}

}  // namespace

TEST_CASE("from a tensor of logits") {
    for (const int vocabulary : {1, 3, 8, 9, 2500}) {
        INFO("vocabulary ", vocabulary);
        const auto logits = numbers<double, Shape<dyn, dyn>>(1, 11, vocabulary);
        const auto targets = targets_below(vocabulary, 11);
        CHECK(cross_entropy(logits, targets).item() ==
              doctest::Approx(reference(logits, targets)).epsilon(1e-13));
        if (vocabulary > 1 && vocabulary < 100) {
            auto x = parameter<Shape<dyn, dyn>>(1, 11, vocabulary);
            CHECK(gradient_error([&](auto a) { return cross_entropy(a, targets); }, x) < bound);
            CHECK(gradient_error([&](auto a) { return cross_entropy(a * 2, targets); }, x) < bound);
        }
    }
    // Views are copied first, and a batch has several axes.
    const auto targets = Tensor<std::uint8_t, Shape<2, 3>, Device>::of({0, 1, 2, 3, 0, 1});
    auto x = parameter<Shape<2, 4, 3>>(1);
    CHECK(gradient_error([&](auto a) { return cross_entropy(transpose(a), targets); }, x) < bound);
}

TEST_CASE("lazy logits give what their tensor gives") {
    // One block and one chunk; several of both, the last ones not full.
    struct Size {
        int count, width, vocabulary;
    };
    for (const auto [count, width, vocabulary] : {Size{1, 1, 1}, Size{7, 5, 9}, Size{600, 3, 4100}}) {
        INFO("positions ", count, ", vocabulary ", vocabulary);
        const auto hidden = numbers<double, Shape<dyn, dyn>>(1, count, width),
                   head = numbers<double, Shape<dyn, dyn>>(2, vocabulary, width);
        const auto targets = targets_below(vocabulary, count);
        const Logits logits(hidden, head);
        CHECK(logits.extents() == Extents(count, vocabulary));
        const double expected = reference(logits.tensor(), targets);
        CHECK(cross_entropy(logits, targets).item() == doctest::Approx(expected).epsilon(1e-13));

        const Parameter lazy_hidden(hidden), whole_hidden(hidden);
        const Parameter lazy_head(head), whole_head(head);
        backward(cross_entropy(Logits(lazy_hidden.tensor(), lazy_head.tensor()), targets));
        backward(cross_entropy(Logits(whole_hidden.tensor(), whole_head.tensor()).tensor(), targets));
        if (vocabulary == 1) continue;  // the gradient is 0
        CHECK(relative_error(lazy_hidden.accumulated_gradient(), whole_hidden.accumulated_gradient()) <
              1e-12);
        CHECK(relative_error(lazy_head.accumulated_gradient(), whole_head.accumulated_gradient()) < 1e-12);
    }
}

TEST_CASE("the gradient of lazy logits, each side tracked or not") {
    const auto targets = targets_below(9, 6);
    auto hidden = parameter<Shape<6, 5>>(1);
    auto head = parameter<Shape<dyn, 5>>(2, 9);
    CHECK(gradient_error([&](auto h, auto w) { return cross_entropy(Logits(h, w), targets); }, hidden, head) <
          bound);
    CHECK(gradient_error([&](auto h) { return cross_entropy(Logits(h, head.value()), targets); }, hidden) <
          bound);
    CHECK(gradient_error([&](auto w) { return cross_entropy(Logits(hidden.value(), w), targets); }, head) <
          bound);
    // A tied head: the same parameter on both sides.
    auto tied = parameter<Shape<6, 5>>(3);
    const auto own = targets_below(6, 6);
    CHECK(gradient_error([&](auto w) { return cross_entropy(Logits(w, w), own); }, tied) < bound);
}

TEST_CASE("great logits are no danger") {
    const auto logits = Tensor<double, Shape<1, 3>, Device>::of({1000, 0, -1000});
    CHECK(cross_entropy(logits, Tensor<int, Shape<1>, Device>::of({0})).item() == 0);
    CHECK(cross_entropy(logits, Tensor<int, Shape<1>, Device>::of({2})).item() == 2000);
}

TEST_CASE("words that cannot occur may fill whole chunks of lazy logits") {
    constexpr int vocabulary = 5000, possible = 10;
    const auto h = Tensor<double, Shape<1, 1>, Device>::of({1});
    for (const int first : {0, 2500, vocabulary - possible}) {
        auto head =
            Tensor<double, Shape<vocabulary, 1>, Device>::filled(-std::numeric_limits<double>::infinity());
        for (int i = 0; i < possible; ++i) support::set(head, 0., first + i, 0);
        const auto target = Tensor<int, Shape<1>, Device>::of({first + 3});
        CHECK(cross_entropy(Logits(h, head), target).item() == doctest::Approx(std::log(possible)));
        Parameter<double, Shape<vocabulary, 1>, Device> tracked(head);
        backward(cross_entropy(Logits(h, tracked.tensor()), target));
        const auto gradient = tracked.accumulated_gradient();
        CHECK(at(gradient, first, 0) == doctest::Approx(1. / possible));
        CHECK(at(gradient, (first + possible) % vocabulary, 0) == 0);
    }
}

TEST_CASE("targets that do not fit are errors that say which") {
    const auto logits = numbers<double, Shape<dyn, 4>>(1, 3);
    CHECK_THROWS_WITH_AS(cross_entropy(logits, Tensor<int, Shape<3>, Device>::of({0, 4, 1})).item(),
                         "cross_entropy: expected targets below 4, got 4 at position 1", Error);
    CHECK_THROWS_AS(cross_entropy(logits, Tensor<int, Shape<3>, Device>::of({0, -1, 1})).item(), Error);
    CHECK_THROWS_AS(cross_entropy(logits, Tensor<int, Shape<2>, Device>::of({0, 1})), ShapeError);
    const auto none = Tensor<double, Shape<dyn, 4>, Device>::zeros(0);
    CHECK_THROWS_AS(cross_entropy(none, Tensor<int, Shape<dyn>, Device>::zeros(0)), ShapeError);
    const Logits lazy(numbers<double, Shape<3, 2>>(1), numbers<double, Shape<4, 2>>(2));
    CHECK_THROWS_AS(cross_entropy(lazy, Tensor<int, Shape<3>, Device>::of({0, 4, 1})).item(), Error);
    CHECK_THROWS_AS(
        Logits(numbers<double, Shape<dyn, dyn>>(1, 3, 2), numbers<double, Shape<dyn, dyn>>(2, 4, 5)),
        ShapeError);
}

TEST_CASE("value and gradients have the same bits for any number of threads") {
    const auto hidden = numbers<double, Shape<dyn, dyn>>(1, 700, 16),
               head = numbers<double, Shape<dyn, dyn>>(2, 2500, 16);
    const auto targets = targets_below(2500, 700);
    CHECK(support::same_for_any_thread_count([&] {
        const Parameter h(hidden), w(head);
        const auto loss = cross_entropy(Logits(h.tensor(), w.tensor()), targets);
        std::vector<double> result{loss.item()};
        backward(loss);
        support::append(result, h.accumulated_gradient());
        support::append(result, w.accumulated_gradient());
        return result;
    }));
    CHECK(support::same_for_any_thread_count([&] {
        const Parameter h(hidden);
        const auto loss = cross_entropy(Tensor(h * 3), targets_below(16, 700));
        std::vector<double> result{loss.item()};
        backward(loss);
        support::append(result, h.accumulated_gradient());
        return result;
    }));
}

TEST_CASE("a tied head longer than a block, and than a chunk") {
    for (const int count : {600, 2100}) {
        const auto x = numbers<double, Shape<dyn, 2>>(1, count);
        const auto targets = targets_below(count, count);
        const Parameter tied(x), hidden(x), head(x);
        backward(cross_entropy(Logits(tied.tensor(), tied.tensor()), targets));
        backward(cross_entropy(Logits(hidden.tensor(), head.tensor()), targets));
        Tensor sum = hidden.accumulated_gradient() + head.accumulated_gradient();
        CHECK(relative_error(tied.accumulated_gradient(), sum) < 1e-12);
        // Once more, on top of what is there.
        backward(cross_entropy(Logits(tied.tensor(), tied.tensor()), targets));
        CHECK(relative_error(tied.accumulated_gradient(), Tensor(2 * sum)) < 1e-12);
    }
}

TEST_CASE_TEMPLATE("half types compute in f32; the loss and the gradients are f32", T, bf16, f16) {
    const auto hidden = numbers<T, Shape<dyn, dyn>>(1, 600, 24),
               head = numbers<T, Shape<dyn, dyn>>(2, 2100, 24);
    const auto targets = targets_below(2100, 600);
    const Parameter h(hidden), w(head);
    const Parameter wide_h(cast<float>(hidden)), wide_w(cast<float>(head));
    const auto loss = cross_entropy(Logits(h.tensor(), w.tensor()), targets);
    static_assert(std::same_as<typename decltype(loss)::value_type, float>);
    const float exact = cross_entropy(Logits(cast<float>(hidden), cast<float>(head)), targets).item();
    constexpr double bound = support::error_of_steps<T>;
    CHECK(loss.item() == doctest::Approx(exact).epsilon(bound));
    backward(loss);
    backward(cross_entropy(Logits(wide_h.tensor(), wide_w.tensor()), targets));
    CHECK(relative_error(h.accumulated_gradient(), wide_h.accumulated_gradient()) < bound);
    CHECK(relative_error(w.accumulated_gradient(), wide_w.accumulated_gradient()) < bound);

    const auto logits = numbers<T, Shape<dyn, dyn>>(3, 600, 37);
    const auto own = targets_below(37, 600);
    const Parameter x(logits);
    const Parameter wide(cast<float>(logits));
    const auto tensor_loss = cross_entropy(x, own);
    CHECK(tensor_loss.item() ==
          doctest::Approx(cross_entropy(cast<float>(logits), own).item()).epsilon(1e-6));
    backward(tensor_loss);
    backward(cross_entropy(wide, own));
    CHECK(relative_error(x.accumulated_gradient(), wide.accumulated_gradient()) < 1e-6);
}
