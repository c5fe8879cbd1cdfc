// Lazy logits prepare their gradients in the forward pass. Whatever happens between that and the backward
// pass, parameters end up with what the loss of the logits' tensor gives them.

#include <optional>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/autograd/recompute.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/op/embedding/embedding.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::numbers;
using support::values;

namespace {

using Hidden = Tensor<double, Shape<6, 5>, Device>;
using Head = Tensor<double, Shape<9, 5>, Device>;

/// What the least tensor takes of the pool.
constexpr std::size_t smallest_block = support::is_cpu ? 256 : 512;

const Tensor<int, Shape<6>, Device>& targets() {
    static const auto fixed = Tensor<int, Shape<6>, Device>::of({3, 1, 8, 0, 3, 4});
    return fixed;
}

/// Hidden states and a head, with their gradients.
struct Pair {
    Parameter<double, Shape<6, 5>, Device> hidden{numbers<double, Shape<6, 5>>(1)};
    Parameter<double, Shape<9, 5>, Device> head{numbers<double, Shape<9, 5>>(2)};

    auto loss() const { return cross_entropy(Logits(hidden.tensor(), head.tensor()), targets()); }
    auto whole_loss() const {
        return cross_entropy(Logits(hidden.tensor(), head.tensor()).tensor(), targets());
    }
    void clear() {
        hidden.clear_gradient();
        head.clear_gradient();
    }
    const void* memory() const { return head.gradient->storage.data(); }
};

bool agree(const Pair& a, const Pair& b, double factor = 1) {
    Tensor hidden = b.hidden.accumulated_gradient() * factor;
    Tensor head = b.head.accumulated_gradient() * factor;
    return relative_error(a.hidden.accumulated_gradient(), hidden) < 1e-13 &&
           relative_error(a.head.accumulated_gradient(), head) < 1e-13;
}

/// What one backward pass of the loss gives.
Pair reference() {
    Pair pair;
    backward(pair.whole_loss());
    return pair;
}

}  // namespace

TEST_CASE("a loss that is scaled or takes part in others scales what was prepared") {
    Pair once, scaled, shared;
    backward(once.loss());
    CHECK(agree(once, reference()));
    backward(Tensor(scaled.loss() * -2.5));
    CHECK(agree(scaled, reference(), -2.5));
    const auto loss = shared.loss();
    backward(Tensor(loss + loss * 3));
    CHECK(agree(shared, reference(), 4));
}

TEST_CASE("the head's gradient is prepared in its own memory, step after step") {
    Pair pair;
    backward(pair.loss());
    const void* memory = pair.memory();
    for (int step = 0; step < 3; ++step) {
        pair.clear();
        const std::size_t before = Memory<Device>::used_bytes();
        const auto loss = pair.loss();
        CHECK_FALSE(pair.head.gradient->written);
        // The loss itself, and nothing as large as a gradient.
        CHECK(Memory<Device>::used_bytes() <= before + smallest_block);
        backward(loss);
        CHECK(pair.memory() == memory);
    }
    CHECK(agree(pair, reference()));
}

TEST_CASE("several backward passes add up, and each may follow several forward passes") {
    Pair pair;
    backward(pair.loss());
    backward(pair.loss());
    backward(Tensor(pair.loss() * 0.5));
    CHECK(agree(pair, reference(), 2.5));
    pair.clear();
    const auto first = pair.loss(), second = pair.loss();
    backward(Tensor(first + 2 * second));
    CHECK(agree(pair, reference(), 3));
}

TEST_CASE("others may contribute to the same parameters, before it and after") {
    for (const bool before : {false, true}) {
        INFO("before the loss ", before);
        Pair pair, expected;
        const auto square = [](const Pair& p) { return Tensor(sum(p.head * p.head) + sum(exp(p.hidden))); };
        std::optional<decltype(square(pair))> other;
        if (before) other = square(pair);
        const auto loss = pair.loss();
        if (!before) other = square(pair);
        backward(Tensor(loss * 2 + *other));
        backward(Tensor(expected.whole_loss() * 2 + square(expected)));
        CHECK(agree(pair, expected));
    }
}

TEST_CASE("a gradient that is cleared, read or written between the passes") {
    Pair pair;
    backward(pair.loss());
    {
        const auto loss = pair.loss();
        pair.clear();
        backward(loss);
    }
    CHECK(agree(pair, reference()));
    pair.clear();
    {
        // Read while a loss waits: zeros, and no memory of what is prepared.
        const auto loss = pair.loss();
        CHECK(values(pair.head.accumulated_gradient()) == std::vector<double>(45, 0));
        backward(loss);
    }
    CHECK(agree(pair, reference()));
    pair.clear();
    {
        // Written by hand, as an optimizer's test would.
        const auto loss = pair.loss();
        Tensor gradient = pair.head.accumulated_gradient();
        copy_to(gradient, Tensor<double, Shape<9, 5>, Device>::filled(7));
        pair.head.gradient->written = true;
        backward(loss);
    }
    const Pair expected = reference();
    CHECK(relative_error(pair.head.accumulated_gradient(), Tensor(expected.head.accumulated_gradient() + 7)) <
          1e-13);
}

TEST_CASE("a loss that is dropped leaves no trace, neither with a gradient there nor without") {
    Pair pair;
    backward(pair.loss());
    const auto kept = values(pair.head.accumulated_gradient());
    const std::size_t used = Memory<Device>::used_bytes();
    { const auto dropped = pair.loss(); }
    CHECK(Memory<Device>::used_bytes() == used);
    CHECK(values(pair.head.accumulated_gradient()) == kept);
    pair.clear();
    { const auto dropped = pair.loss(); }
    CHECK_FALSE(pair.head.gradient->written);
    CHECK(values(pair.head.accumulated_gradient()) == std::vector<double>(45, 0));
    { const auto dropped = pair.loss(); }
    backward(pair.loss());
    CHECK(agree(pair, reference()));
    // An exception before the backward pass.
    pair.clear();
    try {
        const auto dropped = pair.loss();
        throw Error("the user's");
    } catch (const Error&) {
    }
    backward(pair.loss());
    CHECK(agree(pair, reference()));
}

TEST_CASE("an update of the parameters between the passes changes the next loss, not this one's gradient") {
    for (const bool accumulates : {false, true}) {
        INFO("with an earlier gradient ", accumulates);
        Pair pair;
        if (accumulates) backward(pair.loss());
        const auto loss = pair.loss();
        copy_to(pair.head.value(), Tensor(pair.head.value() - 0.1));
        pair.clear();
        backward(loss);
        CHECK(agree(pair, reference()));
    }
}

TEST_CASE("a table that is head and embedding at once gathers from both") {
    const auto ids = Tensor<int, Shape<6>, Device>::of({2, 5, 2, 0, 8, 1});
    auto table = support::parameter<Shape<9, 5>>(2);
    const auto loss = [&](auto w) {
        Tensor hidden = exp(embedding(w, ids));
        return cross_entropy(Logits(hidden, w), targets());
    };
    CHECK(gradient_error(loss, table) < 1e-6);
    const auto once = table.accumulated_gradient().clone();
    backward(loss(table.tensor()));
    backward(loss(table.tensor()));
    const Parameter whole(table.value());
    Tensor hidden = exp(embedding(whole, ids));
    backward(cross_entropy(Logits(hidden, whole.tensor()).tensor(), targets()));
    CHECK(relative_error(table.accumulated_gradient(), Tensor(once + 2 * whole.accumulated_gradient())) <
          1e-13);
}

TEST_CASE("within a region that is recomputed, and after one") {
    auto x = support::parameter<Shape<6, 5>>(1);
    auto head = support::parameter<Shape<9, 5>>(2);
    const auto in_region = [&](auto h, auto w) {
        return recompute(
            [w](auto states) {
                Tensor grown = exp(states);
                return cross_entropy(Logits(grown, w), targets());
            },
            h);
    };
    CHECK(gradient_error(in_region, x, head) < 1e-6);
    const auto after_region = [&](auto h, auto w) {
        const auto grown = recompute([](auto states) { return Tensor(exp(states * states)); }, h);
        return cross_entropy(Logits(grown, w), targets());
    };
    CHECK(gradient_error(after_region, x, head) < 1e-6);
}

TEST_CASE("while recording is paused no gradient is prepared") {
    Pair pair;
    {
        const Tape::Pause pause(Tape::current());
        const std::size_t before = Memory<Device>::used_bytes();
        Memory<Device>::reset_peak();
        const auto loss = pair.loss();
        // The loss, what it is the mean of, and the targets; on a GPU matrix products have a workspace, too.
        if (support::is_cpu) CHECK(Memory<Device>::peak_bytes() <= before + 3 * smallest_block);
        CHECK(loss.item() == doctest::Approx(pair.whole_loss().item()).epsilon(1e-14));
    }
    CHECK_FALSE(pair.head.gradient->storage);
    // The memory of a gradient that has been cleared is not touched.
    backward(Tensor(pair.loss() * 2));
    const auto held = pair.head.accumulated_gradient();
    const auto kept = values(held);
    pair.clear();
    {
        const Tape::Pause pause(Tape::current());
        (void)pair.loss();
    }
    CHECK(values(held) == kept);
}

TEST_CASE("several threads may run the same parameters forward") {
    Pair pair;
    backward(pair.loss());
    pair.clear();
    const double expected = pair.loss().item();
    const auto forward = [&] {
        for (int i = 0; i < 300; ++i)
            if (pair.loss().item() != expected) throw Error("another loss");
    };
    std::thread other(forward);
    forward();
    other.join();
    backward(pair.loss());
    CHECK(agree(pair, reference()));
}

TEST_CASE("several blocks of positions and chunks of the vocabulary, on top of a gradient") {
    const auto hidden = numbers<float, Shape<dyn, 24>>(1, 600),
               head = numbers<float, Shape<dyn, 24>>(2, 4100);
    std::vector<int> ids;
    for (int i = 0; i < 600; ++i) ids.push_back((i * 7 + 3) % 4100);
    const auto own = Tensor<int, Shape<dyn>, Device>::from(ids, 600);
    const Parameter lazy_hidden(hidden), whole_hidden(hidden);
    const Parameter lazy_head(head), whole_head(head);
    for (int pass = 0; pass < 2; ++pass) {
        backward(Tensor(cross_entropy(Logits(lazy_hidden.tensor(), lazy_head.tensor()), own) * 0.7f));
        backward(
            Tensor(cross_entropy(Logits(whole_hidden.tensor(), whole_head.tensor()).tensor(), own) * 0.7f));
        CHECK(relative_error(lazy_hidden.accumulated_gradient(), whole_hidden.accumulated_gradient()) < 1e-5);
        CHECK(relative_error(lazy_head.accumulated_gradient(), whole_head.accumulated_gradient()) < 1e-5);
    }
}
